"""What a GPU's preprocessing is held against, on the emulation and on a real GPU alike."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from edged.devices import reference
from edged.frames import U8, ColorMatrix, Fit, FrameSpec, PixelFormat
from edged.tensors import Color, ImageInput, Layout
from tests.devices.rig import picture

FITS: tuple[Fit, ...] = ("letterbox", "letterbox-topleft", "stretch")
COLORS: tuple[Color, ...] = ("RGB", "BGR", "GREY")
LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
DTYPES: tuple[Any, ...] = (np.float32, np.float16, np.uint8, np.int8)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
# a mean and std whose values fit the dtype
NORMS: dict[Any, tuple[tuple[float, ...], tuple[float, ...]]] = {
    np.float32: (MEAN, STD),
    np.float16: (MEAN, STD),
    np.uint8: ((-10.0,) * 3, (2.0, 1.5, 3.0)),
    np.int8: ((128.0, 100.0, 120.0), (1.0, 2.0, 1.5)),
}
VARIANTS = list(itertools.product(LAYOUTS, COLORS, DTYPES))


def levels(row: npt.NDArray[Any], image: ImageInput) -> npt.NDArray[np.float64]:
    """[h, w, c] grey levels of a row of the tensor."""
    std, mean = (np.array(v[: image.channels]) for v in (image.std, image.mean))
    if image.layout == "NCHW":
        row = row.transpose(1, 2, 0)
    return np.asarray(row.astype(np.float64) * std + mean)


def assert_row_agrees(
    row: npt.NDArray[Any], src: FrameSpec, data: U8, image: ImageInput, roi: Any = None
) -> None:
    """Within one grey level, and half a step of what the dtype can hold."""
    want = np.rint(reference.grey_levels(src, src.views(data), image, roi))
    if row.dtype.kind in "iu":
        info = np.iinfo(row.dtype)
        std, mean = (np.array(v[: image.channels]) for v in (image.std, image.mean))
        want = np.clip((want - mean) / std, info.min, info.max) * std + mean
        slack = max(image.std) / 2
    else:
        slack = 255 / 2048 if row.dtype == np.float16 else 1e-4
    worst = np.abs(levels(row, image) - want).max()
    assert worst <= 1 + slack, f"{worst} grey levels off the reference"


@st.composite
def cases(draw: st.DrawFn) -> tuple[FrameSpec, ImageInput, Any, int]:
    """A source of any format and size, a float32 input of any layout, a region of interest or None, a seed."""
    fmt = draw(st.sampled_from(list(PixelFormat)))
    w, h = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    if fmt in (PixelFormat.YUYV, PixelFormat.UYVY, PixelFormat.NV12):
        w *= 2
    if fmt is PixelFormat.NV12:
        h *= 2
    row_bytes = FrameSpec(w, h, fmt).row_bytes
    pitch = draw(st.sampled_from([0, row_bytes, row_bytes + 1, row_bytes + 64]))
    matrix: ColorMatrix = draw(st.sampled_from(["bt601", "bt709"]))
    src = FrameSpec(w, h, fmt, pitch, matrix, draw(st.booleans()))
    size = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    if draw(st.integers(0, 3)) == 0:
        size = w, h  # nothing to resize
    image = ImageInput(
        "images",
        size,
        draw(st.sampled_from(COLORS)),
        draw(st.sampled_from(FITS)),
        draw(st.integers(0, 255)),
        layout=draw(st.sampled_from(LAYOUTS)),
    )
    roi = None
    if draw(st.booleans()):
        x, y = draw(st.integers(0, w - 1)), draw(st.integers(0, h - 1))
        roi = x, y, draw(st.integers(1, w - x)), draw(st.integers(1, h - y))
    return src, image, roi, draw(st.integers(0, 2**32 - 1))


def frame_bytes(src: FrameSpec, seed: int) -> U8:
    """Noise, or for even seeds a gradient."""
    if seed % 2 == 0:
        return picture(src, seed)
    return np.random.default_rng(seed).integers(0, 256, src.nbytes, np.uint8)
