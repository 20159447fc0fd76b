"""The first step of CPU preprocessing: a camera's bytes to the colours of the model, 8 bits a channel.

OpenCV converts BT.601 limited range in one pass. It knows no other matrix or range: those are expanded to 4:4:4
and multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from edged.devices.color import PACKED_422, YuvToRgb
from edged.errors import MissingPackage
from edged.frames import U8, FrameSpec, PixelFormat
from edged.tensors import Color

Planes = Sequence[U8]
Step = Callable[[Planes], U8]
Views = Callable[[str], U8]


def opencv() -> Any:
    """The module cv2, imported on use."""
    try:
        import cv2
    except ImportError as e:
        raise MissingPackage(
            "opencv-python-headless", needed_by="preprocessing on the CPU", extra="ort"
        ) from e
    return cv2


@dataclass(frozen=True, slots=True)
class Conversion:
    """A way to make the picture. `scratch` names uint8 arrays with their shapes; `build` is given a function
    from such a name to its array, once, and returns the step that runs on every frame.

    The picture is [h, w] or [h, w, 3] (`channels`); it may be a view of the frame itself. `swapped`: its
    channels are in the opposite order of the model's; turning them costs less after the resize.
    """

    channels: int
    scratch: dict[str, tuple[int, ...]]
    build: Callable[[Views], Step]
    swapped: bool = False


def conversion(src: FrameSpec, color: Color) -> Conversion:
    """How frames of `src` become a picture of `color`. A grey camera gives one channel for any colour."""
    yuv = src.format not in (PixelFormat.BGR, PixelFormat.RGB, PixelFormat.GREY)
    if src.format is PixelFormat.GREY:
        return Conversion(1, {}, _as_it_is)
    if color == "GREY":
        return _luma(src) if yuv else _by_code(src, f"COLOR_{src.format.value}2GRAY", 1)
    if not yuv:
        return Conversion(3, {}, _as_it_is, swapped=src.format.value != color)
    if src.matrix == "bt601" and not src.full_range:
        return _by_code(src, f"COLOR_YUV2{color}_{src.format.value}", 3)
    return _by_matrix(src, color)


def _as_it_is(views: Views) -> Step:
    return lambda planes: planes[0]


def _by_code(src: FrameSpec, name: str, channels: int) -> Conversion:
    cv2 = opencv()
    code = getattr(cv2, name)

    def build(views: Views) -> Step:
        out = views("picture")
        if src.format is PixelFormat.NV12:
            return lambda planes: cast(U8, cv2.cvtColorTwoPlane(planes[0], planes[1], code, dst=out))
        return lambda planes: cast(U8, cv2.cvtColor(planes[0], code, dst=out))

    size = (src.height, src.width)
    return Conversion(channels, {"picture": size if channels == 1 else (*size, channels)}, build)


def _luma(src: FrameSpec) -> Conversion:
    cv2 = opencv()
    law = YuvToRgb.of(src.matrix, src.full_range)
    levels = np.maximum(np.arange(256) - law.black, 0) * law.luma_gain
    stretch = np.clip(np.floor(levels + 0.5), 0, 255).astype(np.uint8)
    packed, limited = src.format in PACKED_422, law.black > 0
    if not packed and not limited:
        return Conversion(1, {}, _as_it_is)

    def build(views: Views) -> Step:
        out = views("picture")

        def step(planes: Planes) -> U8:
            luma = cv2.extractChannel(planes[0], PACKED_422[src.format][0], dst=out) if packed else planes[0]
            if limited:
                cv2.LUT(luma, stretch, dst=out)
            return out

        return step

    return Conversion(1, {"picture": (src.height, src.width)}, build)


def _by_matrix(src: FrameSpec, color: Color) -> Conversion:
    cv2 = opencv()
    law = YuvToRgb.of(src.matrix, src.full_range)
    rows = law.rows if color == "RGB" else law.rows[::-1]
    # cv2.transform's last column is added: it takes the zero points of Y, U and V off
    zero = rows @ np.array([law.black, 128.0, 128.0])
    transform = np.column_stack([rows, -zero]).astype(np.float32)
    black = (float(law.black), 0.0, 0.0, 0.0)
    full = (src.height, src.width, 3)

    def build(views: Views) -> Step:
        out, yuv = views("picture"), views("yuv")
        pairs = yuv.reshape(src.height, src.width // 2, 6)  # Y U V Y U V

        def expand_nv12(planes: Planes) -> None:
            luma = planes[0].reshape(src.height, src.width // 2, 2)
            for row in (0, 1):  # both rows of a pair share its chroma
                cv2.mixChannels(
                    [luma[row::2], planes[1]], [pairs[row::2]], [0, 0, 1, 3, 2, 1, 3, 2, 2, 4, 3, 5]
                )

        def expand_packed(planes: Planes) -> None:
            cv2.mixChannels([planes[0].reshape(src.height, src.width // 2, 4)], [pairs], from_to)

        if src.format is PixelFormat.NV12:
            expand = expand_nv12
        else:
            expand = expand_packed
            y, u, v = PACKED_422[src.format]
            from_to = [y, 0, u, 1, v, 2, y + 2, 3, u, 4, v, 5]

        def step(planes: Planes) -> U8:
            expand(planes)
            if law.black:
                cv2.max(yuv, black, dst=yuv)
            cv2.transform(yuv, transform, dst=out)
            return out

        return step

    return Conversion(3, {"picture": full, "yuv": full}, build)
