#!/usr/bin/env python3
"""edged against what people use instead: same clip, model and rules, on this machine's CPU.

Every peer decodes the clip, runs YOLOX-nano and gives final detections in source pixels. Each runs in a process
of its own, in turn, for some rounds; ratios are taken within a round, then their median. The clock runs from the first
decoded frame to the last result: loading and warm-up are not in it. How to rerun: scripts/bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RUNNERS = Path(__file__).resolve().with_suffix("")
MODEL = ROOT.parent / "shared" / "models" / "yolox-nano" / "model.onnx"
CLIP = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
CLIP_FRAMES = 795
SCORE, IOU = 0.3, 0.45
SAME_WORK = 0.01  # persons a frame may differ by this share from the plain loop's
TIMEOUT_S = 600


@dataclass
class Peer:
    """`script` runs under `python`; `results` has a row a round, or an `error` says why there is none."""

    name: str
    script: str
    python: Path = Path(sys.executable)
    arguments: tuple[str, ...] = ()
    remedy: str = ""
    results: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    def run(self, common: Sequence[str], frames: int) -> None:
        """One round. A failure is kept in `error`, and the peer does not run again."""
        if self.error:
            return
        if not self.python.exists():
            self.error = f"not set up: {self.remedy}"
            return
        command = [str(self.python), str(RUNNERS / self.script), *common, *self.arguments]
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},  # a benchmark calls nobody
            )
        except subprocess.TimeoutExpired:
            self.error = f"gave no result in {TIMEOUT_S} s"
            return
        lines = done.stdout.splitlines()
        if done.returncode or not lines:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["said nothing"]
            self.error = f"failed (exit {done.returncode}): {said[-1].strip()}"
            return
        row = json.loads(lines[-1])
        if row["frames"] != frames:
            self.error = f"gave {row['frames']} results for {frames} frames"
            return
        self.results.append(row)

    def median(self, key: str) -> float:
        return statistics.median(r[key] for r in self.results)


def peers(tuned: str) -> list[Peer]:
    own = Path(os.environ.get("EDGED_BENCH_INFERENCE", ROOT / ".venv-inference" / "bin" / "python"))
    return [
        Peer("edged, defaults", "edged_daemon.py"),
        Peer(f"edged, {tuned}", "edged_daemon.py", arguments=("--settings", tuned)),
        Peer("OpenCV + ONNX Runtime loop", "plain_loop.py"),
        Peer("OpenCV dnn loop", "opencv_dnn.py"),
        Peer(
            "Roboflow InferencePipeline",
            "roboflow_pipeline.py",
            python=own,
            remedy="scripts/bench/README.md makes .venv-inference",
        ),
    ]


def ratios(all_peers: Sequence[Peer]) -> dict[str, dict[str, float]]:
    """Median over the rounds of edged's speed over each other's, within a round."""
    ours = [p for p in all_peers if p.script == "edged_daemon.py" and p.results]
    others = [p for p in all_peers if p.script != "edged_daemon.py" and p.results]
    return {
        us.name: {
            them.name: statistics.median(
                a["fps"] / b["fps"] for a, b in zip(us.results, them.results, strict=False)
            )
            for them in others
        }
        for us in ours
    }


def cpu() -> str:
    """The processor's name and the cores that this process may use."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.is_file() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def same_work(peer: Peer, truth: Peer | None) -> bool | None:
    """Whether a peer finds as many persons as the plain loop; None when one of them gave nothing."""
    if truth is None or not truth.results or not peer.results:
        return None
    expected = truth.median("persons_per_frame")
    return abs(peer.median("persons_per_frame") - expected) <= SAME_WORK * expected


def report(all_peers: Sequence[Peer], args: argparse.Namespace) -> dict[str, Any]:
    truth = next((p for p in all_peers if p.script == "plain_loop.py"), None)
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu(),
        "platform": platform.platform(),
        "clip": str(args.clip),
        "frames": args.frames,
        "rounds": args.rounds,
        "score": SCORE,
        "iou": IOU,
        "timing": "first decoded frame to last result; loading and warm-up excluded",
        "peers": {
            p.name: {
                "error": p.error or None,
                "fps": p.median("fps") if p.results else None,
                "persons_per_frame": p.median("persons_per_frame") if p.results else None,
                "same_work": same_work(p, truth),
                "rounds": p.results,
            }
            for p in all_peers
        },
        "ratios": ratios(all_peers),
    }


def show(data: dict[str, Any]) -> None:
    print(f"\n{data['date']}  {data['cpu']}")
    print(f"{data['clip']}, {data['frames']} frames, {data['rounds']} rounds; {data['timing']}")
    print(f"score {data['score']}, IoU {data['iou']}\n")
    print(f"{'':34}{'frames/s':>9}  {'min–max':>15}{'persons/frame':>15}  versions")
    for name, row in data["peers"].items():
        if row["fps"] is None:
            print(f"{name:34}  {row['error']}")
            continue
        speeds = [r["fps"] for r in row["rounds"]]
        span = f"{min(speeds):.1f}–{max(speeds):.1f}"
        versions = ", ".join(f"{k} {v}" for k, v in row["rounds"][0]["versions"].items())
        work = "" if row["same_work"] in (True, None) else "  NOT THE SAME WORK"
        print(f"{name:34}{row['fps']:9.1f}  {span:>15}{row['persons_per_frame']:15.3f}  {versions}{work}")
        if row["error"]:
            print(f"{'':34}  stopped after {len(speeds)} rounds: {row['error']}")
    for us, row in data["ratios"].items():
        if not row:
            continue
        print(f"\n{us}, times as fast as (median of ratios within a round)")
        for them, ratio in row.items():
            print(f"  {them:32}{ratio:9.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=CLIP_FRAMES, help="of the clip (default: all)")
    parser.add_argument("--clip", type=Path, default=CLIP)
    parser.add_argument("--model", type=Path, default=MODEL, help="YOLOX's ONNX file (416 x 416)")
    parser.add_argument(
        "--tuned", default="threads=1,instances=2", help="keys of [models.X] for the second row"
    )
    parser.add_argument("--only", default="", help="peers whose name contains this, ignoring case")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    for file, remedy in ((args.clip, "apt-get install opencv-doc, or --clip"), (args.model, "set --model")):
        if not file.is_file():
            parser.error(f"{file} is not there: {remedy}")
    chosen = [p for p in peers(args.tuned) if args.only.lower() in p.name.lower()]
    common = ["--clip", str(args.clip), "--model", str(args.model), "--frames", str(args.frames)]
    common += ["--score", str(SCORE), "--iou", str(IOU)]
    for i in range(args.rounds):
        for peer in chosen:
            print(f"round {i + 1} of {args.rounds}: {peer.name} …", end=" ", flush=True, file=sys.stderr)
            peer.run(common, args.frames)
            said = peer.error or f"{peer.results[-1]['fps']:.1f} frames/s"
            print(said, file=sys.stderr)
    data = report(chosen, args)
    show(data)
    if args.json:
        args.json.write_text(json.dumps(data, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
