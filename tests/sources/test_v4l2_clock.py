"""A driver's times and numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edged.sources._v4l2_clock import MEASURED, OLDEST_NS, STUCK, DriverClock, Sequence

MS = 1_000_000
NOW = 5_000_000_000


def test_a_plausible_stamp_is_the_capture_time_and_its_offset_is_measured() -> None:
    clock = DriverClock()
    for n in range(MEASURED):
        assert clock.fact == ""
        assert clock.captured(NOW + n - (3 + n % 2) * MS, NOW + n) == (NOW + n - (3 + n % 2) * MS, "driver")
    assert clock.fact == "the driver's, at least 3.0 ms before dequeuing"
    assert clock.replaced == 0


def test_what_cannot_be_is_replaced_and_said_once() -> None:
    for stamp, said in ((NOW - OLDEST_NS - 500 * MS, "2.500 s behind CLOCK_MONOTONIC"), (0, "zero")):
        clock = DriverClock()
        assert clock.captured(stamp, NOW) == (NOW, "dequeue")
        first = clock.fact
        assert first == f"time of dequeuing: the driver's stamps are {said}"
        assert clock.captured(NOW - 9_000 * MS, NOW) == (NOW, "dequeue")
        for _ in range(MEASURED):
            assert clock.captured(NOW - MS, NOW) == (NOW - MS, "driver")
        assert (clock.fact, clock.replaced) == (first, 2)


def test_a_clock_that_was_ahead_once_is_not_believed_again() -> None:
    clock = DriverClock()
    assert clock.captured(NOW + 59 * MS, NOW) == (NOW, "dequeue")
    # a picture that is taken late makes vivid's "end of frame" look like a moment in the past
    assert clock.captured(NOW + 126 * MS, NOW + 130 * MS) == (NOW + 130 * MS, "dequeue")
    assert clock.fact == "time of dequeuing: the driver's stamps are 0.059 s ahead of CLOCK_MONOTONIC"
    assert clock.replaced == 2


def test_no_stamp() -> None:
    clock = DriverClock()
    assert clock.captured(None, NOW) == (NOW, "dequeue")
    assert clock.fact == "time of dequeuing: the driver gives no monotonic stamps"


@given(st.integers(-(2**62), 2**62), st.integers(1, 2**62))
def test_no_picture_is_from_the_future_or_old(stamp: int, now: int) -> None:
    at, source = DriverClock().captured(stamp, now)
    assert now - OLDEST_NS <= at <= now
    assert source == ("driver" if at == stamp and stamp else "dequeue") or stamp == now


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 1000)))
def test_gaps_are_exact_across_the_wrap(start: int, steps: list[int]) -> None:
    sequence, at = Sequence(), start
    assert sequence.step(start) == 1
    for step in steps:
        at = (at + step) % 2**32
        assert sequence.step(at) == step


def test_a_repeated_or_falling_number_is_the_next_picture() -> None:
    sequence = Sequence()
    assert [sequence.step(n) for n in (7, 7, 8, 0, 1, 4)] == [1, 1, 1, 1, 1, 3]
    assert sequence.fact == ""


def test_a_driver_that_does_not_count_is_told() -> None:
    sequence = Sequence()
    assert [sequence.step(0) for _ in range(STUCK + 1)] == [1] * (STUCK + 1)
    assert sequence.fact == "the driver stays at 0: pictures lost before edged are not known"
