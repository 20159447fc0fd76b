from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.config.schema import DeliverConfig
from edged.errors import EdgedError, SinkError
from edged.messages import Message, Result
from edged.sinks.fake import FakeSink
from edged.sinks.worker import BACKOFF_MAX_S, STUCK_S, TRIES, SinkWorker, backoff_s, stamp
from tests.sinks.make import event, result, state

Reports = queue.SimpleQueue[tuple[str, str, EdgedError | None]]


@contextmanager
def running(
    sink: FakeSink,
    reports: Reports | None = None,
    *,
    deliver: Literal["latest", "queue"] = "latest",
    queue_size: int = 4,
    on_published: Callable[[Message], None] | None = None,
) -> Iterator[SinkWorker]:
    reports = reports or Reports()
    options = DeliverConfig(result=deliver, queue_size=queue_size)
    worker = SinkWorker("bus", sink, options, lambda *r: reports.put(r), on_published, settle_s=0.0)
    worker.start()
    try:
        yield worker
    finally:
        sink.gate.set()
        assert worker.stop(5.0)
        assert worker.offered == worker.published + worker.replaced + worker.failed
        assert worker.held == 0


def keys(messages: list[Message]) -> list[tuple[str, int]]:
    return [(m.key[1], m.key[2]) for m in messages]


@contextmanager
def hung(sink: FakeSink, worker: SinkWorker) -> Iterator[None]:
    """The worker's thread waits in the sink with one message."""
    sink.gate.clear()
    worker.offer(event(1000))
    while worker.held:  # until the thread has taken it
        continue
    yield
    sink.gate.set()


def test_one_that_hangs_is_said_to_and_is_back_when_it_returns() -> None:
    sink, reports = FakeSink(), Reports()
    with running(sink, reports) as worker:
        assert reports.get(timeout=10)[1] == "running"
        with hung(sink, worker):
            now = time.monotonic()
            worker.look(now + STUCK_S["publish"] - 5)
            assert reports.empty()
            for _ in range(2):
                worker.look(now + STUCK_S["publish"] + 5)
            name, state, error = reports.get(timeout=10)
            assert (name, state, str(error).partition("\n")[0]) == (
                *("bus", "faulted"),
                "sink 'bus': its publish has not returned for 10 s",
            )
        assert reports.get(timeout=10) == ("bus", "running", None)
        assert reports.empty()


def test_keeps_the_newest_result_of_each_pipeline() -> None:
    sink = FakeSink()
    with running(sink) as worker:
        with hung(sink, worker):
            for seq in range(5):
                worker.offer(result(seq, "front"))
                worker.offer(result(10 + seq, "back"))
            assert worker.replaced == 8
        assert keys(sink.wait_for(3))[1:] == [("front", 4), ("back", 14)]


def test_queue_keeps_order_and_drops_the_oldest() -> None:
    sink = FakeSink()
    with running(sink, deliver="queue") as worker:
        with hung(sink, worker):
            for seq in range(6):
                worker.offer(result(seq))
        assert keys(sink.wait_for(5))[1:] == [("front", n) for n in (2, 3, 4, 5)]
        assert worker.replaced == 2


def test_events_are_a_bounded_fifo_before_results() -> None:
    sink = FakeSink()
    with running(sink) as worker:
        with hung(sink, worker):
            worker.offer(result(1))
            for seq in range(5):
                worker.offer(event(seq))
        assert keys(sink.wait_for(6))[1:] == [*[("event", n) for n in (1, 2, 3, 4)], ("front", 1)]


def test_a_busy_sink_is_not_published_to() -> None:
    sink = FakeSink()
    sink.free = False
    reports = Reports()
    with running(sink, reports) as worker:
        assert reports.get(timeout=5)[1] == "running"
        for seq in range(3):
            worker.offer(result(seq))
        assert sink.messages == []
        sink.free = True
        assert keys(sink.wait_for(1)) == [("front", 2)]


def test_reports_a_fault_at_open_then_recovers() -> None:
    sink, reports = FakeSink(), Reports()
    refused = SinkError("port in use", hint="free it")
    sink.open_faults.extend([refused, SinkError("again", hint="")])
    with running(sink, reports) as worker:
        assert reports.get(timeout=5) == ("bus", "faulted", refused)
        worker.offer(result(1))
        assert reports.get(timeout=5) == ("bus", "running", None)
        assert keys(sink.wait_for(1)) == [("front", 1)]
        assert sink.opens == 3
    assert reports.empty()  # the second fault in a row is no change


