"""roi and dewarp in a configuration: what is refused before anything is opened, and where."""

from __future__ import annotations

import pytest

from edged.config.load import loads
from edged.config.schema import Config
from edged.errors import ConfigError


def good(keys: str, source: str = "kind = 'pattern'\nsize = [64, 48]") -> Config:
    return loads(
        f"[pipelines.front]\nsource = 'cam'\nmodel = 'm'\nsinks = ['s']\n{keys}\n[sources.cam]\n{source}\n"
        "[models.m]\npath = 'm'\n[sinks.s]\nkind = 'zmq'\n"
    )


def problems(keys: str, source: str = "kind = 'pattern'\nsize = [64, 48]") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        good(keys, source)
    return [str(p) for p in caught.value.problems]


AROUND = "[pipelines.front.dewarp]\nlens = 'equirectangular'\nsize = [32, 32]"
FISHEYE = "[pipelines.front.dewarp]\nlens = 'fisheye'\nsize = [32, 32]"


def test_good() -> None:
    assert good("roi = [4, 0, 60, 48]").pipelines["front"].roi == (4, 0, 60, 48)
    config = good(f"{FISHEYE}\nfocal = [20, 20.5]\nyaw = -30")
    view = config.pipelines["front"].dewarp
    assert view is not None
    assert (view.size, view.focal, view.yaw, view.center) == ((32, 32), (20.0, 20.5), -30.0, None)
    assert config.warnings == ()


def test_one_excludes_the_other_even_where_one_is_wrong() -> None:
    words = "pipelines.front.roi: excludes 'dewarp'; remove one: yaw, pitch and fov say where a view looks"
    assert problems(f"roi = [0, 0, 4, 4]\n{AROUND}") == [words]
    assert words in problems(f"roi = [0, 0, 4]\n{AROUND}")


def test_a_region_beyond_a_size_that_the_source_is_given() -> None:
    words = (
        "pipelines.front.roi: [4, 0, 61, 48] is not inside the picture of 64x48; "
        "[x, y, width, height] needs x + width at most 64 and y + height at most 48"
    )
    assert problems("roi = [4, 0, 61, 48]") == [words]
    assert problems("roi = [0, 40, 10, 10]", "kind = 'v4l2'\ndevice = '/dev/video0'\nmax_size = [64, 48]")
    assert problems("roi = [0, 440, 10, 80]", "kind = 'pattern'"), "its default size is known, too"
    assert good("roi = [0, 4000, 10, 10]", "kind = 'v4l2'\ndevice = '/dev/video0'"), "known at open"


def test_a_fisheye_needs_its_focal_length() -> None:
    (problem,) = problems(FISHEYE)
    assert problem.startswith("pipelines.front.dewarp.focal: is missing: ")
    assert "cv2.fisheye.calibrate" in problem


def test_a_views_sides_have_a_limit() -> None:
    assert good(AROUND.replace("32, 32", "65535, 1"))
    (problem,) = problems(AROUND.replace("32, 32", "1, 65536"))
    assert problem.startswith("pipelines.front.dewarp.size")
    assert "65535" in problem


def test_a_view_of_nothing_is_refused_where_the_size_is_known() -> None:
    behind = f"{FISHEYE}\nfocal = [20, 20]\nyaw = 180"
    (problem,) = problems(behind)
    assert problem.startswith(
        "pipelines.front.dewarp: the view sees nothing of the picture of 64x48; change yaw"
    )
    assert problems(behind, "kind = 'v4l2'\ndevice = '/dev/video0'\nsize = [64, 48]")
    assert good(behind, "kind = 'v4l2'\ndevice = '/dev/video0'\nmax_size = [64, 48]"), "known at open"


def test_a_fisheyes_keys_do_nothing_for_a_360_degree_picture() -> None:
    path = "pipelines.front.dewarp"
    assert good(f"{AROUND}\nlens_fov = 90\nk = [0, 0, 0, 0]").warnings == (
        f'{path}.k: has no effect with lens = "equirectangular"',
        f'{path}.lens_fov: has no effect with lens = "equirectangular"',
    )


@pytest.mark.parametrize(
    ("key", "path"),
    [("fov = 180", "fov"), ("yaw = 400", "yaw"), ("k = [1, 2]", "k"), ("lense = 1", "lense")],
)
def test_every_key_is_checked(key: str, path: str) -> None:
    (problem,) = problems(f"{AROUND}\n{key}")
    assert problem.startswith(f"pipelines.front.dewarp.{path}: ")
