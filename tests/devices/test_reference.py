"""The reference and the colour definition, against values known from elsewhere."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import pytest

from edged.devices.color import YuvToRgb
from edged.devices.reference import grey_levels, preprocess, resample, to_rgb
from edged.frames import ColorMatrix, FrameSpec, PixelFormat
from edged.tensors import ImageInput
from tests.devices.rig import OPENCV_HAS_THESE_BITS

# 8-bit limited-range Y, U, V of full red, green and blue: BT.601 and BT.709, rounded
PRIMARIES: list[tuple[ColorMatrix, bool, tuple[int, int, int], tuple[int, int, int]]] = [
    ("bt601", False, (81, 90, 240), (255, 0, 0)),
    ("bt601", False, (145, 54, 34), (0, 255, 0)),
    ("bt601", False, (41, 240, 110), (0, 0, 255)),
    ("bt709", False, (63, 102, 240), (255, 0, 0)),
    ("bt709", False, (173, 42, 26), (0, 255, 0)),
    ("bt709", False, (32, 240, 118), (0, 0, 255)),
    ("bt601", True, (76, 85, 255), (255, 0, 0)),
    ("bt709", True, (54, 99, 255), (255, 0, 0)),
    ("bt601", False, (16, 128, 128), (0, 0, 0)),
    ("bt709", False, (235, 128, 128), (255, 255, 255)),
    ("bt709", True, (255, 128, 128), (255, 255, 255)),
    ("bt601", False, (0, 128, 128), (0, 0, 0)),
]


@pytest.mark.parametrize(("matrix", "full_range", "yuv", "rgb"), PRIMARIES)
def test_known_colours(
    matrix: ColorMatrix, full_range: bool, yuv: tuple[int, int, int], rgb: tuple[int, int, int]
) -> None:
    y, u, v = yuv
    spec = FrameSpec(2, 1, PixelFormat.YUYV, 0, matrix, full_range)
    got = to_rgb(spec, spec.views(np.array([y, u, y, v], np.uint8)))
    assert np.abs(got - rgb).max() <= 2  # the YUV values are rounded themselves


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_grey_stays_grey(matrix: ColorMatrix, full_range: bool) -> None:
    rows = YuvToRgb.of(matrix, full_range).rows
    assert np.allclose(rows[:, 0], rows[0, 0])
    assert rows[0, 1] == rows[2, 2] == 0


@pytest.mark.parametrize(
    ("matrix", "full_range", "kr", "kb"),
    [
        ("bt601", False, 0.299, 0.114),
        ("bt601", True, 0.299, 0.114),
        ("bt709", False, 0.2126, 0.0722),
        ("bt709", True, 0.2126, 0.0722),
    ],
)
def test_the_law_is_the_standards(matrix: ColorMatrix, full_range: bool, kr: float, kb: float) -> None:
    """From its other end, R, G, B to Y, U, V: every corner and the middles between come back."""
    rgb = np.array(list(itertools.product((0.0, 0.25, 0.5, 0.75, 1.0), repeat=3)))
    luma = rgb @ (kr, 1 - kr - kb, kb)
    u, v = (rgb[:, 2] - luma) / (2 - 2 * kb), (rgb[:, 0] - luma) / (2 - 2 * kr)
    law = YuvToRgb.of(matrix, full_range)
    gain_y, gain_c = (255, 255) if full_range else (219, 224)
    back = np.stack([luma * gain_y, u * gain_c, v * gain_c], axis=-1) @ law.rows.T
    assert np.abs(back - rgb * 255).max() < 0.25


def test_bt601_limited_is_opencvs() -> None:
    """All chroma pairs at several lumas."""
    v, u = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    for y in (0, 16, 17, 100, 181, 235, 255):
        luma = np.full_like(u, y)
        data = np.stack([luma, u, luma, v], axis=-1)
        spec = FrameSpec(512, 256, PixelFormat.YUYV)
        theirs = cv2.cvtColor(data.reshape(256, 512, 2), cv2.COLOR_YUV2RGB_YUYV)
        off = np.abs(to_rgb(spec, spec.views(data.ravel())) - theirs).max()
        assert off <= (0 if OPENCV_HAS_THESE_BITS else 1)


@pytest.mark.parametrize("size", [(7, 5), (20, 31), (3, 60), (1, 1)])
def test_resample_is_opencvs_inter_linear(size: tuple[int, int]) -> None:
    source = np.random.default_rng(1).uniform(0, 255, (13, 17, 3))
    theirs: Any = cv2.resize(source, size, interpolation=cv2.INTER_LINEAR)
    assert np.abs(resample(source, *size) - theirs).max() < 1e-3


def test_chroma_is_shared_and_not_interpolated() -> None:
    spec = FrameSpec(4, 2, PixelFormat.NV12, full_range=True)
    data = np.array([100] * 8 + [128, 128, 200, 50], np.uint8)
    rgb = to_rgb(spec, spec.views(data))
    assert (rgb[:, :2] == rgb[0, 0]).all()
    assert (rgb[:, 2:] == rgb[0, 2]).all()
    assert (rgb[0, 0] != rgb[0, 2]).any()


def test_padding_mean_std_and_rounding() -> None:
    spec = FrameSpec(2, 1, PixelFormat.RGB)
    image = ImageInput(
        "x", (2, 2), "BGR", "letterbox-topleft", 114, (10.0, 20.0, 30.0), (2.0, 4.0, 5.0), "NHWC"
    )
    planes = spec.views(np.array([1, 2, 3, 101, 102, 103], np.uint8))
    assert grey_levels(spec, planes, image)[0, 1].tolist() == [103, 102, 101]
    got = preprocess(spec, planes, image, np.dtype(np.float32))
    assert got.shape == (2, 2, 3)
    assert np.allclose(got[0, 1], [(103 - 10) / 2, (102 - 20) / 4, (101 - 30) / 5])
    assert np.allclose(got[1], [(114 - 10) / 2, (114 - 20) / 4, (114 - 30) / 5])
    rounded = preprocess(spec, planes, image, np.dtype(np.uint8))
    assert rounded[0].tolist() == [[0, 0, 0], [46, 20, 14]]
