"""Preprocessing in slow, obvious numpy: the meaning that every device agrees with, within one grey level.

1. Every source pixel becomes R, G, B (or, for a grey model, one grey level), rounded to whole grey levels, halves
   up: what a library for 8-bit pictures resizes. Chroma of 4:2:2 and 4:2:0 belongs to all pixels that share it:
   nearest, not interpolated. See color.py.
2. The picture is resampled to its placed size (frames.Geometry): bilinear, pixel centres at +0.5,
   coordinates clamped to the edge. Shrinking uses the same two taps an axis, without averaging, because
   the reference code of YOLOX, YOLOv5 and most detectors resizes with OpenCV's INTER_LINEAR, and a model
   gives its published accuracy on what it was measured with.
3. The rest of the model's input is `pad`. Then value = (grey level - mean) / std, in the channel order
   `color`, rounded (and clipped to 0..255 or -128..127) only if the tensor is uint8 or int8.

"Within one grey level" compares a device's values, mapped back to grey levels, with these rounded to whole
grey levels: a device resamples to 8 bits, with weights of few bits. All of edged's do it as OpenCV's INTER_LINEAR
does on x86 (kernels/preprocess.cu says how), so that a model scores the same on each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edged.devices.color import F64, GREY_WEIGHTS, PACKED_422, YuvToRgb
from edged.frames import F32, U8, FrameSpec, Geometry, PixelFormat
from edged.tensors import ImageInput


def split_yuv(spec: FrameSpec, planes: tuple[U8, ...]) -> tuple[F64, F64, F64]:
    """Y, U, V of every pixel, each float64 [h, w]."""
    if spec.format is PixelFormat.NV12:
        luma, chroma = planes
        full = np.repeat(np.repeat(chroma, 2, axis=0), 2, axis=1).astype(float)
        return luma.astype(float), full[..., 0], full[..., 1]
    pairs = planes[0].reshape(spec.height, spec.width // 2, 4).astype(float)
    at_y, at_u, at_v = PACKED_422[spec.format]
    y = pairs[..., at_y::2].reshape(spec.height, spec.width)
    return y, np.repeat(pairs[..., at_u], 2, axis=1), np.repeat(pairs[..., at_v], 2, axis=1)


def to_rgb(spec: FrameSpec, planes: tuple[U8, ...]) -> F64:
    """R, G, B of every pixel in whole grey levels, float64 [h, w, 3]."""
    if spec.format is PixelFormat.RGB:
        return planes[0].astype(float)
    if spec.format is PixelFormat.BGR:
        return planes[0][..., ::-1].astype(float)
    if spec.format is PixelFormat.GREY:
        return np.repeat(planes[0][..., None].astype(float), 3, axis=2)
    law = YuvToRgb.of(spec.matrix, spec.full_range)
    y, u, v = split_yuv(spec, planes)
    yuv = np.stack([np.maximum(y - law.black, 0), u - 128, v - 128], axis=-1)
    return np.asarray(np.clip(np.floor(yuv @ law.rows.T + 0.5), 0, 255))


def to_grey(spec: FrameSpec, planes: tuple[U8, ...]) -> F64:
    """The whole grey level of every pixel, float64 [h, w, 1]; of a YUV picture it is the luma."""
    if spec.format in (PixelFormat.RGB, PixelFormat.BGR, PixelFormat.GREY):
        return np.asarray(np.floor(to_rgb(spec, planes) @ np.array(GREY_WEIGHTS) + 0.5))[..., None]
    law = YuvToRgb.of(spec.matrix, spec.full_range)
    luma = split_yuv(spec, planes)[0]
    return np.clip(np.floor(np.maximum(luma - law.black, 0) * law.luma_gain + 0.5), 0, 255)[..., None]


def resample(picture: F64, width: int, height: int) -> F64:
    """[h, w, c] to [height, width, c], bilinear with half-pixel centres and clamped edges."""

    def taps(source: int, target: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], F64]:
        at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        low = np.floor(at).astype(np.intp)
        return low, np.minimum(low + 1, source - 1), at - low

    top, bottom, fy = taps(picture.shape[0], height)
    left, right, fx = taps(picture.shape[1], width)
    rows = picture[top] * (1 - fy)[:, None, None] + picture[bottom] * fy[:, None, None]
    return np.asarray(rows[:, left] * (1 - fx)[:, None] + rows[:, right] * fx[:, None])


def picture_of(spec: FrameSpec, planes: tuple[U8, ...], image: ImageInput) -> F64:
    """The source in the model's colours: float64 [h, w, channels] in 0..255."""
    picture = to_grey(spec, planes) if image.color == "GREY" else to_rgb(spec, planes)
    return picture[..., ::-1] if image.color == "BGR" else picture


def grey_levels(
    spec: FrameSpec, planes: tuple[U8, ...], image: ImageInput, roi: tuple[int, int, int, int] | None = None
) -> F64:
    """The model's input before mean and std: float64 [h, w, channels] in 0..255.

    `roi` = x, y, w, h: a region of the source, as if the picture ended there.
    """
    picture = picture_of(spec, planes, image)
    if roi is not None:
        left, top, width, height = roi
        picture = picture[top : top + height, left : left + width]
    x, y, w, h = Geometry.fit((picture.shape[1], picture.shape[0]), image.size, image.resize).placed
    out = np.full((image.size[1], image.size[0], image.channels), float(image.pad))
    out[y : y + h, x : x + w] = resample(picture, w, h)
    return out


def dewarped_levels(
    spec: FrameSpec, planes: tuple[U8, ...], image: ImageInput, view: tuple[int, int], table: F32
) -> F64:
    """`grey_levels` of a view (w, h) through a table of source positions (dewarp.py), float32 [h, w, 2].

    Positions outside [-0.5, size - 0.5) and NaN show nothing: `pad`.
    """
    picture = picture_of(spec, planes, image)
    h, w = picture.shape[:2]
    at_x, at_y = table[..., 0].astype(float), table[..., 1].astype(float)
    seen = (at_x >= -0.5) & (at_y >= -0.5) & (at_x < w - 0.5) & (at_y < h - 0.5)
    at_x, at_y = (np.clip(np.where(seen, at, 0), 0, n - 1) for at, n in ((at_x, w), (at_y, h)))
    left, top = np.floor(at_x).astype(np.intp), np.floor(at_y).astype(np.intp)
    right, bottom = np.minimum(left + 1, w - 1), np.minimum(top + 1, h - 1)
    fx, fy = (at_x - left)[..., None], (at_y - top)[..., None]
    upper = picture[top, left] * (1 - fx) + picture[top, right] * fx
    lower = picture[bottom, left] * (1 - fx) + picture[bottom, right] * fx
    x, y, width, height = Geometry.fit(view, image.size, image.resize).placed
    out = np.full((image.size[1], image.size[0], image.channels), float(image.pad))
    mixed = upper * (1 - fy) + lower * fy
    out[y : y + height, x : x + width] = np.where(seen[..., None], mixed, float(image.pad))
    return out


def preprocess(
    spec: FrameSpec, planes: tuple[U8, ...], image: ImageInput, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """One row of the model's input: [c, h, w] or [h, w, c] as `image.layout` says."""
    mean, std = (np.array(v[: image.channels]) for v in (image.mean, image.std))
    values = (grey_levels(spec, planes, image) - mean) / std
    if dtype.kind in "iu":
        values = np.clip(np.rint(values), np.iinfo(dtype).min, np.iinfo(dtype).max)
    if image.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values, dtype)
