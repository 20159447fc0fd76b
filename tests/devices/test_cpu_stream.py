"""CpuStream: order, events, errors, bounds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from edged.devices.cpu_stream import MAX_QUEUED, CpuStream
from edged.errors import DeviceError


@pytest.fixture
def stream() -> Iterator[CpuStream]:
    s = CpuStream("runner front")
    yield s
    s.close()


def hold(started: threading.Event, gate: threading.Event) -> None:
    """Work that has begun and does not end before `gate`."""
    started.set()
    gate.wait(10)


def fail(text: str = "broken") -> None:
    raise ValueError(text)


def test_calls_run_in_order_on_one_named_thread(stream: CpuStream) -> None:
    seen: list[tuple[int, str]] = []
    for i in range(20):
        stream.call(lambda n: seen.append((n, threading.current_thread().name)), i)
    stream.synchronize()
    assert seen == [(i, "runner front") for i in range(20)]


def test_event_is_done_when_the_work_before_it_is(stream: CpuStream) -> None:
    gate = threading.Event()
    first = stream.record()
    stream.call(gate.wait, 10)
    second = stream.record()
    assert first.wait(10)
    assert not second.wait(0)
    assert not second.wait(0.001)
    gate.set()
    assert second.wait(10)
    assert second.wait(0)


def test_negative_timeout_is_no_wait(stream: CpuStream) -> None:
    gate = threading.Event()
    stream.call(gate.wait, 10)
    event = stream.record()
    assert not event.wait(-1)
    gate.set()


def test_an_error_is_raised_once_by_the_next_event(stream: CpuStream) -> None:
    seen: list[str] = []
    before = stream.record()
    stream.call(fail)
    stream.call(seen.append, "skipped")
    event = stream.record()
    stream.call(seen.append, "ran")
    after = stream.record()
    assert before.wait(10)
    with pytest.raises(ValueError, match="broken"):
        event.wait(10)
    assert event.wait(0)
    assert after.wait(10)
    assert seen == ["ran"]


def test_synchronize_raises_and_the_stream_goes_on(stream: CpuStream) -> None:
    stream.call(fail)
    with pytest.raises(ValueError, match="broken"):
        stream.synchronize()
    stream.synchronize()


def test_the_first_of_two_errors_is_reported(stream: CpuStream) -> None:
    stream.call(fail, "first")
    stream.call(fail, "second")
    with pytest.raises(ValueError, match="first"):
        stream.synchronize()


def test_queue_is_bounded(stream: CpuStream) -> None:
    gate, started = threading.Event(), threading.Event()
    stream.call(hold, started, gate)
    assert started.wait(10)
    for _ in range(MAX_QUEUED):
        stream.call(int)
    with pytest.raises(DeviceError, match="runner front: 64 pieces of work are waiting"):
        stream.call(int)
    gate.set()


def test_close_skips_work_that_has_not_begun() -> None:
    stream = CpuStream("closing")
    gate, started = threading.Event(), threading.Event()
    seen: list[str] = []
    stream.call(hold, started, gate)
    done = stream.record()
    stream.call(seen.append, "skipped")
    cut = stream.record()
    assert started.wait(10)
    closer = threading.Thread(target=stream.close)
    closer.start()
    while not stream.closed:
        time.sleep(0)
    gate.set()
    closer.join()
    assert done.wait(0)
    with pytest.raises(DeviceError, match="closed before its work ran"):
        cut.wait(0)
    assert not seen


def test_nothing_can_be_queued_after_close() -> None:
    stream = CpuStream("closed")
    stream.close()
    stream.close()
    for queue in (stream.record, stream.synchronize, lambda: stream.call(int)):
        with pytest.raises(DeviceError, match="closed is closed"):
            queue()


def test_an_error_that_no_event_took_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    stream = CpuStream("untold")
    started, gate = threading.Event(), threading.Event()

    def begin_and_fail() -> None:
        hold(started, gate)
        fail()

    stream.call(begin_and_fail)
    assert started.wait(10)
    gate.set()
    with caplog.at_level(logging.ERROR):
        stream.close()
    assert "untold" in caplog.text
    assert "broken" in caplog.text


def test_an_idle_stream_holds_no_argument(stream: CpuStream) -> None:
    class Frame:
        gone = False

        def __del__(self) -> None:
            Frame.gone = True

    stream.call(lambda frame: None, Frame())
    stream.synchronize()
    stream.synchronize()  # the worker has let go of the item before it takes the next
    assert Frame.gone
