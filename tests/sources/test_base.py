from __future__ import annotations

import time

from edged.sources.base import RESYNC_S, Pacer


def test_the_first_picture_is_due_at_once_and_the_next_in_their_time() -> None:
    pacer, begin = Pacer(), time.monotonic_ns()
    first = pacer.wait(7.0, time.monotonic() + 1)
    second = pacer.wait(7.02, time.monotonic() + 1)
    assert first is not None
    assert second is not None
    assert begin <= first
    assert abs(second - first - 20_000_000) < 10
    assert time.monotonic_ns() >= second


def test_a_deadline_before_the_moment_gives_none_and_the_moment_stays() -> None:
    pacer = Pacer()
    first = pacer.wait(0.0, time.monotonic())
    assert first is not None
    begin = time.monotonic()
    assert pacer.wait(0.03, begin + 0.01) is None
    assert time.monotonic() - begin < 0.03
    assert pacer.wait(0.03, begin + 1) == first + 30_000_000


def test_a_moment_that_is_past_is_given_as_it_was() -> None:
    pacer = Pacer()
    first = pacer.wait(0.01, time.monotonic())
    assert first is not None
    assert pacer.wait(0.01, time.monotonic()) == first


def test_a_reader_that_paused_goes_on_from_now() -> None:
    pacer, late = Pacer(), 2 * RESYNC_S
    first = pacer.wait(late, time.monotonic())
    assert first is not None
    begin = time.monotonic_ns()
    moment = pacer.wait(0.0, time.monotonic())  # due `late` before the first one
    assert moment is not None
    assert moment >= begin
