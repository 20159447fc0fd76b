"""Four cameras at once for ten minutes on the whole daemon: drops, age and memory."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from edged.config.load import loads
from edged.daemon import Daemon, Limits
from tests import onnx_models
from tests.system.guest import vivid
from tests.system.guest.daemon_faults import CAMERA, HEAD
from tests.system.guest.report import write

SOAK_S = float(os.environ.get("EDGED_SOAK_S", "600"))
WARM_UP_S = SOAK_S / 5  # before it
RATE = 10
MEMORIES = ("userptr", "mmap", "userptr", "mmap")
PAGE, MIB = os.sysconf("SC_PAGE_SIZE"), 1 << 20


class Samples:
    """Once a second, into memory that is there from the start: seconds, RSS, threads, descriptors, bytes admitted."""

    def __init__(self) -> None:
        self._rows = np.ones((round(WARM_UP_S + SOAK_S) + 60, 5))
        self._count = 0

    def __call__(self, daemon: Daemon) -> None:
        now = time.monotonic()
        if daemon.core.phase != "running":  # on its way up or down
            return
        if self._count == len(self._rows) or (self._count and now - self._rows[self._count - 1, 0] < 1):
            return
        rss = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
        threads, files = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
        self._rows[self._count] = (now, rss, threads, files, daemon.budget.held)
        self._count += 1

    def settled(self) -> dict[str, Any]:
        rows = self._rows[: self._count]
        rows = rows[rows[:, 0] - rows[0, 0] >= WARM_UP_S]
        slope = np.polyfit(rows[:, 0] - rows[0, 0], rows[:, 1], 1)[0]
        return {
            "seconds": round(float(rows[-1, 0] - rows[0, 0])),
            "rss_mib": [round(float(rows[at, 1]) / MIB, 1) for at in (0, -1)],
            "growth_mib_in_10_min": round(float(slope) * 600 / MIB, 3),
            "threads": sorted(set(rows[:, 2].tolist())),
            "descriptors": sorted(set(rows[:, 3].tolist())),
            "bytes admitted": sorted(set(rows[:, 4].tolist())),
        }


def main() -> int:
    vivid.load(*(vivid.Kind() for _ in MEMORIES))
    folder = Path(tempfile.mkdtemp())
    (folder / "tiny").mkdir()
    onnx_models.model_toml(folder / "tiny", onnx_models.relu(folder / "tiny" / "m.onnx"), size=(6, 4))
    text = HEAD + "".join(
        CAMERA.format(name=f"camera{n}", device=f"/dev/video{n}", memory=memory, rate=RATE)
        for n, memory in enumerate(MEMORIES)
    )
    config = loads(text.replace('kind = "jsonl"', f'kind = "jsonl"\npath = "{folder}/results"'), base=folder)
    samples = Samples()
    daemon = Daemon(config, Limits(seconds=WARM_UP_S + SOAK_S), on_tick=samples)
    code = daemon.run(signals=False)
    snapshot, cameras = daemon.snapshot(), {}
    print(f"{'camera':9} {'memory':8} offered results dropped lost failed  age ms: median    p99    max")
    for (name, p), memory in zip(snapshot.pipelines.items(), MEMORIES, strict=True):
        age = p.stages["age"]
        cameras[name] = {
            "memory": memory,
            "offered": p.offered,
            "inferred": p.inferred,
            "dropped": p.dropped,
            "lost": p.lost,
            "failed": p.failed,
            "age_ms": [age.p50_ms, age.p99_ms, age.max_ms],
        }
        print(
            f"{name:9} {memory:8} {p.offered:7} {p.inferred:7} {p.dropped:7} {p.lost:4} {p.failed:6}"
            f"          {age.p50_ms:6.1f} {age.p99_ms:6.1f} {age.max_ms:6.1f}"
        )
    held = samples.settled()
    print(held)
    write({"cameras": cameras, "held": held, "errors": list(snapshot.errors), "exit": int(code)})
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
