"""Looks at a pipeline from outside: they see the next frame, cost one lease and disturb nothing."""

from __future__ import annotations

import threading

import pytest

from edged.errors import EdgedError
from edged.looks import Look
from edged.views import WHOLE
from tests.rig import make_frame, make_slots
from tests.test_pipeline import Rig, found


def test_a_look_is_of_the_next_frame_and_its_result() -> None:
    rig = Rig()
    rig.finish(rig.next(0))
    look = rig.pipeline.look()
    job = rig.next(1)
    frame = look.frame(0)
    assert frame is job.frame
    assert rig.slots.in_use == 1  # the runner has let go of it, the look has not
    assert (frame.planes[0] == 1).all()
    frame.release()
    rig.finish(job, found((1, 2, 3, 4, 0.5, 0)))
    assert look.result(0) is rig.results[-1]
    look.close()
    rig.finish(rig.next(2))
    assert rig.slots.in_use == 0


def test_many_look_at_once_and_each_gets_a_lease() -> None:
    rig = Rig()
    looks = [rig.pipeline.look() for _ in range(3)]
    rig.finish(rig.next(0))
    assert rig.slots.in_use == 1
    for look in looks:
        frame = look.frame(0)
        assert frame is not None
        frame.release()
        assert look.result(0) is rig.results[0]
    assert rig.slots.in_use == 0


def test_an_inference_that_fails_is_told() -> None:
    rig = Rig()
    look = rig.pipeline.look()
    rig.fail(rig.next(0))
    with pytest.raises(EdgedError, match="inference of this frame failed"):
        look.result(0)
    look.close()


def test_a_frame_that_nobody_took_is_released_with_the_look() -> None:
    rig = Rig()
    look = rig.pipeline.look()
    rig.finish(rig.next(0))
    assert rig.slots.in_use == 1
    look.close()
    look.close()
    assert rig.slots.in_use == 0
    assert look.frame(0) is None


def test_a_look_that_was_closed_keeps_no_frame() -> None:
    rig = Rig()
    closed, other = rig.pipeline.look(), rig.pipeline.look()
    closed.close()
    job = rig.next(0)
    assert job.looks == (other,)
    other.close()
    rig.finish(job)


def test_looks_that_were_given_up_do_not_pile_up() -> None:
    rig = Rig()
    for _ in range(1000):
        rig.pipeline.look().close()
    last = rig.pipeline.look()
    assert rig.next(0).looks == (last,)
    last.close()


def test_nothing_comes_in_time() -> None:
    look = Rig().pipeline.look()
    assert look.frame(0.01) is None
    assert look.result(0.01) is None


def test_closing_wakes_who_waits() -> None:
    look = Look(WHOLE)
    got: list[object] = []
    waits = threading.Thread(target=lambda: got.append(look.frame(60)))
    waits.start()
    look.close()
    waits.join()
    assert got == [None]


def test_frames_and_closings_of_other_threads_lose_no_lease() -> None:
    slots = make_slots(1)
    for _ in range(200):
        look = Look(WHOLE)
        frame = make_frame(slots, 0)
        closes = threading.Thread(target=look.close)
        closes.start()
        look.see(frame)
        frame.release()
        closes.join()
        assert slots.in_use == 0
