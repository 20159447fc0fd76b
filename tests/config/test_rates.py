"""Limits to a pipeline's rate, and sync groups, in a configuration."""

from __future__ import annotations

import pytest

from edged.config.load import loads
from edged.config.schema import Config
from edged.errors import ConfigError

LIVE = "{kind = 'pattern', rate = 30.0}"
STILL = "{kind = 'pattern'}"


def text(*pipelines: str, sources: tuple[str, str] = (LIVE, LIVE), groups: str = "[sync_groups.rig]") -> str:
    """Pipelines "left" and "right", whose further keys are given."""
    tables = [
        f"[pipelines.{name}]\nsource = '{name}'\nmodel = 'm'\nsinks = ['s']\n{keys}\n[sources]\n"
        for name, keys in zip(("left", "right"), pipelines, strict=False)
    ]
    body = "".join(t.replace("[sources]\n", "") for t in tables)
    named = "".join(f"{n} = {s}\n" for n, s in zip(("left", "right"), sources, strict=True))
    return f"{body}[sources]\n{named}[models.m]\npath = 'm'\n[sinks.s]\nkind = 'zmq'\n{groups}\n"


def good(*pipelines: str, **keys: object) -> Config:
    return loads(text(*pipelines, **keys))  # type: ignore[arg-type]


def problems(*pipelines: str, **keys: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        good(*pipelines, **keys)
    return [str(p) for p in caught.value.problems]


RIG = "sync_group = 'rig'"


def test_good() -> None:
    both = f"{RIG}\nevery = 2\nmax_fps = 12.5"
    config = good(both, both, groups="[sync_groups.rig]\ntolerance_ms = 2")
    assert (config.pipelines["left"].every, config.pipelines["right"].max_fps) == (2, 12.5)
    assert config.sync_groups["rig"].tolerance_ms == 2.0
    assert config.warnings == ()


def test_defaults() -> None:
    config = good("", "", groups="")
    assert (config.pipelines["left"].every, config.pipelines["left"].max_fps) == (1, None)
    assert good(RIG, RIG).sync_groups["rig"].tolerance_ms == 15.0


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("every = 0", "pipelines.left.every: must be at least 1, got 0"),
        ("every = 1.5", "pipelines.left.every: must be a whole number"),
        ("max_fps = 0", "pipelines.left.max_fps: must be at least 0.001, got 0"),
        ("max_fps = '15'", "pipelines.left.max_fps: must be a number, got '15'"),
        ("sync_group = 3", "pipelines.left.sync_group: must be text, got 3"),
        (
            "sync_group = 'rgi'",
            "pipelines.left.sync_group: 'rgi' is not declared in [sync_groups]; did you mean 'rig'?",
        ),
    ],
)
def test_bad_values(keys: str, said: str) -> None:
    assert problems(keys, "")[0].startswith(said)


@pytest.mark.parametrize("tolerance", ["0", "-1", "inf", "'5 ms'", "20000"])
def test_bad_tolerances(tolerance: str) -> None:
    (said,) = problems(RIG, RIG, groups=f"[sync_groups.rig]\ntolerance_ms = {tolerance}")
    assert said.startswith("sync_groups.rig.tolerance_ms: must be")


def test_one_camera_is_no_group() -> None:
    assert problems(RIG, "") == [
        "sync_groups.rig: has one camera only: nothing to synchronize; name it in pipelines of other sources, too"
    ]


def test_a_camera_is_in_one_group() -> None:
    third = "[pipelines.also]\nsource = 'left'\nmodel = 'm'\nsinks = ['s']\nsync_group = 'other'"
    groups = f"[sync_groups.rig]\n[sync_groups.other]\n{third}"
    said = problems(RIG, RIG, groups=groups)
    assert said == [
        "sync_groups.other: has one camera only: nothing to synchronize; name it in pipelines of other sources, too",
        "pipelines.also.sync_group: its source 'left' is in sync group 'rig' already; a camera is in one group: "
        "name the same",
    ]


def test_a_group_has_one_rhythm() -> None:
    said = problems(f"{RIG}\nevery = 2\nmax_fps = 10", f"{RIG}\nevery = 3")
    assert said == [
        "pipelines.right.every: is 3, but 2 in 'left' of its sync group; give all of a group the same",
        "pipelines.right.max_fps: is absent, but 10.0 in 'left' of its sync group; give all of a group the same",
    ]


def test_a_group_needs_live_sources() -> None:
    (said,) = problems(RIG, RIG, sources=(LIVE, STILL))
    assert said.startswith("pipelines.right.sync_group: source 'right' is not live")
    assert "rate = 30.0" in said


@pytest.mark.parametrize(
    "source",
    [
        STILL,
        "{kind = 'video', path = 'x.avi', pace = 'max'}",
        "{kind = 'images', path = 'x'}",
    ],
)
def test_max_fps_where_the_reader_sets_the_pace(source: str) -> None:
    config = good("max_fps = 5", "every = 2", sources=(source, source), groups="")
    assert config.warnings == (
        "pipelines.left.max_fps: has no effect: source 'left' is not live (every = n has)",
    )


def test_tracks_that_end_before_the_next_frame() -> None:
    (said,) = good("max_fps = 0.5\ntrack = {lost_s = 2.0}", "", groups="").warnings
    assert said.startswith("pipelines.left.track.lost_s: 2 s is no longer than the time between two frames")


def test_weak_boxes_that_are_not_weaker() -> None:
    (said,) = good("track = {high_score = 0.3, low_score = 0.4}", "", groups="").warnings
    assert said == "pipelines.left.track.low_score: has no effect: it is not below high_score = 0.3"


def test_a_group_that_nobody_names() -> None:
    assert good("", "").warnings == ("sync_groups.rig: no pipeline uses it",)
