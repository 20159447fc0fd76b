"""Which frames are taken: each n-th, at most so many a second, on a virtual clock."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.rates import Rate

MS = 1_000_000
quiet = settings(deadline=None)  # on a machine that others use, too


def camera(fps: float, seconds: float, jitter_ms: float = 0.0, seed: int = 0) -> list[int]:
    """Capture times in ns; each is off by up to `jitter_ms`, without drift."""
    rng = random.Random(seed)
    return [
        round((n / fps + rng.uniform(-jitter_ms, jitter_ms) / 1e3) * 1e9) for n in range(round(seconds * fps))
    ]


def taken(rate: Rate, frames: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    out = []
    for seq, t in frames:
        if rate.wants(seq, t):
            rate.took(seq, t)
            out.append((seq, t))
    return out


def seqs(rate: Rate, times: Sequence[int]) -> list[int]:
    return [seq for seq, _ in taken(rate, enumerate(times))]


def test_without_limits_all_are_taken() -> None:
    assert seqs(Rate(), camera(30, 1)) == list(range(30))


def test_every_third() -> None:
    assert seqs(Rate(every=3), [0] * 10) == [0, 3, 6, 9], "by number: times say nothing"


@quiet
@given(st.integers(1, 5), st.lists(st.integers(1, 4), max_size=60))
def test_after_lost_frames_two_are_never_closer_than_every_says(every: int, gaps: list[int]) -> None:
    numbers = [sum(gaps[:i]) for i in range(len(gaps))]
    got = [seq for seq, _ in taken(Rate(every), ((n, 0) for n in numbers))]
    assert all(b - a >= every for a, b in pairwise(got))
    for n in numbers:  # and none waits longer than it must
        before = [g for g in got if g < n]
        if before and n - before[-1] >= every:
            assert n in got


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fps", [29.9, 29.97, 30.0, 30.1])
def test_fifteen_of_thirty_with_jitter_are_fifteen(fps: float, seed: int) -> None:
    times = camera(fps, 60, jitter_ms=7.0, seed=seed)
    got = len(seqs(Rate(max_fps=15), times))
    assert got == pytest.approx(900, abs=6)


def test_fifteen_of_exactly_thirty_are_every_second_one() -> None:
    assert seqs(Rate(max_fps=15), camera(30, 10, jitter_ms=4.0)) == list(range(0, 300, 2))


@pytest.mark.parametrize(
    ("fps", "limit", "expected"),
    [(30, 25, 25), (30, 20, 20), (30, 10, 10), (30, 7, 7), (60, 50, 50), (30, 1, 1), (25, 24, 24)],
)
def test_a_limit_that_divides_nothing_is_kept_on_average(fps: float, limit: float, expected: float) -> None:
    got = len(seqs(Rate(max_fps=limit), camera(fps, 60, jitter_ms=2.0)))
    assert got / 60 == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("limit", [30, 31, 60, 1000])
def test_a_camera_that_is_no_faster_loses_next_to_nothing(limit: float) -> None:
    times = camera(30, 60, jitter_ms=3.0)
    assert len(seqs(Rate(max_fps=limit), times)) >= len(times) - 1


def test_a_pause_is_not_caught_up_with() -> None:
    times = [*range(0, 1000, 10), *range(6000, 7000, 10)]
    got = [t for _, t in taken(Rate(max_fps=10), enumerate(t * MS for t in times))]
    after = [t // MS for t in got if t >= 6000 * MS]
    assert after[0] == 6000
    assert after[1] >= 6075
    assert len(after) == pytest.approx(10, abs=1)


def test_both_limits_hold() -> None:
    times = camera(30, 1)
    assert seqs(Rate(every=2, max_fps=10), times) == list(range(0, 30, 3))
    assert seqs(Rate(every=4, max_fps=10), times) == list(range(0, 30, 4))


def test_a_clock_that_was_set_back_stops_nothing() -> None:
    times = [t * MS for t in (*range(10_000, 11_000, 33), *range(0, 1000, 33))]
    got = [t for _, t in taken(Rate(max_fps=10), enumerate(times))]
    assert sum(t < 5000 * MS for t in got) == pytest.approx(10, abs=1)


def test_reset_begins_anew() -> None:
    rate = Rate(every=10, max_fps=1)
    assert taken(rate, [(5, 5 * MS)])
    assert not taken(rate, [(6, 6 * MS)])
    rate.reset()
    assert taken(rate, [(0, 7 * MS)])


FRAMES = st.lists(st.integers(0, 300), min_size=2, max_size=150)  # ms from one to the next


@quiet
@given(st.sampled_from([3.0, 7.5, 15.0, 30.0, 100.0]), FRAMES)
def test_never_more_than_the_limit_and_never_a_burst(limit: float, gaps: list[int]) -> None:
    times = [sum(gaps[: i + 1]) * MS for i in range(len(gaps))]
    got = [t for _, t in taken(Rate(max_fps=limit), enumerate(times))]
    period = round(1e9 / limit)
    for i in range(len(got)):
        for j in range(i + 1, len(got)):
            assert got[j] - got[i] >= (j - i - 1) * period
    assert all(b - a >= period // 2 for a, b in pairwise(got))


@quiet
@given(st.floats(1, 120), st.floats(1, 120))
def test_of_a_steady_camera_as_many_as_the_limit_says(fps: float, limit: float) -> None:
    got = len(seqs(Rate(max_fps=limit), camera(fps, 20)))
    assert got == pytest.approx(20 * min(fps, limit), abs=2)


@pytest.mark.parametrize(("limits", "expected"), [({}, 10), ({"every": 2}, 5), ({"max_fps": 15.0}, 5)])
def test_thinned_each_nth_of_what_it_would_take_remains(limits: dict[str, Any], expected: float) -> None:
    rate, times = Rate(**limits), camera(30, 20, jitter_ms=3.0)
    rate.thin = 3
    assert len(seqs(rate, times)) / 20 == pytest.approx(expected, abs=0.1)


@quiet
@given(st.floats(5, 60), st.integers(1, 6), st.integers(2, 4), st.sampled_from([None, 7.5, 15.0]))
def test_thinning_that_ends_leaves_no_trace(fps: float, n: int, every: int, max_fps: float | None) -> None:
    rate, times = Rate(every, max_fps), camera(fps, 60)
    third = len(times) // 3
    frames = list(enumerate(times))
    counts = []
    for part, thin in ((frames[:third], 1), (frames[third : 2 * third], n), (frames[2 * third :], 1)):
        rate.thin = thin
        counts.append(len(taken(rate, part)))
    assert counts[1] == pytest.approx(counts[0] / n, abs=2)
    assert counts[2] == pytest.approx(counts[0], abs=n + 2)
