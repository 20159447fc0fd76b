"""Edged's numbers and losses against the driver's own, picture by picture; and who it was that lost one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from edged.frames import Frame

KEPT = 64


class Numbers:
    """Of one camera. `buffers`: those that circulate between driver and edged; `stood`: see stalls.py. Used by the
    thread that reads.

    vivid leaves out pictures when its thread wakes a whole interval late, which an emulated processor on a busy
    machine makes it do. Such a one is not lost by edged. It is told from one for which edged had given the driver no
    buffer: buffers are filled in order, so at a gap behind picture p the driver had all buffers but p's, those of
    pictures that were waiting before it, and the one that was with the reader.
    """

    def __init__(self, buffers: int, stood: Callable[[], bool]) -> None:
        self.left_out = 0  # by the driver, though it had a buffer, or while the machine stood still
        self.lost = 0  # for want of a buffer
        self.defects: list[str] = []
        self._buffers = buffers
        self._stood = stood
        self._taken_ns: deque[int] = deque(maxlen=KEPT)
        self._begun = self._last = self._missing = 0
        self._was_late = False

    def step(self, frame: Frame, said_lost: int) -> int:
        """How many pictures are missing before this one. `said_lost`: the source's count since open."""
        now, sequence = time.monotonic_ns(), int(frame.tags["sequence"])
        if frame.seq == 0:
            self._begun, self._last, self._missing, self._was_late = sequence, sequence - 1, 0, False
            self._taken_ns.clear()
        missing = sequence - self._last - 1
        self._last = sequence
        self._missing += missing
        if missing and self._was_late and not self._stood():
            self.lost += missing
        else:
            self.left_out += missing
        if (said_lost, frame.seq) != (self._missing, sequence - self._begun):
            self.defects.append(
                f"edged says number {frame.seq}, {said_lost} lost; the driver {self._begun} to {sequence}, "
                f"{self._missing} missing"
            )
        waiting = sum(at > frame.captured_mono_ns for at in self._taken_ns)
        self._was_late = self._buffers - waiting - 2 < 1 or frame.timestamp_source != "driver"
        self._taken_ns.append(now)
        return missing
