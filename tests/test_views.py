"""What a view shows: the tables against OpenCV's and against geometry, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edged.config.schema import DewarpOptions
from edged.errors import ConfigError
from edged.frames import FrameSpec, PixelFormat
from edged.tensors import ImageInput
from edged.views import STEPS, View, positions, seen

FISHEYE = DewarpOptions(
    lens="fisheye",
    size=(64, 48),
    fov=100,
    focal=(30.0, 31.0),
    center=(47.0, 30.0),
    k=(0.05, -0.02, 0.01, -0.002),
)
SRC = FrameSpec(96, 64, PixelFormat.GREY)


def around(size: tuple[int, int] = (33, 33), **keys: Any) -> DewarpOptions:
    """A view into a 360-degree picture."""
    return DewarpOptions(lens="equirectangular", size=size, **keys)


def test_the_fisheye_table_is_opencvs() -> None:
    cv2 = pytest.importorskip("cv2")
    image = ImageInput("images", (64, 48), "GREY", "stretch")
    table = positions(FISHEYE, SRC, image)
    f = 32 / np.tan(np.radians(50))
    view = np.array([[f, 0, 31.5], [0, f, 23.5], [0, 0, 1]])
    lens = np.array([[30.0, 0, 47], [0, 31, 30], [0, 0, 1]])
    fisheye: Any = cv2.fisheye
    x, y = fisheye.initUndistortRectifyMap(lens, np.array(FISHEYE.k), np.eye(3), view, (64, 48), cv2.CV_32FC1)
    assert np.abs(table - np.stack([x, y], axis=-1)).max() < 0.5 / STEPS + 1e-3
    assert (table * STEPS % 1 == 0).all()


@pytest.mark.parametrize(
    ("yaw", "pitch", "x", "y"),
    [(0, 0, 0.5, 0.5), (90, 0, 0.75, 0.5), (-90, 0, 0.25, 0.5), (0, 45, 0.5, 0.25), (0, -45, 0.5, 0.75)],
)
def test_the_middle_of_a_view_is_where_it_looks(yaw: float, pitch: float, x: float, y: float) -> None:
    """Right and up are positive: a 360-degree picture has the right at three quarters and the sky on top."""
    src, image = FrameSpec(3600, 1800, PixelFormat.GREY), ImageInput("images", (63, 63), "GREY")
    table = positions(around((63, 63), yaw=yaw, pitch=pitch), src, image)
    assert table[31, 31] == pytest.approx([x * 3600 - 0.5, y * 1800 - 0.5], abs=0.1)
    assert not np.isnan(table).any()


def test_roll_turns_the_view() -> None:
    src, image = FrameSpec(360, 180, PixelFormat.GREY), ImageInput("images", (33, 33), "GREY")
    level, rolled = (positions(around(roll=r), src, image) for r in (0, 90))
    # clockwise: what was above the middle is now on the right, so the right shows it
    assert np.allclose(rolled[16, 32], level[32, 16], atol=1 / STEPS)


def test_a_360_degree_picture_is_seen_up_to_its_seam_and_poles() -> None:
    src, image = FrameSpec(360, 180, PixelFormat.GREY), ImageInput("images", (200, 200), "GREY")
    for yaw in (179.9, 180, -180):
        for pitch in (-90, 0, 90):
            assert seen(positions(around((200, 200), yaw=yaw, pitch=pitch), src, image), src).all()


def test_rays_beyond_the_lens_see_nothing() -> None:
    image = ImageInput("images", (64, 48), "GREY", "stretch")
    options = DewarpOptions(lens="fisheye", size=(64, 48), fov=150, focal=(20.0, 20.0), lens_fov=120)
    table = positions(options, SRC, image)
    assert np.isnan(table[0, 0]).all()
    assert np.isfinite(table[24, 32]).all()


def test_beyond_where_the_lens_folds_back_nothing_is_seen() -> None:
    """theta_d of these coefficients grows up to 66.2 degrees, and falls from there on."""
    src, image = FrameSpec(1280, 960, PixelFormat.GREY), ImageInput("images", (640, 480), "GREY")
    options = DewarpOptions(
        lens="fisheye", size=(640, 480), fov=150, focal=(400.0, 400.0), k=(-0.1, 0.05, -0.08, 0.01)
    )
    x = positions(options, src, image)[240, 320:, 0]
    ahead = np.isfinite(x)
    assert (np.diff(ahead.astype(int)) <= 0).all(), "seen from the axis up to one angle"
    assert (np.diff(x[ahead]) >= 0).all(), "never back towards the axis"
    assert float(np.max(x[ahead])) == pytest.approx(1007.8, abs=0.1)
    assert not ahead[-1]


def test_a_lens_that_grows_is_seen_to_its_edge() -> None:
    image = ImageInput("images", (64, 48), "GREY", "stretch")
    options = DewarpOptions(lens="fisheye", size=(64, 48), fov=170, focal=(20.0, 20.0), k=(-0.05, 0.01, 0, 0))
    assert np.isfinite(positions(options, SRC, image)).all()


def test_coefficients_without_sense_show_nothing_and_raise_nothing() -> None:
    options = DewarpOptions(lens="fisheye", size=(8, 8), focal=(1e300, 1e300), k=(1e300, -1e300, 0.0, 0.0))
    table = positions(options, SRC, ImageInput("images", (8, 8)))
    assert not seen(table, SRC).any()


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (View((90, 0, 7, 4)), r"roi: \[90, 0, 7, 4\] is not inside the picture of 96x64; .*at most 96"),
        (View((0, 60, 4, 5)), "not inside"),
        (View((-1, 0, 4, 4)), "not inside"),
        (View((0, 0, 0, 4)), "not inside"),
        (View((0, 0, 4, 4), around()), "roi: excludes 'dewarp'"),
        (View(lens=DewarpOptions(lens="fisheye", size=(8, 8))), r"dewarp\.focal: is missing"),
        (
            View(lens=DewarpOptions(lens="fisheye", size=(8, 8), focal=(30, 30), yaw=180)),
            "dewarp: the view sees nothing of the picture of 96x64; change yaw",
        ),
        (
            View(lens=DewarpOptions(lens="fisheye", size=(8, 8), focal=(1, 1), center=(9e3, 0))),
            "sees nothing",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(view: View, said: str) -> None:
    named = View(view.roi, view.lens, "pipelines.front")
    with pytest.raises(ConfigError, match=said) as caught:
        named.check("source a", SRC)
    assert str(caught.value).startswith("source a: pipelines.front.")


@pytest.mark.parametrize(
    "view", [View(), View((0, 0, 96, 64)), View((95, 63, 1, 1)), View(lens=FISHEYE), View(lens=around())]
)
def test_what_can_be_shown_is_not(view: View) -> None:
    view.check("source a", SRC)


def test_a_regions_geometry_is_of_the_whole_picture() -> None:
    g = View((16, 8, 32, 16)).geometry(SRC, ImageInput("images", (32, 32)))
    assert (g.source_width, g.source_height, g.placed) == (96, 64, (0, 8, 32, 16))
    assert g.points_to_source(np.array([[0, 8], [32, 24]], np.float32)).tolist() == [[16, 8], [48, 24]]
    g = View(lens=FISHEYE).geometry(SRC, ImageInput("images", (32, 32)))
    assert (g.source_width, g.source_height, g.placed) == (64, 48, (0, 4, 32, 24))
