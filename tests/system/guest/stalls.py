"""When the machine itself stood still: an emulated processor runs only when a busy host lets it.

A child of the highest priority on each processor sleeps and notes how late it wakes. It does not see what edged
keeps its processors busy with, so what edged is to blame for stays its own.
"""

from __future__ import annotations

import mmap
import os
import signal
import time

import numpy as np

NAP_S = 0.02
ROWS = 4096
STOOD_S = 0.15  # together, within the time looked at
WINDOW_S = 1.5


class Stalls:
    """Start it before any thread; `close` ends the children."""

    def __init__(self) -> None:
        self._children: list[int] = []
        self._tables = []
        for cpu in sorted(os.sched_getaffinity(0)):
            shared = mmap.mmap(-1, ROWS * 16)
            table = np.frombuffer(shared, np.float64).reshape(ROWS, 2)  # when, how late
            child = os.fork()
            if child == 0:
                _note(cpu, table)
            self._children.append(child)
            self._tables.append(table)

    def stood(self) -> bool:
        """Whether a processor stood still within the last moments."""
        since = time.monotonic() - WINDOW_S
        return any(float(t[t[:, 0] >= since, 1].sum()) >= STOOD_S for t in self._tables)

    def total_s(self) -> float:
        return max(float(t[:, 1].sum()) for t in self._tables)

    def close(self) -> None:
        for child in self._children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _note(cpu: int, table: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    """Never returns."""
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    row, before = 0, time.monotonic()
    while True:
        time.sleep(NAP_S)
        now = time.monotonic()
        late = now - before - NAP_S
        if late > NAP_S:
            table[row % ROWS] = now, late
            row += 1
        before = now
