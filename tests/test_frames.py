"""frames.py: the geometry there and back, and the views of a frame's buffer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.frames import Fit, Frame, FrameSpec, Geometry, PixelFormat
from edged.memory import Slots

FITS: tuple[Fit, ...] = ("letterbox", "letterbox-topleft", "stretch")
SUBSAMPLED = (PixelFormat.YUYV, PixelFormat.UYVY, PixelFormat.NV12)
sizes = st.tuples(st.integers(1, 8192), st.integers(1, 8192))


@st.composite
def specs(draw: st.DrawFn) -> FrameSpec:
    fmt = draw(st.sampled_from(list(PixelFormat)))
    w, h = draw(st.integers(1, 32)), draw(st.integers(1, 16))
    w, h = w * (2 if fmt in SUBSAMPLED else 1), h * (2 if fmt is PixelFormat.NV12 else 1)
    pad = draw(st.sampled_from([None, 0, 1, 3, 64]))
    return FrameSpec(w, h, fmt, 0 if pad is None else FrameSpec(w, h, fmt).row_bytes + pad)


@given(source=sizes, model=sizes, fit=st.sampled_from(FITS))
def test_the_picture_lies_inside_the_model(source: tuple[int, int], model: tuple[int, int], fit: Fit) -> None:
    g = Geometry.fit(source, model, fit)
    x, y, w, h = g.placed
    assert x >= 0
    assert y >= 0
    assert w >= 1
    assert h >= 1
    assert x + w <= model[0]
    assert y + h <= model[1]
    assert (x, y) == (g.offset_x, g.offset_y)
    # letterbox touches two opposite sides; stretch all four
    assert w == model[0] or (h == model[1] and fit != "stretch")
    if fit == "stretch":
        assert (w, h) == model
    if fit == "letterbox":
        assert x == (model[0] - w) // 2
        assert y == (model[1] - h) // 2


@given(source=sizes, model=sizes, fit=st.sampled_from(["letterbox", "letterbox-topleft"]))
def test_letterbox_keeps_the_aspect_ratio_within_a_pixel(
    source: tuple[int, int], model: tuple[int, int], fit: Fit
) -> None:
    w, h = Geometry.fit(source, model, fit).placed[2:]
    exact = min(model[0] / source[0], model[1] / source[1])
    assert abs(w - source[0] * exact) <= 1
    assert abs(h - source[1] * exact) <= 1


@given(
    source=sizes,
    model=sizes,
    fit=st.sampled_from(FITS),
    at=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5),
)
def test_points_there_and_back(
    source: tuple[int, int], model: tuple[int, int], fit: Fit, at: list[tuple[float, float]]
) -> None:
    g = Geometry.fit(source, model, fit)
    points = np.array(at, np.float32) * np.array(source, np.float32)
    there = g.points_to_model(points)
    x, y, w, h = g.placed
    assert (there >= np.array([x, y]) - 1e-2).all()
    assert (there <= np.array([x + w, y + h]) + 1e-2).all()
    back = g.points_to_source(there)
    assert back.dtype == np.float32
    # float32 keeps 24 bits of a model coordinate; a shrunk picture magnifies what is lost
    step = np.finfo(np.float32).eps * 8 * max(*model, *source) * max(1 / g.scale_x, 1 / g.scale_y, 1)
    assert np.abs(back - points).max() <= step


def test_corners_map_to_corners() -> None:
    g = Geometry.fit((1920, 1080), (640, 640), "letterbox")
    assert g.placed == (0, 140, 640, 360)
    assert g.points_to_source(np.array([[0, 140], [640, 500]], np.float32)).tolist() == [[0, 0], [1920, 1080]]


@given(spec=specs())
def test_views_read_the_buffers_bytes(spec: FrameSpec) -> None:
    """Each plane row is `row_bytes` bytes at its offset and pitch; padding is never seen."""
    buffer = np.random.default_rng(spec.nbytes).integers(0, 256, spec.nbytes, np.uint8)
    views = spec.views(buffer)
    assert len(views) == len(spec.planes) == (2 if spec.format is PixelFormat.NV12 else 1)
    seen = np.zeros(spec.nbytes, np.int64)
    for view, plane in zip(views, spec.planes, strict=True):
        assert view.shape == plane.shape
        assert np.shares_memory(view, buffer)
        for r in range(plane.rows):
            start = plane.offset + r * plane.pitch
            assert view[r].tobytes() == buffer[start : start + plane.row_bytes].tobytes()
            seen[start : start + plane.row_bytes] += 1
    assert np.max(seen) == 1  # planes do not overlap
    assert seen.sum() == sum(p.rows * p.row_bytes for p in spec.planes)


@given(spec=specs())
def test_views_write_through(spec: FrameSpec) -> None:
    buffer = np.zeros(spec.nbytes + 5, np.uint8)  # a slot may be larger than the frame
    for view in spec.views(buffer):
        view[:] = 255
    assert buffer.sum() == 255 * sum(p.rows * p.row_bytes for p in spec.planes)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((0, 1, PixelFormat.BGR), "not positive"),
        ((3, 2, PixelFormat.YUYV), "even width"),
        ((3, 2, PixelFormat.UYVY), "even width"),
        ((3, 2, PixelFormat.NV12), "even width"),
        ((2, 3, PixelFormat.NV12), "even height"),
        ((2, 2, PixelFormat.BGR, 5), "below the row's 6 bytes"),
    ],
)
def test_impossible_specs_are_refused(args: tuple[int, int, PixelFormat], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FrameSpec(*args)


def test_a_frame_is_a_lease() -> None:
    spec = FrameSpec(2, 2, PixelFormat.GREY)
    slots = Slots("test", [np.zeros(4, np.uint8)])
    lease = slots.acquire()
    assert lease is not None
    frame = Frame(spec, spec.views(slots.buffers[0]), lease, 0, 0, 0)
    assert frame.retain() is frame
    frame.release()
    assert slots.in_use == 1
    frame.release()
    assert slots.in_use == 0


@given(
    part=sizes,
    model=sizes,
    fit=st.sampled_from(FITS),
    at=st.tuples(st.integers(0, 5000), st.integers(0, 5000)),
)
def test_a_region_is_placed_as_a_picture_of_its_size_and_maps_to_its_place(
    part: tuple[int, int], model: tuple[int, int], fit: Fit, at: tuple[int, int]
) -> None:
    alone, whole = Geometry.fit(part, model, fit), (at[0] + part[0] + 3, at[1] + part[1])
    g = Geometry.fit(whole, model, fit, (*at, *part))
    assert g.placed == alone.placed
    assert (g.shown, alone.shown) == ((*at, *part), (0, 0, *part))
    x, y, w, h = g.placed
    ends = g.points_to_source(np.array([[x, y], [x + w, y + h]], np.float32))
    step = np.finfo(np.float32).eps * 8 * max(*model, *whole) * max(1 / g.scale_x, 1 / g.scale_y, 1)
    assert np.abs(ends - np.array([at, (at[0] + part[0], at[1] + part[1])])).max() <= step
