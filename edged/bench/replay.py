"""Some frames of a source, kept in memory, and a source that plays them again at any rate.

So a file, a camera or a pattern can be offered at a chosen rate, with one copy a frame and no decoding.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np

from edged.errors import SourceError
from edged.frames import U8, Frame, FrameSpec, TimestampSource
from edged.interfaces import EndOfStream, Source
from edged.memory import Slots
from edged.sources.base import SlotSource

MAX_FRAMES = 100
MAX_BYTES = 128 << 20
WAIT_S = 5.0  # for a camera's first picture, and for all of its pictures


class Clip:
    """Frames of one size in host memory. `read_ms`: the median time that the source took for one."""

    def __init__(self, spec: FrameSpec, frames: list[tuple[U8, ...]], read_ms: float) -> None:
        self.spec, self.frames, self.read_ms = spec, frames, read_ms


def record(name: str, source: Source) -> Clip:
    """Read up to MAX_FRAMES frames, at most MAX_BYTES, at least one. Opens and closes `source`."""
    spec = source.open()
    try:
        slots = Slots(name, [np.zeros(spec.nbytes, np.uint8) for _ in range(2)])
        source.start(slots)
        most = max(1, min(MAX_FRAMES, MAX_BYTES // spec.nbytes))
        frames: list[tuple[U8, ...]] = []
        took: list[float] = []
        end = time.monotonic() + WAIT_S
        while len(frames) < most and time.monotonic() < end:
            begun = time.monotonic()
            try:
                frame = source.read(0.5)
            except EndOfStream:
                break
            if frame is not None:
                took.append(time.monotonic() - begun)
                frames.append(tuple(plane.copy() for plane in frame.planes))
                frame.release()
    finally:
        source.close()
    if not frames:
        raise SourceError(
            f"source '{name}' gave no frame within {WAIT_S:g} s", hint="try it with edged run first"
        )
    return Clip(spec, frames, round(median(took) * 1e3, 3))


class _Any:
    """Options of a source that has none."""

    def problems(self) -> Iterator[tuple[str, str]]:
        return iter(())


class ReplaySource(SlotSource):
    """Plays a clip round and round: at `rate` like a camera (live), or as fast as frames are taken (None).

    `in_place`: each slot keeps the picture that it got first, as if a driver had written it; then no frame is copied.
    """

    stills = True  # the same pictures again: none of them proves a fault

    def __init__(self, name: str, clip: Clip, rate: float | None, *, in_place: bool = False) -> None:
        super().__init__(name, _Any())
        self._clip, self._rate = clip, rate
        self._in_place = in_place
        self._written: set[int] = set()
        self._next = 0

    @property
    def live(self) -> bool:
        return self._rate is not None

    @property
    def timestamps(self) -> TimestampSource:
        return "synthetic"

    def _open(self) -> FrameSpec:
        return self._clip.spec

    def _start(self) -> None:
        self._next = 0
        self._written.clear()

    def _advance(self, timeout_s: float) -> float | None:
        at, self._next = self._next, self._next + 1
        return at / self._rate if self._rate else 0.0

    def _fill(self, slot: int, planes: tuple[U8, ...]) -> dict[str, Any]:
        if slot in self._written:
            return {}
        if self._in_place:
            self._written.add(slot)
        picture = self._clip.frames[(self._next - 1) % len(self._clip.frames)]
        for plane, pixels in zip(planes, picture, strict=True):
            np.copyto(plane, pixels)
        self.copied = 0 if self._in_place else self._clip.spec.nbytes
        return {}

    def _close(self) -> None:
        """It holds nothing: the clip is its maker's."""


@contextmanager
def one_frame(clip: Clip, slots: Slots | None = None) -> Iterator[Frame]:
    """The clip's first frame, as a source gives it, in `slots` (None: plain memory)."""
    source = ReplaySource("clip", clip, None)
    source.open()
    try:
        source.start(slots or Slots("clip", [np.zeros(clip.spec.nbytes, np.uint8)]))
        frame = source.read(1.0)
        assert frame is not None
        yield frame
        frame.release()
    finally:
        source.close()
