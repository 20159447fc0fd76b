"""Ten minutes at full load: what is admitted at boot is all that is ever taken.

EDGED_SOAK_S and EDGED_SOAK_WARM_UP_S shorten it for a trial.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edged.config.load import loads
from edged.daemon import Daemon, Limits
from edged.errors import ExitCode
from edged.memory import Region
from tests.test_accuracy import model_directory

WARM_UP_S = float(os.environ.get("EDGED_SOAK_WARM_UP_S", "120"))
SOAK_S = float(os.environ.get("EDGED_SOAK_S", "600"))
MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")

CONFIG = """
[pipelines.fast]
source = "clip"
model = "yolox"
sinks = ["bus"]
[pipelines.live]
source = "pattern"
model = "yolox"
sinks = ["bus"]
[sources.clip]
kind = "video"
path = {clip}
loop = true
pace = "max"
[sources.pattern]
kind = "pattern"
rate = 30
[models.yolox]
path = "yolox"
instances = 2
options.threads = 1
[sinks.bus]
kind = "zmq"
bind = {endpoint}
"""

SUBSCRIBER = """
import sys
from edged.client import subscribe
seen = {"fast": 0, "live": 0}
with subscribe(sys.argv[1], timeout_s=30) as results:
    print("ready", flush=True)
    for r in results:
        seen[r.pipeline] += 1
        if seen[r.pipeline] % 50 == 0:
            print(seen["fast"], seen["live"], flush=True)
"""


class Samples:
    """What the process holds, once a second, in memory that is there from the start. Called by the main loop."""

    def __init__(self) -> None:
        self._rows = np.ones((round(WARM_UP_S + SOAK_S) + 60, 6))
        self._count = 0
        self.regions_made = 0

    def __call__(self, daemon: Daemon) -> None:
        now = time.monotonic()
        if self._count == len(self._rows) or (self._count and now - self._rows[self._count - 1, 0] < 1):
            return
        rss = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
        threads, files = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
        held = daemon.budget.held
        self._rows[self._count] = (now, rss, threads, files, held, self.regions_made)
        self._count += 1

    @property
    def settled(self) -> npt.NDArray[np.float64]:
        """Columns: seconds, RSS, threads, descriptors, bytes admitted, regions made; after the warm-up."""
        rows = self._rows[: self._count]
        settled: npt.NDArray[np.float64] = rows[rows[:, 0] - rows[0, 0] >= WARM_UP_S]
        return settled


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_nothing_grows_at_full_load(
    tmp_path: Path, yolox: Path, vtest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "yolox").mkdir()
    model_directory(tmp_path / "yolox", yolox, 0.3, 0.45)
    endpoint = f"ipc://{tmp_path}/bus"
    text = CONFIG.format(clip=json.dumps(str(vtest)), endpoint=json.dumps(endpoint))
    samples, made = Samples(), Region.__init__

    def count(self: Region, *args: object, **kwargs: object) -> None:
        samples.regions_made += 1
        made(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Region, "__init__", count)
    daemon = Daemon(loads(text, base=tmp_path), Limits(seconds=WARM_UP_S + SOAK_S), on_tick=samples)
    command = [sys.executable, "-c", SUBSCRIBER, endpoint]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        said: list[str] = []
        reader = threading.Thread(target=said.extend, args=(child.stdout,))  # so that its pipe never fills
        reader.start()
        code = daemon.run()
        child.terminate()
        reader.join()
    assert code is ExitCode.OK
    assert daemon.errors == []
    for name, p in daemon.snapshot().pipelines.items():
        assert p.offered == p.inferred + p.dropped + p.failed, name
        assert p.failed == 0
    fast, live = map(int, said[-1].split())
    assert min(fast, live) > SOAK_S / 10, "the subscriber got too little"

    rows = samples.settled
    seconds, rss = rows[:, 0] - rows[0, 0], rows[:, 1]
    growth = np.polyfit(seconds, rss, 1)[0] * SOAK_S
    print(
        f"{seconds[-1]:.0f} s, {daemon.pipelines['fast'].inferred} + {daemon.pipelines['live'].inferred} frames: "
        f"RSS {rss[0] / MIB:.1f} to {rss[-1] / MIB:.1f} MiB, slope {growth / MIB:.3f} MiB in {SOAK_S:.0f} s; "
        f"{rows[0, 2]:.0f} threads, {rows[0, 3]:.0f} descriptors"
    )
    assert growth < MIB
    for column, name in ((2, "threads"), (3, "descriptors"), (4, "bytes admitted"), (5, "regions made")):
        values = set(rows[:, column].tolist())
        assert len(values) == 1, f"{name}: {sorted(values)}"
