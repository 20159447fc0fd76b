"""The part of a frame that a view shows, as a picture, on the CPU: only the bytes that it needs are converted.

A region is converted with the pixels that share its chroma, and cut out. A dewarped view is converted within the
smallest region that holds all it sees, and remapped from there to its placed size: colours first, as in reference.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edged.config.schema import DewarpOptions
from edged.devices.color import PACKED_422
from edged.devices.cpu_convert import Conversion, Planes, Step, Views, conversion, opencv
from edged.frames import F32, U8, FrameSpec, PixelFormat, Roi
from edged.tensors import Color, ImageInput
from edged.views import STEPS, View, placed, positions, seen

Array = npt.NDArray[Any]

_BITS = STEPS.bit_length() - 1
_NOWHERE = -2  # a position whose four taps are all outside


@dataclass(frozen=True, slots=True)
class Shown:
    """`conversion` makes a picture of `size` (w, h) from `nbytes` bytes of each frame."""

    conversion: Conversion
    size: tuple[int, int]
    nbytes: int


def shown(src: FrameSpec, image: ImageInput, view: View) -> Shown:
    """The way to what `view` shows of frames of `src`, in the model's colours. `view` was checked."""
    if view.lens is not None:
        return _dewarped(src, image, view.lens)
    if view.roi is not None:
        return _cropped(src, view.roi, image.color)
    return Shown(conversion(src, image.color), (src.width, src.height), src.nbytes)


def _cropped(src: FrameSpec, roi: Roi, color: Color) -> Shown:
    x, y, w, h = roi
    across = 2 if src.format is PixelFormat.NV12 or src.format in PACKED_422 else 1  # that share chroma
    down = 2 if src.format is PixelFormat.NV12 else 1
    left, top = x - x % across, y - y % down
    right, bottom = x + w + (x + w) % across, y + h + (y + h) % down
    part = FrameSpec(right - left, bottom - top, src.format, 0, src.matrix, src.full_range)
    inner = conversion(part, color)
    # a plane of chroma has a pixel for several of the picture
    cuts = [
        (slice(top // dy, bottom // dy), slice(left // dx, right // dx))
        for dy, dx in ((1, 1), (down, across))
    ]
    rows, columns = slice(y - top, y - top + h), slice(x - left, x - left + w)

    def build(views: Views) -> Step:
        convert = inner.build(views)

        def step(planes: Planes) -> U8:
            return convert([p[cut] for p, cut in zip(planes, cuts, strict=False)])[rows, columns]

        return step

    return Shown(replace(inner, build=build), (w, h), part.nbytes)


def _dewarped(src: FrameSpec, image: ImageInput, lens: DewarpOptions) -> Shown:
    cv2 = opencv()
    width, height = placed(lens, image)
    box = _box(positions(lens, src, image), src)
    inner = _cropped(src, box, image.color)
    channels = inner.conversion.channels
    room = {
        "view": (height, width) if channels == 1 else (height, width, channels),
        "view.whole": (height, width, 4),  # int16 x, y
        "view.rest": (height, width, 2),  # uint16: 32nds, y * 32 + x
    }

    def build(views: Views) -> Step:
        convert, out = inner.conversion.build(views), views("view")
        whole, rest = views("view.whole").view(np.int16), views("view.rest").view(np.uint16)[..., 0]
        _write_maps(positions(lens, src, image), src, box, whole, rest)
        how = {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_CONSTANT}
        pad = (image.pad,) * 4

        def step(planes: Planes) -> U8:
            return cast(U8, cv2.remap(convert(planes), whole, rest, dst=out, borderValue=pad, **how))

        return step

    made = replace(inner.conversion, scratch={**inner.conversion.scratch, **room}, build=build)
    return Shown(made, (width, height), inner.nbytes)


def _box(table: F32, src: FrameSpec) -> Roi:
    """The smallest region that holds the pixels around all positions that are seen."""
    at = np.clip(table[seen(table, src)], 0, (src.width - 1, src.height - 1))
    if not len(at):  # between the rays that View.check tries there was something
        return 0, 0, 1, 1
    (x, y), (right, bottom) = at.min(axis=0).tolist(), at.max(axis=0).tolist()
    return int(x), int(y), ceil(right) - int(x) + 1, ceil(bottom) - int(y) + 1


def _write_maps(table: F32, src: FrameSpec, box: Roi, whole: Array, rest: Array) -> None:
    """The table as cv2.remap reads it fastest (CV_16SC2 and CV_16UC1), relative to the box."""
    inner = np.clip(table, 0, (src.width - 1, src.height - 1)) - box[:2]
    at = np.where(seen(table, src)[..., None], inner, _NOWHERE)
    fixed = np.rint(at * STEPS).astype(np.int64)
    whole[...] = fixed >> _BITS
    rest[...] = (fixed[..., 1] % STEPS) * STEPS + fixed[..., 0] % STEPS
