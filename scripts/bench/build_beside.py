"""What building a plan costs a pipeline that runs beside it: dropped frames and ages, with builds and without.

    python scripts/bench/build_beside.py MODEL_DIR FILE [--rate 15] [--seconds 30] [--pairs 3] [--json RESULTS.json]

MODEL_DIR runs on ONNX Runtime, with frames of the video FILE at a fixed rate, as from a camera: the newest frame wins,
one that waits when the next comes is dropped. Beside it the whole command `edged model build MODEL_DIR --engine
tensorrt-rtx` runs again and again, in FP16, with nothing kept. Runs with and without builds alternate.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from edged.bench.measure import machine, new_bench, prepare
from edged.config.load import loads

EDGED = "import sys; from edged.cli.main import main; sys.exit(main())"
CONFIG = """
[pipelines.front]
source = {video}
model = "model"
sinks = ["bus"]
[models.model]
path = {model}
engine = "onnxruntime"
[sinks.bus]
kind = "zmq"
"""


@dataclass
class Builds:
    """How many were begun and ended well while a pipeline ran, and what they took."""

    seconds: list[float]
    failed: int = 0


@dataclass(frozen=True)
class Row:
    """Of one run: frames offered and dropped, ages in ms, and the builds beside it."""

    builds: int
    build_s: float
    offered: int
    dropped: int
    age_p50_ms: float
    age_p99_ms: float
    age_worst_ms: float


@contextmanager
def building(model: Path) -> Iterator[Builds]:
    """Build again and again until the block ends; the last build is killed."""
    builds, stop = Builds([]), threading.Event()
    command = [sys.executable, "-c", EDGED, "model", "build", str(model), "--engine", "tensorrt-rtx"]

    def work() -> None:
        while not stop.is_set():
            with tempfile.TemporaryDirectory() as state:
                started = time.monotonic()
                process = subprocess.Popen(
                    [*command, "--state-dir", state], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                while process.poll() is None and not stop.wait(0.05):
                    pass
                if process.poll() is None:
                    process.kill()
                    process.wait()
                    time.sleep(0.2)  # its builder dies with it
                elif process.returncode == 0:
                    builds.seconds.append(time.monotonic() - started)
                else:
                    builds.failed += 1

    thread = threading.Thread(target=work, name="builds")
    thread.start()
    try:
        yield builds
    finally:
        stop.set()
        thread.join()


def measure(model: Path, video: Path, rate: float, seconds: float, pairs: int) -> list[Row]:
    paths = {"video": json.dumps(str(video.resolve())), "model": json.dumps(str(model.resolve()))}
    subject = prepare(loads(CONFIG.format(**paths)), "front")
    bench = new_bench()
    rows = []
    for i in range(2 * pairs):
        if i % 2:
            with building(model) as builds:
                run = bench.run(subject.config, seconds, subject.clip, rate)
            if builds.failed or not builds.seconds:
                sys.exit(
                    f"{builds.failed} builds failed, {len(builds.seconds)} ended: try the command by hand"
                )
        else:
            builds = Builds([])
            run = bench.run(subject.config, seconds, subject.clip, rate)
        age, counts = run.stages["age"], run.counts
        n = len(builds.seconds)
        row = Row(
            n,
            round(sum(builds.seconds) / n, 2) if n else 0.0,
            counts.offered,
            counts.dropped,
            age.p50_ms,
            age.p99_ms,
            age.max_ms,
        )
        rows.append(row)
        beside = f"{n} builds of {row.build_s:.1f} s" if n else "no build"
        print(
            f"{beside}: {row.offered} offered, {row.dropped} dropped ({row.dropped / row.offered:.2%}); "
            f"age p50 {row.age_p50_ms:.1f}, p99 {row.age_p99_ms:.1f}, worst {row.age_worst_ms:.1f} ms",
            flush=True,
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("video", type=Path, metavar="FILE")
    parser.add_argument("--rate", type=float, default=15.0, help="frames a second (15)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run (30)")
    parser.add_argument("--pairs", type=int, default=3, help="runs without and with builds (3)")
    parser.add_argument("--json", type=Path, metavar="RESULTS.json")
    args = parser.parse_args()
    rows = measure(args.model, args.video, args.rate, args.seconds, args.pairs)
    for name, some in (("without", rows[0::2]), ("with", rows[1::2])):
        offered, dropped = sum(r.offered for r in some), sum(r.dropped for r in some)
        print(f"{name} builds: {dropped} of {offered} frames dropped ({dropped / offered:.2%})")
    if args.json:
        args.json.write_text(
            json.dumps(
                {"machine": asdict(machine()), "rate": args.rate, "runs": [asdict(r) for r in rows]}, indent=1
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
