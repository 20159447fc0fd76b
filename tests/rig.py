"""Small parts that several tests of the core put together: frames in slots, and a post box for reports."""

from __future__ import annotations

import queue
import time

import numpy as np

from edged.frames import Frame, FrameSpec, PixelFormat
from edged.memory import Slots
from edged.units import Report

SPEC = FrameSpec(4, 2, PixelFormat.BGR)


def make_slots(count: int, spec: FrameSpec = SPEC, owner: str = "source test") -> Slots:
    return Slots(owner, [np.zeros(spec.nbytes, np.uint8) for _ in range(count)])


def make_frame(slots: Slots, seq: int, spec: FrameSpec = SPEC) -> Frame:
    """A frame whose lease is the caller's; every byte is `seq` modulo 256."""
    lease = slots.acquire()
    assert lease is not None, "the test has too few slots"
    slots.buffers[lease.index][:] = seq % 256
    now = time.monotonic_ns()
    planes = spec.views(slots.buffers[lease.index])
    where = (slots.memory, slots.addresses[lease.index])
    return Frame(spec, planes, lease, seq, now, time.time_ns(), "synthetic", *where)


class Post:
    """Takes reports from any thread; `wait_for` returns when the one wanted has come."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self._queue: queue.SimpleQueue[Report] = queue.SimpleQueue()

    def __call__(self, r: Report) -> None:
        self._queue.put(r)

    def drain(self) -> list[Report]:
        """All so far."""
        while not self._queue.empty():
            self.reports.append(self._queue.get())
        return self.reports

    def wait_for(self, unit: str, phase: str, timeout_s: float = 10.0) -> Report:
        while True:
            r = self._queue.get(timeout=timeout_s)
            self.reports.append(r)
            if (r.unit, r.phase) == (unit, phase):
                return r

    def phases(self, unit: str) -> list[str]:
        return [r.phase for r in self.drain() if r.unit == unit]
