from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import SourceError
from edged.frames import U8, PixelFormat
from edged.sources.pattern import PatternOptions, PatternSource, object_box
from tests.sources.make import started

# format -> the picture as grey levels, by OpenCV
TO_GREY: dict[PixelFormat, Callable[[tuple[U8, ...]], U8]] = {
    PixelFormat.BGR: lambda p: np.asarray(cv2.cvtColor(p[0], cv2.COLOR_BGR2GRAY), np.uint8),
    PixelFormat.RGB: lambda p: np.asarray(cv2.cvtColor(p[0], cv2.COLOR_RGB2GRAY), np.uint8),
    PixelFormat.GREY: lambda p: p[0],
    PixelFormat.YUYV: lambda p: np.asarray(cv2.cvtColor(p[0], cv2.COLOR_YUV2GRAY_YUYV), np.uint8),
    PixelFormat.UYVY: lambda p: np.asarray(cv2.cvtColor(p[0], cv2.COLOR_YUV2GRAY_UYVY), np.uint8),
    PixelFormat.NV12: lambda p: p[0],
}
# format -> BGR, by OpenCV
TO_BGR: dict[PixelFormat, Callable[[tuple[U8, ...]], U8]] = {
    PixelFormat.BGR: lambda p: p[0],
    PixelFormat.RGB: lambda p: p[0][..., ::-1],
    PixelFormat.YUYV: lambda p: np.asarray(cv2.cvtColor(p[0], cv2.COLOR_YUV2BGR_YUYV), np.uint8),
    PixelFormat.UYVY: lambda p: np.asarray(cv2.cvtColor(p[0], cv2.COLOR_YUV2BGR_UYVY), np.uint8),
    PixelFormat.NV12: lambda p: np.asarray(
        cv2.cvtColorTwoPlane(p[0], p[1], cv2.COLOR_YUV2BGR_NV12), np.uint8
    ),
}


def found_box(grey: U8) -> list[int]:
    """x, y, w, h of what is brighter than every background."""
    x, y, w, h = cv2.boundingRect((grey > 160).astype(np.uint8))
    return [x, y, w, h]


@pytest.mark.parametrize("form", list(PixelFormat))
def test_the_object_is_where_the_truth_says_also_in_reused_slots(form: PixelFormat) -> None:
    size = (160, 120)
    source = PatternSource("p", PatternOptions(size=size, format=form, frames=60, seed=3))
    started(source, 2)
    kept = source.read(0.0)  # so that the other slot is used again and again
    assert kept is not None
    for n in range(1, 60):
        frame = source.read(0.0)
        assert frame is not None
        assert frame.tags["box"] == list(object_box(n, size, 3))
        assert found_box(TO_GREY[form](frame.planes)) == frame.tags["box"]
        frame.release()
    kept.release()
    source.close()


@pytest.mark.parametrize("form", list(TO_BGR))
def test_the_object_is_yellow_in_every_format_with_colour(form: PixelFormat) -> None:
    source = PatternSource("p", PatternOptions(size=(64, 48), format=form))
    started(source)
    frame = source.read(0.0)
    assert frame is not None
    x, y, w, h = frame.tags["box"]
    inside = TO_BGR[form](frame.planes)[y : y + h, x : x + w].reshape(-1, 3).mean(0)
    assert np.abs(inside - (0, 255, 255)).max() < 4
    frame.release()
    source.close()


def test_the_same_seed_gives_the_same_pictures_and_another_one_others() -> None:
    def first(seed: int) -> U8:
        source = PatternSource("p", PatternOptions(size=(64, 48), seed=seed))
        started(source)
        frame = source.read(0.0)
        assert frame is not None
        out: U8 = frame.planes[0].copy()
        frame.release()
        source.close()
        return out

    assert (first(1) == first(1)).all()
    assert (first(1) != first(2)).any()


@given(
    n=st.integers(0, 10**9),
    w=st.integers(2, 5000),
    h=st.integers(2, 5000),
    seed=st.integers(0, 10**6),
)
def test_the_box_is_inside_and_even(n: int, w: int, h: int, seed: int) -> None:
    x, y, bw, bh = object_box(n, (w, h), seed)
    assert x >= 0
    assert y >= 0
    assert x + bw <= w
    assert y + bh <= h
    assert all(v % 2 == 0 for v in (x, y, bw, bh))


def test_the_object_moves() -> None:
    assert len({object_box(n, (640, 480)) for n in range(100)}) > 90


@pytest.mark.parametrize(
    ("size", "form"), [((33, 16), PixelFormat.YUYV), ((32, 15), PixelFormat.NV12), ((1, 9), PixelFormat.BGR)]
)
def test_a_size_that_does_not_fit_is_told(size: tuple[int, int], form: PixelFormat) -> None:
    options = PatternOptions(size=size, format=form)
    assert [key for key, _ in options.problems()] == ["size"]
    with pytest.raises(SourceError, match="source 'p' size") as e:
        PatternSource("p", options).open()
    assert e.value.hint
