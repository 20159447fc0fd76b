"""When a changed configuration is confirmed or undone, on a virtual clock."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.health import Health, State
from edged.trial import STEADY_S, Trial, judge


def trial(*touched: str, confirm_s: float = 30.0, before: Mapping[str, Health] | None = None) -> Trial:
    return Trial(touched, 100.0, confirm_s, before or {})


RUNS = Health("running", "", 90.0)  # as before the change: what counts is the time since it


def test_it_is_confirmed_once_all_are_steady() -> None:
    t = trial("a", "b")
    healths = {"a": RUNS, "b": Health("running", "", 101.0)}
    assert judge(t, 100.0, healths) == ("wait", "")
    assert judge(t, 101.0 + STEADY_S - 0.1, healths) == ("wait", "")
    assert judge(t, 101.0 + STEADY_S, healths) == ("confirm", "")


def test_nothing_touched_is_confirmed_at_once() -> None:
    assert judge(trial(), 100.0, {"a": Health("faulted", "x", 0.0)}) == ("confirm", "")


def test_a_fault_undoes_it_at_once() -> None:
    healths = {"a": RUNS, "b": Health("faulted", "source b: no such device", 100.5)}
    assert judge(trial("a", "b"), 100.6, healths) == ("undo", "pipeline b: faulted: source b: no such device")


def test_time_undoes_it_and_says_what_was_missing() -> None:
    healths = {"a": RUNS, "b": Health("starting", "model m is not open yet", 100.0)}
    t = trial("a", "b", "c", confirm_s=30.0)
    assert judge(t, 129.9, healths) == ("wait", "")
    verdict, why = judge(t, 130.0, healths)
    assert verdict == "undo"
    assert why == (
        "not healthy within 30 s: pipeline b: starting: model m is not open yet, pipeline c: not there yet"
    )


def test_a_short_confirm_s_leaves_time_to_be_steady() -> None:
    assert judge(trial("a", confirm_s=1.0), 100.5, {"a": RUNS}) == ("confirm", "")


def test_a_file_that_ends_well_is_no_fault() -> None:
    assert (
        judge(trial("a"), 100.1, {"a": Health("stopped", "no frame comes any more", 100.1)})[0] == "confirm"
    )


@pytest.mark.parametrize("since_s", [50.0, 101.0])
def test_a_pause_proves_nothing_and_is_no_fault(since_s: float) -> None:
    healths = {"a": RUNS, "b": Health("paused", "paused by request", since_s)}
    assert judge(trial("a", "b"), 129.9, healths) == ("wait", "")
    told = "pipeline b: paused: paused by request (unproven)"
    assert judge(trial("a", "b"), 130.0, healths) == ("confirm", told)
    verdict, why = judge(trial("a", "b", "c"), 130.0, healths)
    assert (verdict, why) == ("undo", "not healthy within 30 s: pipeline c: not there yet")


def test_what_does_not_work_beneath_a_pause_is_a_fault() -> None:
    bad = {"a": Health("paused", "paused by request", 50.0, beneath="faulted: source a: no such device")}
    why = "pipeline a: faulted: source a: no such device"
    assert judge(trial("a"), 100.1, bad) == ("undo", why)
    assert (
        judge(trial("a", before={"a": Health("paused", "paused by request", 50.0)}), 100.1, bad)[0] == "undo"
    )
    assert judge(trial("a", before=bad), 103.0, bad) == ("confirm", why)
    slow = {"a": Health("paused", "paused by request", 50.0, beneath="starting: source a is not open yet")}
    assert judge(trial("a"), 129.9, slow)[0] == "wait"
    assert judge(trial("a"), 130.0, slow)[0] == "undo"


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        ("black: mean 2, spread 1", "confirm"),
        ("model m: runs on onnxruntime", "confirm"),
        ("late: no result for 0.8 s", "undo"),
        ("frozen: the same picture", "undo"),
        ("torn: rows are missing", "undo"),
    ],
)
def test_degraded_is_no_fault_where_the_change_can_hardly_be_its_cause(reason: str, verdict: str) -> None:
    found = judge(trial("a", confirm_s=4.0), 104.0, {"a": Health("degraded", reason, 100.0)})
    assert found[0] == verdict
    assert reason in found[1]


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (("faulted", "camera: unplugged"), ("faulted", "camera: unplugged"), "confirm"),
        (("faulted", "camera: unplugged"), ("faulted", "camera: another thing"), "undo"),
        (("degraded", "late: no result for 0.8 s"), ("degraded", "late: no result for 0.9 s"), "confirm"),
        (("degraded", "late: no result for 0.8 s"), ("degraded", "torn: rows are missing"), "undo"),
        (("running", ""), ("degraded", "late: no result for 0.8 s"), "undo"),
        (("starting", "no picture yet"), ("starting", "no picture yet"), "undo"),
    ],
)
def test_what_was_no_better_before_is_not_the_changes_fault(
    before: tuple[State, str], now: tuple[State, str], verdict: str
) -> None:
    t = trial("a", confirm_s=4.0, before={"a": Health(*before)})
    assert judge(t, 104.0, {"a": Health(*now, 50.0)})[0] == verdict


healths = st.builds(
    Health,
    st.sampled_from(["starting", "running", "degraded", "faulted", "paused", "stopped"]),
    st.sampled_from(["", "late: x", "black: y", "other"]),
    st.floats(0, 140),
    beneath=st.sampled_from(["", "faulted: x", "starting: y"]),
)


@given(st.lists(st.dictionaries(st.sampled_from("ab"), healths), max_size=40), st.floats(1, 30))
def test_every_trial_comes_to_an_end(looks: list[dict[str, Health]], confirm_s: float) -> None:
    t = trial("a", "b", confirm_s=confirm_s)
    for n, found in enumerate(looks):
        verdict, why = judge(t, 100.0 + n, found)
        assert verdict != "undo" or why
    assert judge(t, 100.0 + confirm_s, looks[-1] if looks else {})[0] != "wait"
