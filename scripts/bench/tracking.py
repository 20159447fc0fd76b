"""What tracking costs a frame: on a real clip's detections, and on crowds that walk about.

    python scripts/bench/tracking.py [RESULTS.jsonl] [--json FILE]

RESULTS.jsonl holds results with detections down to score 0.1 (`edged run` with a sink of kind "jsonl", [output]
score_threshold = 0.1); without it only the crowds are measured. Times are of Tracker.update alone, in one process, each
frame `--repeats` times with a tracker of its own; shown are the median and the 99th percentile over frames.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edged.config.schema import TrackOptions
from edged.messages import Result, decode
from edged.tracking.tracker import F32, I32, Tracker

Frames = list[tuple[F32, F32, I32, int]]  # boxes [n, 4], scores [n], class ids [n], CLOCK_MONOTONIC ns
CROWDS = (1, 10, 50, 128)
FRAME_NS = 33_333_333


@dataclass(frozen=True)
class Cost:
    what: str
    frames: int
    boxes: float  # a frame
    median_ms: float
    p99_ms: float


def clip(file: Path) -> Frames:
    found: Frames = []
    for line in file.read_bytes().splitlines():
        body = decode(line)
        if isinstance(body, Result) and body.detections is not None:
            d = body.detections
            found.append(
                (
                    np.array([x.box for x in d], np.float32).reshape(-1, 4),
                    np.array([x.score for x in d], np.float32),
                    np.array([x.class_id for x in d], np.int32),
                    body.captured_mono_ns,
                )
            )
    return found


def crowd(people: int, frames: int = 300) -> Frames:
    """Boxes of 40x80 that walk straight on in a picture of 1920x1080, and turn at its edges."""
    rng = np.random.default_rng(people)
    place, pace = rng.uniform(0, (1880, 1000), (people, 2)), rng.normal(0, 4, (people, 2))
    out: Frames = []
    for i in range(frames):
        place += pace
        pace[(place < 0) | (place > (1880, 1000))] *= -1
        boxes = np.hstack((place, np.full((people, 2), (40.0, 80.0)))).astype(np.float32)
        out.append((boxes, np.full(people, 0.9, np.float32), np.zeros(people, np.int32), i * FRAME_NS))
    return out


def measure(what: str, frames: Frames, repeats: int) -> Cost:
    times = np.empty((repeats, len(frames)))
    for r in range(repeats):
        tracker = Tracker(TrackOptions())
        for i, frame in enumerate(frames):
            begin = time.perf_counter()
            tracker.update(*frame)
            times[r, i] = time.perf_counter() - begin
    best = np.median(times, axis=0) * 1e3
    boxes = sum(len(f[0]) for f in frames) / len(frames)
    return Cost(
        what,
        len(frames),
        round(boxes, 1),
        round(float(np.median(best)), 3),
        round(float(np.quantile(best, 0.99)), 3),
    )


def costs(args: argparse.Namespace) -> Iterator[Cost]:
    if args.results is not None:
        yield measure(args.results.name, clip(args.results), args.repeats)
    for people in CROWDS:
        yield measure(f"a crowd of {people}", crowd(people), args.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("results", nargs="?", type=Path, help="JSON lines of `edged run`")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    args = parser.parse_args()
    rows = []
    print(f"{'detections':<24}{'frames':>8}{'boxes':>8}{'median ms':>11}{'p99 ms':>9}")
    for c in costs(args):
        print(f"{c.what:<24}{c.frames:>8}{c.boxes:>8}{c.median_ms:>11}{c.p99_ms:>9}", flush=True)
        rows.append(asdict(c))
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
