"""A synthetic picture with one object whose place is known for every frame: the truth for tests and demos.

A yellow rectangle bounces over a grey background of fixed blocks, which is darker everywhere. Nothing
depends on time: frame n of the same size and seed is the same picture in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from edged.config.schema import Positive, Rate, Size, Table
from edged.frames import U8, FrameSpec, PixelFormat, TimestampSource
from edged.interfaces import EndOfStream
from edged.sources.base import SlotSource

Box = tuple[int, int, int, int]

_BLOCK = 16  # pixels a side of a background block
_DARK, _LIGHT = 40, 120  # grey levels of the background, below the object's in every format
# Object and neutral background, a channel (or, for YUV formats, Y U V in BT.601 limited range).
_YELLOW_BGR = (0, 255, 255)
_YELLOW_GREY = 226
_YELLOW_Y, _YELLOW_U, _YELLOW_V = 210, 16, 146
_NEUTRAL = 128


def object_box(n: int, size: tuple[int, int], seed: int = 0) -> Box:
    """x, y, w, h of the object in frame `n` of a picture of `size` (w, h), in whole, even pixels.

    Even, so that the edges are exact in formats that share chroma between two pixels.
    """
    w, h = (max(2, s // 4 & ~1) for s in size)
    x = _bounce(n * 4 + seed * 62, max(0, size[0] - w))
    y = _bounce(n * 2 + seed * 34, max(0, size[1] - h))
    return x, y, w, h


def _bounce(way: int, room: int) -> int:
    """Where a point is that went `way` pixels back and forth in 0..room; even."""
    room &= ~1
    if room == 0:
        return 0
    way %= 2 * room
    return min(way, 2 * room - way) & ~1


class PatternOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a source of kind "pattern".

    size: [width, height] of the pictures.
    rate: pictures a second; then the source is live. Absent: the reader sets the pace and sees every one.
    format: pixel format, "BGR", "RGB", "GREY", "YUYV", "UYVY" or "NV12".
    frames: end after so many pictures; absent: never.
    seed: another background and another start of the object.
    """

    size: Size = (640, 480)
    rate: Rate | None = None
    format: PixelFormat = PixelFormat.BGR
    frames: Positive | None = None
    seed: Annotated[int, Meta(ge=0)] = 0

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions: (key, "what is wrong; remedy")."""
        try:
            FrameSpec(*self.size, self.format)
        except ValueError as e:
            yield "size", f"does not fit format = '{self.format.value}': {e}; make it even"
        if min(self.size) < 2:
            yield "size", f"{list(self.size)} has no room for an object; give at least [2, 2]"


class PatternSource(SlotSource):
    """Draws into the slot: only what the object covers now and what it covered in that slot before."""

    Options: ClassVar[type[PatternOptions]] = PatternOptions
    stills = True  # a picture that repeats itself is no fault

    def __init__(self, name: str, options: PatternOptions) -> None:
        super().__init__(name, options)
        self.options = options
        self._count = 0
        self._background: tuple[U8, ...] = ()
        self._object: tuple[U8, ...] = ()
        self._drawn: dict[int, Box] = {}  # slot -> where the object is in it; absent: nothing of ours is

    @property
    def live(self) -> bool:
        return self.options.rate is not None

    @property
    def timestamps(self) -> TimestampSource:
        return "synthetic"

    def _open(self) -> FrameSpec:
        return FrameSpec(*self.options.size, self.options.format)

    def _start(self) -> None:
        self._count, self._drawn = 0, {}
        size, form = self.options.size, self.options.format
        self._background = background(size, form, self.options.seed)
        self._object = object_planes(object_box(0, size)[2:], form)

    def _close(self) -> None:
        self._background, self._object, self._drawn = (), (), {}

    def _advance(self, timeout_s: float) -> float | None:
        if self.options.frames is not None and self._count >= self.options.frames:
            raise EndOfStream
        at, self._count = self._count, self._count + 1
        return at / self.options.rate if self.options.rate else 0.0

    def _fill(self, slot: int, planes: tuple[U8, ...]) -> dict[str, Any]:
        size = self.options.size
        box = object_box(self._count - 1, size, self.options.seed)
        before = self._drawn.get(slot, (0, 0, *size))
        for plane, ground, thing in zip(planes, self._background, self._object, strict=True):
            part = _part(plane, before, size)
            plane[part] = ground[part]
            plane[_part(plane, box, size)] = thing
        self._drawn[slot] = box
        return {"box": list(box)}


def _part(plane: U8, box: Box, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a box in a plane, which may have half the picture's rows and columns (NV12)."""
    x, y, w, h = box
    dx, dy = size[0] // plane.shape[1], size[1] // plane.shape[0]
    return slice(y // dy, (y + h) // dy), slice(x // dx, (x + w) // dx)


def background(size: tuple[int, int], form: PixelFormat, seed: int) -> tuple[U8, ...]:
    """The planes of a picture without the object."""
    w, h = size
    blocks = np.random.default_rng(seed).integers(
        _DARK, _LIGHT, (h // _BLOCK + 1, w // _BLOCK + 1), dtype=np.uint8
    )
    grey = blocks.repeat(_BLOCK, 0).repeat(_BLOCK, 1)[:h, :w]
    planes = tuple(np.full(p.shape, _NEUTRAL, np.uint8) for p in FrameSpec(w, h, form).planes)
    luma = {PixelFormat.YUYV: np.s_[:, :, 0], PixelFormat.UYVY: np.s_[:, :, 1]}.get(form, np.s_[...])
    planes[0][luma] = grey if planes[0][luma].ndim == 2 else grey[:, :, None]
    return planes


def object_planes(size: tuple[int, int], form: PixelFormat) -> tuple[U8, ...]:
    """The planes of the object alone; `size` (w, h) is even."""
    planes = tuple(np.empty(p.shape, np.uint8) for p in FrameSpec(*size, form).planes)
    first = planes[0]
    if form is PixelFormat.NV12:
        first[...], planes[1][...] = _YELLOW_Y, (_YELLOW_U, _YELLOW_V)
    elif form in (PixelFormat.YUYV, PixelFormat.UYVY):
        luma = 0 if form is PixelFormat.YUYV else 1
        first[:, :, luma] = _YELLOW_Y
        first[:, 0::2, 1 - luma] = _YELLOW_U
        first[:, 1::2, 1 - luma] = _YELLOW_V
    elif form is PixelFormat.GREY:
        first[...] = _YELLOW_GREY
    else:
        first[...] = _YELLOW_BGR if form is PixelFormat.BGR else _YELLOW_BGR[::-1]
    return planes
