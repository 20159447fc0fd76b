"""What edged's GPU path must show: `python scripts/bench/gpu.py --yolox MODEL.onnx [--coco FOLDER] [SECTION …]`.

    speed      pipeline (in_flight 2) against the engine alone and the loop that most people write; CPU of the runner
    streams    1, 4, 16 and 64 cameras at 30 frames/s: throughput, age, CPU per frame
    memory     free device memory, regions and resident memory over many frames: YOLOX-nano, and an empty engine
    fault      a kernel that writes to a wild address: how soon, and with which status, the process ends
    coco       the same detections with runtime.device = "cpu" and "cuda"
    sanitizer  compute-sanitizer over the kernels' tests

Each section ends by itself; one that fails says so in the result and the others go on. The result is JSON in
tests/gpu/results, and a copy in $OUT where that is set. Frames are 1080p NV12 in mapped memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from _gpu import nets, rig  # noqa: E402
from edged.frames import FrameSpec, PixelFormat  # noqa: E402

RESULTS = ROOT / "tests" / "gpu" / "results"
PACKAGES = ("numpy", "onnxruntime-gpu", "onnxruntime", "pycuda", "opencv-python-headless", "msgspec")


class Bench:
    """The sections. `models` are made on first use."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder
        self._models: dict[str, Path] = {}

    def model(self, name: str) -> Path:
        if name not in self._models:
            self._models.update(nets.make_all(self.folder, self.args.yolox, [name]))
        if name not in self._models:
            raise SystemExit("YOLOX-nano's file is needed: --yolox PATH")
        return self._models[name]

    @property
    def options(self) -> str:
        return f'conv_search = "{self.args.conv_search}"' if self.args.device != "cpu" else ""

    def config(self, name: str, **more: Any) -> Any:
        return rig.configuration(self.model(name), self.args.device, options=self.options, **more)

    # The sections.

    def speed(self) -> dict[str, Any]:
        return {name: self._speed(name) for name in self.args.models.split(",")}

    def _speed(self, name: str) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        for _ in range(self.args.rounds):
            before = self.contest("alone", name)
            pipeline = self.contest("edged", name)
            after = self.contest("alone", name)
            usual = self.contest("usual", name)
            limit = (before["fps"] + after["fps"]) / 2
            rows.append({"pipeline": pipeline, "alone_fps": round(limit, 1), "usual_fps": usual["fps"]})
            say(
                f"{name}: pipeline {pipeline['fps']}, engine alone {limit:.1f}, usual loop {usual['fps']} frames/s, "
                f"runner {pipeline['runner_cpu_us']['p50']} us"
            )
        return {
            "alone_mode": before["mode"],
            "of_alone": round(median(r["pipeline"]["fps"] / r["alone_fps"] for r in rows), 4),
            "of_usual": round(median(r["pipeline"]["fps"] / r["usual_fps"] for r in rows), 4),
            "alone_ms": round(1e3 / median(r["alone_fps"] for r in rows), 4),
            "runner_cpu_us": median(r["pipeline"]["runner_cpu_us"]["p50"] for r in rows),
            "rounds": rows,
            "in_flight_1": self.contest("edged", name, in_flight=1),
        }

    def contest(self, who: str, name: str, **options: Any) -> dict[str, Any]:
        """One contestant in a process of its own: see _gpu/contest.py."""
        given = {
            "device": self.args.device,
            "conv_search": self.args.conv_search,
            "seconds": self.args.seconds,
        }
        flags = [f"--{k.replace('_', '-')}={v}" for k, v in (given | options).items()]
        script = ROOT / "scripts" / "_gpu" / "contest.py"
        done = subprocess.run(
            [sys.executable, str(script), who, str(self.model(name)), *flags],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{who} on {name} ended with {done.returncode}: {done.stderr[-800:]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def streams(self) -> list[dict[str, Any]]:
        rows = []
        for count in map(int, self.args.streams.split(",")):
            seconds = self.args.seconds * 2
            found = self.contest("edged", "yolox-nano", streams=count, rate=30.0, seconds=seconds)
            rows.append({"streams": count, "offered_fps": 30 * count, **found})
            say(f"{count} streams: {found['fps']} frames/s, age p99 {found['age_p99_ms']} ms")
        return rows

    def memory(self) -> dict[str, Any]:
        small = FrameSpec(64, 48, PixelFormat.NV12)
        return {
            "yolox-nano": self._memory("yolox-nano", self.args.frames, rig.FULL_HD),
            "empty": self._memory("empty", self.args.empty_frames, small),
        }

    def _memory(self, name: str, frames: int, spec: Any) -> dict[str, Any]:
        marks: list[dict[str, int]] = []

        def mark(daemon: Any) -> None:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            marks.append(
                {
                    "free_device_bytes": rig.free_memory() if rig.on_gpu(daemon) else 0,
                    "admitted_bytes": daemon.budget.held,
                    "rss_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
                }
            )

        warm = min(5000, frames // 10)
        at: dict[int, Any] = {warm + max(frames * part // 4 - 1, 0): mark for part in range(5)}
        found = rig.Run(self.config(name), spec=spec, frames=frames, warm=warm, at_frames=at).go()
        first = marks[0]
        changes = [{k: m[k] - first[k] for k in first} for m in marks[1:]]
        say(
            f"{name}: resident memory changed by {changes[-1]['rss_bytes']} bytes over {frames} frames at "
            f"{found['fps']}/s; all changes by quarter: {changes}"
        )
        return {
            "frames": frames,
            "change": changes[-1],
            "change_by_quarter": changes,
            "fps": found["fps"],
            "runner_cpu_us": found["runner_cpu_us"],
        }

    def fault(self) -> dict[str, Any]:
        command = [
            sys.executable,
            str(Path(__file__).with_name("gpu_fault.py")),
            str(self.model("yolox-nano")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        ended = time.monotonic()
        lines = [line for line in done.stderr.splitlines() if line.startswith("CRITICAL")]
        injected = float(done.stdout.split()[-1]) if done.stdout.split() else 0.0
        found = {"status": done.returncode, "seconds": round(ended - injected, 3), "line": lines}
        say(f"fault: {found}")
        if done.returncode != 11 or ended - injected >= 1:
            raise SystemExit(f"{found}; {done.stderr[-500:]}")
        return found

    def coco(self) -> dict[str, Any]:
        from _gpu.detections import compare, detections

        if self.args.coco is None:
            raise SystemExit("labelled pictures are needed: --coco FOLDER")
        model = self.model("yolox-nano")
        found = {
            device: detections(model, self.args.coco / "images", device)
            for device in ("cpu", self.args.device)
        }
        return compare(found["cpu"], found[self.args.device])

    def sanitizer(self) -> dict[str, Any]:
        tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        out = {}
        for check in ("memcheck", "racecheck"):
            command = [tool, "--tool", check, "--error-exitcode", "99", sys.executable, "-m", "pytest", "-x"]
            command += [
                "-p",
                "no:cacheprovider",
                "tests/gpu/test_kernels.py",
                "-k",
                self.args.kernels,
                "--timeout=300",
            ]
            done = subprocess.run(
                command, capture_output=True, text=True, cwd=ROOT, timeout=self.args.sanitizer_s, check=False
            )
            out[check] = {
                "command": " ".join(command),
                "status": done.returncode,
                "tail": done.stdout[-1500:],
            }
            say(f"{check}: status {done.returncode}")
        return out


SECTIONS: dict[str, Callable[[Bench], Any]] = {
    "speed": Bench.speed,
    "streams": Bench.streams,
    "memory": Bench.memory,
    "fault": Bench.fault,
    "coco": Bench.coco,
    "sanitizer": Bench.sanitizer,
}


def say(text: str) -> None:
    print(f"gpu bench: {text}", file=sys.stderr, flush=True)


def versions() -> dict[str, str]:
    out = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            continue
    smi = shutil.which("nvidia-smi")
    if smi is not None:
        query = [smi, "--query-gpu=name,driver_version", "--format=csv,noheader"]
        out["gpu"] = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return out


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("sections", nargs="*", metavar="SECTION", help=f"default: all of {', '.join(SECTIONS)}")
    p.add_argument("--yolox", type=Path, help="YOLOX-nano's ONNX file")
    p.add_argument("--coco", type=Path, help="a folder with images/ to compare devices on")
    p.add_argument(
        "--device", default="cuda", choices=("cuda", "cpu"), help="cpu: to try this script without a GPU"
    )
    p.add_argument("--models", default="yolox-nano,resnet50,yolo-m")
    p.add_argument("--conv-search", default="heuristic", choices=("exhaustive", "heuristic", "default"))
    p.add_argument("--seconds", type=float, default=3.0)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--streams", default="1,4,16,64")
    p.add_argument("--frames", type=int, default=100_000, help="of YOLOX-nano, in section memory")
    p.add_argument("--empty-frames", type=int, default=1_000_000, help="of the empty engine")
    p.add_argument("--kernels", default="", help="pytest -k for the sanitizer")
    p.add_argument("--sanitizer-s", type=float, default=240.0, help="at most, for each tool")
    return p.parse_args()


def main() -> int:
    args = arguments()
    unknown = set(args.sections) - set(SECTIONS)
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": " ".join(["python", *sys.argv]),
        "versions": versions(),
    }
    good = True
    with tempfile.TemporaryDirectory(prefix="edged-gpu-") as folder:
        bench = Bench(args, Path(folder))
        for name in args.sections or SECTIONS:
            begun = time.monotonic()
            try:
                found = SECTIONS[name](bench)
            except BaseException as e:
                if isinstance(e, KeyboardInterrupt):
                    raise
                traceback.print_exc()
                found, good = {"failed": f"{type(e).__name__}: {e}"}, False
            result[name] = found
            say(f"{name}: {time.monotonic() - begun:.0f} s")
            write(result)
    print(json.dumps(result, indent=1))
    return 0 if good else 1


def write(result: dict[str, Any]) -> None:
    """After each section: a run that is cut off leaves what it had."""
    name = f"bench-{result['date'].replace(':', '')}.json"
    for folder in (RESULTS, Path(os.environ["OUT"]) if "OUT" in os.environ else None):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
