"""The backlog of events: bounded, numbered, and never in the way of who writes."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from edged.control.events import EventLog
from tests.control.fake import event


@given(st.integers(1, 8), st.integers(0, 20), st.integers(0, 25), st.integers(1, 9))
def test_what_is_found_and_what_is_missing_are_all_that_came_after(
    backlog: int, added: int, since: int, most: int
) -> None:
    log = EventLog(backlog)
    for seq in range(1, added + 1):
        log.add(event(seq))
    found, missed = log.after(since, most)
    after = list(range(since + 1, added + 1))
    kept = after[-backlog:]
    assert [e.seq for e in found] == kept[:most]
    assert missed == len(after) - len(kept)
    assert log.last == added


def test_reading_in_pieces_gives_everything_once() -> None:
    log = EventLog()
    for seq in range(1, 1001):
        log.add(event(seq))
    position, seen = 0, []
    while found := log.after(position, 64)[0]:
        seen += [e.seq for e in found]
        position = seen[-1]
    assert seen == list(range(1, 1001))


def test_a_subscriber_is_woken_until_it_is_no_more() -> None:
    log, woken = EventLog(), []
    end = log.subscribe(lambda: woken.append(1))
    log.add(event(1))
    end()
    end()
    log.add(event(2))
    assert woken == [1]


def test_writers_and_readers_of_many_threads_agree() -> None:
    log, seen = EventLog(50), []
    done = threading.Event()

    def reads() -> None:
        position, missing = 0, 0
        while not done.is_set() or log.after(position, 1)[0]:
            found, missed = log.after(position, 7)
            missing += missed
            if found:
                assert found[0].seq == position + missed + 1
                position = found[-1].seq
        seen.append(position)

    threads = [threading.Thread(target=reads) for _ in range(3)]
    for thread in threads:
        thread.start()
    for seq in range(1, 3001):
        log.add(event(seq))
    done.set()
    for thread in threads:
        thread.join()
    assert seen == [3000, 3000, 3000]
