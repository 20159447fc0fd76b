"""The hand-over: newest wins or blocking, with exact counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.frames import Frame
from edged.mailbox import Bell, Mailbox
from edged.memory import Slots
from tests.rig import make_frame, make_slots


def take(box: Mailbox) -> Frame | None:
    with box.bell.condition:
        return box.take_locked()


def held(box: Mailbox) -> int:
    with box.bell.condition:
        return int(box.peek_locked() is not None)


def balanced(box: Mailbox) -> bool:
    return box.offered == box.taken + box.dropped + held(box)


@pytest.fixture
def slots() -> Iterator[Slots]:
    made = make_slots(4)
    yield made
    assert made.in_use == 0


def test_the_newest_frame_wins_and_the_older_ones_lease_ends(slots: Slots) -> None:
    box = Mailbox(Bell(), live=True)
    for seq in range(3):
        assert box.put(make_frame(slots, seq))
        assert slots.in_use == 1
    frame = take(box)
    assert frame is not None
    assert frame.seq == 2
    assert (box.offered, box.dropped, box.taken) == (3, 2, 1)
    frame.release()


def test_a_frame_that_is_kept_stays_and_newer_ones_are_dropped_behind_it(slots: Slots) -> None:
    box = Mailbox(Bell(), live=True, keeps=lambda held, new: held.seq % 2 == 1)
    for seq in (0, 1, 2, 3):
        assert box.put(make_frame(slots, seq))
        assert slots.in_use == 1
    assert (box.offered, box.dropped, box.passed) == (4, 3, 2), "0 gave way to 1; 2 and 3 came behind it"
    assert balanced(box)
    frame = take(box)
    assert frame is not None
    assert frame.seq == 1
    assert box.passed == 0
    frame.release()


def test_an_empty_mailbox_gives_nothing() -> None:
    assert take(Mailbox(Bell(), live=True)) is None


def test_back_pressure_refuses_a_second_frame_when_time_is_over(slots: Slots) -> None:
    box = Mailbox(Bell(), live=False)
    first, second = make_frame(slots, 0), make_frame(slots, 1)
    assert box.put(first)
    assert not box.put(second, 0.001)
    assert not box.put(second, 0)
    assert (box.offered, box.dropped) == (1, 0)
    assert take(box) is first
    assert box.put(second, 0)
    box.drain()
    first.release()


def test_back_pressure_waits_until_the_frame_before_was_taken(slots: Slots) -> None:
    box = Mailbox(Bell(), live=False)
    first, second = make_frame(slots, 0), make_frame(slots, 1)
    box.put(first)
    put: list[bool] = []
    writer = threading.Thread(target=lambda: put.append(box.put(second)))
    writer.start()
    assert take(box) is first
    writer.join(10)
    assert put == [True]
    assert take(box) is second
    first.release()
    second.release()


@pytest.mark.parametrize("live", [True, False])
def test_a_closed_mailbox_takes_nothing_and_keeps_what_it_has(slots: Slots, live: bool) -> None:
    box = Mailbox(Bell(), live=live)
    first, second = make_frame(slots, 0), make_frame(slots, 1)
    box.put(first)
    box.close()
    box.close()
    assert box.closed
    assert not box.put(second)
    second.release()
    assert box.offered == 1
    assert take(box) is first
    first.release()


def test_closing_ends_the_wait_of_a_writer(slots: Slots) -> None:
    box = Mailbox(Bell(), live=False)
    box.put(make_frame(slots, 0))
    second = make_frame(slots, 1)
    put: list[bool] = []
    writer = threading.Thread(target=lambda: put.append(box.put(second)))
    writer.start()
    box.close()
    writer.join(10)
    assert put == [False]
    second.release()
    box.drain()


def test_draining_drops_and_counts_what_is_held(slots: Slots) -> None:
    box = Mailbox(Bell(), live=False)
    box.drain()
    assert box.dropped == 0
    box.put(make_frame(slots, 0))
    box.drain()
    assert (box.offered, box.dropped) == (1, 1)
    assert box.put(make_frame(slots, 1)), "a drained mailbox is open"
    box.drain()


def test_a_ring_wakes_all_who_wait_on_the_bell() -> None:
    bell, told = Bell(), threading.Event()

    def wait(entered: threading.Event) -> None:
        with bell.condition:
            entered.set()  # held until the wait lets go of the condition: the ring cannot come before
            assert bell.condition.wait_for(told.is_set, 10)

    threads = []
    for _ in range(2):
        entered = threading.Event()
        threads.append(threading.Thread(target=wait, args=(entered,)))
        threads[-1].start()
        entered.wait()
    told.set()
    bell.ring()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


@given(st.lists(st.sampled_from(["put", "take", "drain", "close"]), max_size=40), st.booleans())
def test_counts_balance_after_every_step(steps: list[str], live: bool) -> None:
    slots = make_slots(3)
    box = Mailbox(Bell(), live=live)
    for seq, step in enumerate(steps):
        if step == "put":
            frame = make_frame(slots, seq)
            if not box.put(frame, 0):
                frame.release()
        elif step == "take":
            taken = take(box)
            if taken is not None:
                taken.release()
        elif step == "drain":
            box.drain()
        else:
            box.close()
        assert balanced(box)
        assert slots.in_use == held(box)
    box.drain()


@pytest.mark.parametrize("live", [True, False])
def test_counts_are_exact_with_several_readers_on_one_bell(live: bool) -> None:
    """Two writers with a mailbox each, three readers that take from either."""
    bell, count = Bell(), 400
    boxes = [Mailbox(bell, live=live) for _ in range(2)]
    pools = [make_slots(8) for _ in boxes]
    taken: list[list[int]] = [[], []]

    def write(box: Mailbox, slots: Slots) -> None:
        for seq in range(count):
            lease = slots.acquire(30)
            assert lease is not None
            lease.release()
            assert box.put(make_frame(slots, seq))
        box.close()

    def read() -> None:
        while True:
            with bell.condition:
                bell.condition.wait_for(
                    lambda: any(b.peek_locked() for b in boxes) or all(b.closed for b in boxes)
                )
                index = next((i for i, b in enumerate(boxes) if b.peek_locked()), None)
                if index is None:
                    return
                frame = boxes[index].take_locked()
                assert frame is not None
                taken[index].append(frame.seq)
            frame.release()

    threads = [threading.Thread(target=write, args=a) for a in zip(boxes, pools, strict=True)]
    threads += [threading.Thread(target=read) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for box, seqs in zip(boxes, taken, strict=True):
        assert box.offered == count == len(seqs) + box.dropped
        assert box.taken == len(seqs)
        assert seqs == sorted(set(seqs)), "out of order, or twice"
        assert live or len(seqs) == count
        assert seqs[-1] == count - 1, "the newest frame was lost"
