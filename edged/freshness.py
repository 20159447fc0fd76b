"""Whether a live picture can be believed: frozen, black, late or torn.

A source's thread looks at each frame once (`Watch.look`, some 30 us); each pipeline that gets the frame judges
what was seen by its own thresholds (`judge`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from edged.config.schema import Check, HealthOptions
from edged.frames import Frame, FrameSpec, PixelFormat

SAMPLE = 4096  # bytes
SAMPLE_ROWS = 36
LEARNED = 9  # gaps after which a source's rate is known
GAPS = 3.0  # frames may be so many times further apart than usual
_BLOCK = 64  # rows hashed at once of a plane that has gaps between its rows
_YUV = (PixelFormat.YUYV, PixelFormat.UYVY, PixelFormat.NV12)
_LUMA = {PixelFormat.YUYV: 0, PixelFormat.UYVY: 1}  # channel of the first plane


@dataclass(frozen=True, slots=True)
class Look:
    """What can be seen of one frame without knowing what it shows.

    age_s: from capture to the look. gap_s: since the capture of the frame before, 0 for the first; usual_gap_s: what
    it should be, None until known. still_s: for how long the picture has been the same. mean, spread: of
    sampled brightness above black, 0 to 255; spread is the standard deviation. torn: the driver says so.
    """

    age_s: float = 0.0
    gap_s: float = 0.0
    usual_gap_s: float | None = None
    still_s: float = 0.0
    mean: float = 128.0
    spread: float = 50.0
    torn: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is "<check>: words", and stays the same as long as the check fails; None: the picture is good."""

    check: Check | None = None
    reason: str | None = None

    @property
    def valid(self) -> bool:
        return self.check is None

    @property
    def shows(self) -> bool:
        """Whether the picture shows what was in front of the camera when it was taken (a late one does)."""
        return self.check in (None, "late")


GOOD = Verdict()


class Watch:
    """Looks at the frames of one live source, from one open to the next. Used by the source's thread.

    `rate`: frames a second that the source promises; None: learned from the first frames.
    """

    def __init__(self, spec: FrameSpec, rate: float | None = None) -> None:
        self._cut = _cut(spec)
        self._black = 16.0 if spec.format in _YUV and not spec.full_range else 0.0
        self._usual_gap_s = 1 / rate if rate else None
        self._gaps: list[float] = []
        self._sequence: object = None  # the driver's number of the frame before
        self._captured_ns: int | None = None
        self._print: int | None = None
        self._whole: int | None = None
        self._since_ns = 0  # arrival of the first of the pictures that look the same

    def look(self, frame: Frame, now_ns: int) -> Look:
        """See Look. `now_ns`: CLOCK_MONOTONIC. Frames come in the order of their capture."""
        sample = np.ascontiguousarray(frame.planes[0][self._cut])
        values = sample.ravel().astype(np.float32)
        mean = float(values.mean())
        variance = float(values.dot(values)) / values.size - mean * mean
        before, captured = self._captured_ns, frame.captured_mono_ns
        gap_s = 0.0 if before is None else max(0.0, (captured - before) / 1e9)
        if before is not None:
            self._learn(gap_s)
        still_s = self._still_s(frame, zlib.crc32(sample), now_ns)
        self._captured_ns, self._sequence = captured, frame.tags.get("sequence")
        return Look(
            age_s=(now_ns - captured) / 1e9,
            gap_s=gap_s,
            usual_gap_s=self._usual_gap_s,
            still_s=still_s,
            mean=max(0.0, mean - self._black),
            spread=math.sqrt(max(0.0, variance)),
            torn=bool(frame.tags.get("torn")),
        )

    def _learn(self, gap_s: float) -> None:
        if self._usual_gap_s is None:
            self._gaps.append(gap_s)
            if len(self._gaps) == LEARNED:
                self._usual_gap_s = median(self._gaps)
                self._gaps.clear()

    def _still_s(self, frame: Frame, fingerprint: int, now_ns: int) -> float:
        """How long the picture has been the same.

        A sample that repeats is only a suspicion: something small may move beside it. The second opinion is
        the driver's sequence number or time, if it repeats too, else the hash of the whole picture.
        """
        if fingerprint != self._print:
            self._print, self._whole, self._since_ns = fingerprint, None, now_ns
            return 0.0
        if not self._stuck(frame):
            whole, known = _hash(frame), self._whole
            self._whole = whole
            if whole != known:
                if known is not None:
                    self._since_ns = now_ns
                return 0.0
        return (now_ns - self._since_ns) / 1e9

    def _stuck(self, frame: Frame) -> bool:
        """Whether the driver gave the number or the time of the frame before again."""
        number, time_ns = frame.tags.get("sequence"), self._captured_ns
        return (number is not None and number == self._sequence) or frame.captured_mono_ns == time_ns


def _cut(spec: FrameSpec) -> tuple[slice | int, ...]:
    """What of the first plane is the sample: brightness on a grid, or whole pixels of an RGB picture."""
    channels = 3 if spec.format in (PixelFormat.BGR, PixelFormat.RGB) else 1
    rows = math.ceil(spec.height / SAMPLE_ROWS)
    columns = math.ceil(spec.width * SAMPLE_ROWS * channels / SAMPLE)
    grid = (slice(rows // 2, None, rows), slice(columns // 2, None, columns))
    channel = _LUMA.get(spec.format)
    return grid if channel is None else (*grid, channel)


def _hash(frame: Frame) -> int:
    """CRC of all bytes; about 0.3 ms a megabyte, the GIL released."""
    crc = 0
    for plane in frame.planes:
        step = len(plane) if plane.flags.c_contiguous else _BLOCK
        for row in range(0, len(plane), step):
            crc = zlib.crc32(np.ascontiguousarray(plane[row : row + step]), crc)
    return crc


def _late(look: Look, o: HealthOptions) -> str | None:
    if look.age_s > o.late_s:
        return f"more than {o.late_s:g} s old"
    if look.usual_gap_s is not None and look.gap_s > (limit := max(o.late_s, GAPS * look.usual_gap_s)):
        return f"more than {limit:.2g} s after the one before"
    return None


def _dark(look: Look, o: HealthOptions) -> str | None:
    return "dark all over" if look.mean < o.black_mean and look.spread < o.black_spread else None


# the first that says something is the verdict
_CHECKS: tuple[tuple[Check, Callable[[Look, HealthOptions], str | None]], ...] = (
    ("torn", lambda look, o: "the driver says that the picture is damaged" if look.torn else None),
    ("black", _dark),
    ("frozen", lambda look, o: f"the same for {o.frozen_s:g} s" if look.still_s >= o.frozen_s else None),
    ("late", _late),
)


def judge(look: Look, options: HealthOptions) -> Verdict:
    """Pure; any thread."""
    for check, says in _CHECKS:
        words = says(look, options) if check in options.checks else None
        if words is not None:
            return Verdict(check, f"{check}: {words}")
    return GOOD
