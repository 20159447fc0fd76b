from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.health import LOOKS, TRANSITIONS, Health, Observation, Patience, step

FROZEN = "frozen: the same for 0.6 s"
P = Patience(silent_s=1.0, recover_s=0.5)


def play(*script: tuple[float, Observation]) -> list[str]:
    """The state, with its reason, after each (time, observation)."""
    out, health = [], Health()
    for now, seen in script:
        health = step(health, now, seen, P)
        out.append(str(health))
    return out


def result(at: float, invalid: str = "", *, limited: str = "") -> tuple[float, Observation]:
    return at, Observation(result_s=at, invalid=invalid, limited=limited)


def test_a_good_start() -> None:
    assert play((0, Observation(waiting="source front opens")), (1, Observation()), result(1.1)) == [
        "starting: source front opens",
        "starting: no picture yet",
        "running",
    ]


def test_a_picture_that_lies() -> None:
    script = [result(1), result(1.1, FROZEN), result(1.2, FROZEN), result(1.3), result(1.7), result(1.9)]
    assert play(*script) == ["running", *[f"degraded: {FROZEN}"] * 4, "running"]


def test_a_picture_that_lies_now_and_then_is_one_state() -> None:
    health, changes = step(Health(), 1, result(1)[1], P), 0
    for i in range(1, 100):
        was = health
        health = step(health, 1 + i / 10, result(1 + i / 10, FROZEN if i % 4 == 0 else "")[1], P)
        changes += was.state != health.state
    assert changes == 1
    assert (health.state, health.since_s) == ("degraded", 1.4)


def test_silence_is_told_within_its_time() -> None:
    seen = result(1)[1]
    assert play((1, seen), (2, seen), (2.01, seen)) == [
        "running",
        "running",
        "degraded: late: no result for 1 s",
    ]


def test_a_camera_that_comes_back_is_faulted_until_there_is_a_result() -> None:
    old = Observation(result_s=1)
    assert play(
        (1, old),
        (2, replace(old, fault="cable; again in 0.5 s")),
        (2.5, replace(old, waiting="source front opens")),
        (2.6, replace(old, fault="cable; again in 1 s")),
        (3.5, old),
        (3.6, Observation(result_s=3.6)),
    ) == [
        "running",
        "faulted: cable; again in 0.5 s",
        "faulted: cable; again in 0.5 s",
        "faulted: cable; again in 1 s",
        "faulted: cable; again in 1 s",
        "running",
    ]


def test_a_pause_and_what_was_still_under_way() -> None:
    assert play(
        result(1),
        (2, Observation(paused="by operator", result_s=1)),
        (2.1, Observation(paused="by operator", result_s=2.05)),
        (3, Observation(result_s=2.05)),
        (3.1, Observation(result_s=2.05)),
        (3.2, Observation(result_s=3.2)),
    ) == ["running", *["paused: by operator"] * 2, *["starting: no picture yet"] * 2, "running"]


def test_a_pause_hides_no_fault() -> None:
    health, seen = Health(), []
    for now, o in ((1, Observation()), (2, Observation(fault="cable")), (3, Observation(waiting="it opens"))):
        health = step(health, now, replace(o, paused="by operator", result_s=0.5), P)
        seen.append((str(health), health.since_s, health.beneath))
    assert seen == [("paused: by operator", 1, w) for w in ("", "faulted: cable", "starting: it opens")]
    assert step(health, 4, Observation(result_s=0.5), P).beneath == ""


def test_a_fallback_is_degraded_from_the_first_result_on() -> None:
    reason = "onnxruntime instead of tensorrt"
    assert play((0, Observation(limited=reason)), result(1, limited=reason)) == [
        "starting: no picture yet",
        f"degraded: {reason}",
    ]


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (("end", "pause", "loop", "fault", "wait", 1), "stopped: end"),
        (("", "pause", "loop", "fault", "wait", 1), "paused: pause"),
        (("", "", "loop", "fault", "wait", 1), "faulted: fault"),  # what never was up does not come and go
        (("", "", "", "fault", "wait", 1), "faulted: fault"),
        (("", "", "", "", "wait", None), "starting: wait"),
        (("", "", "", "", "", 1), f"degraded: {FROZEN}"),
    ],
)
def test_what_weighs_more(seen: tuple[Any, ...], state: str) -> None:
    stopped, paused, looping, fault, waiting, result_s = seen
    observed = Observation(
        stopped=stopped,
        paused=paused,
        looping=looping,
        fault=fault,
        waiting=waiting,
        result_s=result_s,
        invalid=FROZEN,
        limited="slow",
    )
    assert str(step(Health(), 1, observed, P)) == state


def test_a_source_that_comes_and_goes_is_one_state_until_it_is_steady() -> None:
    loop = "source a comes and goes"
    assert play(
        result(1),
        (2, Observation(fault="unplugged", result_s=1)),
        (3, Observation(looping=loop, fault="unplugged", result_s=1)),
        (4, Observation(looping=loop, result_s=4)),
        (5, Observation(looping=loop, fault="unplugged", result_s=4)),
        (5.5, Observation(looping=loop, result_s=5.5)),
        (6, Observation(result_s=6)),
        (6.5, Observation(result_s=6.5)),
    ) == ["running", *["faulted: unplugged"] * 2, *[f"degraded: {loop}"] * 4, "running"]


words = st.sampled_from(["", "", "", "", "", "", "a", "b"])
observations = st.builds(
    Observation,
    stopped=words,
    paused=words,
    fault=words,
    looping=words,
    waiting=words,
    result_s=st.none() | st.floats(0, 100),
    invalid=words,
    limited=words,
)


@given(st.lists(st.tuples(st.floats(0, 3), observations), max_size=30))
def test_whatever_happens(script: list[tuple[float, Observation]]) -> None:
    health, now = Health(), 0.0
    for gap, seen in script:
        now += gap
        was, health = health, step(health, now, seen, P)
        assert health.state == was.state or health.state in TRANSITIONS[was.state]
        assert bool(health.reason) == (health.state != "running")
        assert was.since_s <= health.since_s <= now
        assert (health.since_s == now) or health.state == was.state
        if health.state in LOOKS and was.state not in LOOKS:
            assert seen.result_s is not None
            assert seen.result_s >= was.since_s
        assert step(health, now, seen, P) == health or was.state in ("paused", "stopped")


def test_every_state_can_be_left_and_reached() -> None:
    assert set(TRANSITIONS) == set().union(*TRANSITIONS.values())
    assert all(TRANSITIONS.values())
