"""The thread that reads the sensors: one that hangs on its bus holds up nobody else."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

from edged.sensors.discover import discover
from edged.sensors.readings import Reading, read_all

PERIOD_S = 1.0
STALE_S = 10.0  # readings older than this are none: the thread hangs in a driver
AGAIN_S = 60.0  # drivers may come later, and limits change with the power mode
JOIN_S = 0.5


class Sensors:
    """The newest readings of the machine whose tree is at `root`. `start` and `stop` once, or as a context."""

    def __init__(self, root: Path = Path("/"), period_s: float = PERIOD_S) -> None:
        self._root, self._period_s = root, period_s
        self._newest: tuple[float, tuple[Reading, ...]] = (-STALE_S, ())  # replaced whole, never changed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="sensors", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Does not wait for one that hangs in a driver."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)

    def __enter__(self) -> Sensors:
        self.start()
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    # Any thread.

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The newest; none until the first were read, or when there were none for long."""
        at, newest = self._newest
        return newest if time.monotonic() - at <= STALE_S else ()

    # The thread.

    def _main(self) -> None:
        found, found_at = discover(self._root), time.monotonic()
        while True:
            values = read_all(found)
            self._newest = (time.monotonic(), values)
            if self._stop.wait(self._period_s):
                return
            if time.monotonic() - found_at >= AGAIN_S:
                found, found_at = discover(self._root), time.monotonic()