def test_a_fault_at_publish_keeps_the_message_and_opens_again() -> None:
    sink, reports = FakeSink(), Reports()
    lost = SinkError("broker gone", hint="")
    sink.publish_faults.append(lost)
    with running(sink, reports, deliver="queue") as worker:
        for seq in range(3):
            worker.offer(result(seq))
        assert keys(sink.wait_for(3)) == [("front", 0), ("front", 1), ("front", 2)]
        assert [reports.get(timeout=5)[1] for _ in range(3)] == ["running", "faulted", "running"]
        assert sink.opens == 2
        assert worker.failed == 0


def test_after_a_fault_a_newer_result_takes_the_place() -> None:
    sink = FakeSink()
    sink.publish_faults.append(SinkError("broker gone", hint=""))
    with running(sink) as worker:
        sink.gate.clear()
        worker.offer(result(1))
        while worker.held:
            continue
        worker.offer(result(2))
        sink.gate.set()
        assert keys(sink.wait_for(1)) == [("front", 2)]
        assert worker.replaced == 1


def test_a_message_that_always_fails_does_not_block_the_next() -> None:
    sink = FakeSink()
    sink.publish_faults.extend(SinkError("too large", hint="") for _ in range(TRIES))
    with running(sink, deliver="queue") as worker:
        worker.offer(result(1))
        worker.offer(result(2))
        assert keys(sink.wait_for(1)) == [("front", 2)]
        assert worker.failed == 1


def test_an_unexpected_exception_is_a_reported_fault() -> None:
    sink, reports = FakeSink(), Reports()
    sink.open_faults.append(ZeroDivisionError("oops"))
    with running(sink, reports):
        _, state_, error = reports.get(timeout=5)
        assert state_ == "faulted"
        assert isinstance(error, SinkError)
        assert "ZeroDivisionError" in str(error)
        assert isinstance(error.__cause__, ZeroDivisionError)
        assert reports.get(timeout=5)[1] == "running"


def test_stop_publishes_what_is_held() -> None:
    sink = FakeSink()
    with running(sink, deliver="queue", queue_size=100) as worker:
        for seq in range(50):
            worker.offer(result(seq))
        worker.offer(state("offline"))
        assert worker.stop(5.0)
        assert len(sink.messages) == 51
        assert sink.closes >= 1
        worker.offer(result(99))  # too late: counted, not kept
        assert worker.failed == 1


def test_stop_gives_up_on_a_busy_sink_in_time() -> None:
    sink = FakeSink()
    sink.free = False
    with running(sink) as worker:
        worker.offer(result(1))
        assert worker.stop(0.2)
        assert worker.failed == 1


def test_stop_ends_a_long_backoff_at_once() -> None:
    sink, reports = FakeSink(), Reports()
    sink.open_faults.extend(SinkError("no", hint="") for _ in range(1000))
    with running(sink, reports) as worker:
        reports.get(timeout=5)
        assert worker.stop(5.0)
        assert worker.stop(5.0)


def test_stop_says_when_the_thread_hangs() -> None:
    sink = FakeSink()
    with running(sink) as worker, hung(sink, worker):
        assert not worker.stop(0.05)


def test_stop_before_start() -> None:
    assert SinkWorker("bus", FakeSink(), DeliverConfig(), lambda *_: None).stop(0.1)


def test_offer_never_waits_for_the_sink() -> None:
    sink = FakeSink()
    done = threading.Event()
    with running(sink) as worker, hung(sink, worker):

        def producer() -> None:
            for seq in range(2000):
                worker.offer(result(seq))
            done.set()

        thread = threading.Thread(target=producer)
        thread.start()
        assert done.wait(10)
        thread.join()


def test_stamps_results_when_they_are_published() -> None:
    seen: queue.SimpleQueue[Message] = queue.SimpleQueue()
    sink = FakeSink()
    with running(sink, on_published=seen.put) as worker:
        worker.offer(result(1))
        m = seen.get(timeout=5)
    assert isinstance(m.body, Result)
    assert m.body.age_ms > 0
    assert m.body.published_at >= m.body.captured_at
    assert stamp(e := event()) is e


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_backoff_grows_to_a_cap(attempt: int, unit: float) -> None:
    assert 0.05 <= backoff_s(attempt, unit) <= BACKOFF_MAX_S
    assert backoff_s(attempt, unit) <= backoff_s(attempt + 1, unit)


def test_backoff_starts_short_and_ends_at_the_cap() -> None:
    assert backoff_s(0, 1.0) == pytest.approx(0.1)
    assert backoff_s(20, 1.0) == BACKOFF_MAX_S
