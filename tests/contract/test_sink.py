"""What every sink does, the fake included."""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import zmq

from edged.client import subscribe
from edged.config.schema import DeliverConfig, Table
from edged.errors import EdgedError, SinkError
from edged.interfaces import Sink
from edged.messages import Body, Encoding, MessageClass, Result, decode
from edged.sinks.fake import FakeSink
from edged.sinks.jsonl import JsonLinesSink
from edged.sinks.mqtt import MqttSink
from edged.sinks.worker import SinkWorker
from edged.sinks.zeromq import ZmqSink
from tests.sinks.broker import Broker
from tests.sinks.make import IDENTITY, event, result, state

ALL: tuple[MessageClass, ...] = ("result", "state", "event")


@dataclass
class Rig:
    """A sink, what its receiver gets next, and a sink of the same kind that cannot open.

    PUB drops what it sends before it has heard of its subscriber: `settle` waits for that after open, and
    `hurried` receives without patience.
    """

    sink: Sink
    receive: Callable[[], Body]
    broken: Sink
    settle: Callable[[], None] = lambda: None
    hurried: Callable[[], Body] | None = None


def _fake(folder: Path, stack: ExitStack) -> Rig:
    sink, broken = FakeSink(), FakeSink()
    broken.open_faults.extend(SinkError("no", hint="yes") for _ in range(2))
    count = iter(range(1, 100))
    return Rig(sink, lambda: sink.wait_for(n := next(count))[n - 1].body, broken)


def _jsonl(folder: Path, stack: ExitStack) -> Rig:
    path = folder / "out.jsonl"
    path.touch()
    file = stack.enter_context(path.open("rb"))

    def receive() -> Body:
        while not (line := file.readline()):
            continue
        return decode(line)

    broken = JsonLinesSink("broken", JsonLinesSink.Options(path=str(folder / "no" / "out")), IDENTITY)
    return Rig(JsonLinesSink("file", JsonLinesSink.Options(path=str(path)), IDENTITY), receive, broken)


def _push(folder: Path, stack: ExitStack) -> Rig:
    endpoint, held = f"ipc://{folder}/push", stack.enter_context(socket.socket(socket.AF_UNIX))
    held.bind(f"{folder}/held")
    held.listen()
    pull = stack.enter_context(subscribe(endpoint, kinds=ALL, socket="pull", timeout_s=5))
    sink = ZmqSink("bus", ZmqSink.Options(socket="push", bind=endpoint), IDENTITY)

    def settle() -> None:
        while not sink.ready():  # until the puller has connected
            continue

    broken = ZmqSink("broken", ZmqSink.Options(bind=f"ipc://{folder}/held"), IDENTITY)
    return Rig(sink, lambda: next(pull), broken, settle)


def _pub(folder: Path, stack: ExitStack, framing: Literal["multipart", "single"]) -> Rig:
    """The receiver binds; the publisher connects."""
    endpoint, context = f"ipc://{folder}/pub", stack.enter_context(zmq.Context())
    sub: zmq.Socket[bytes] = stack.enter_context(context.socket(zmq.SUB))
    sub.setsockopt(zmq.SUBSCRIBE, b"")
    sub.bind(endpoint)
    sink = ZmqSink("bus", ZmqSink.Options(connect=endpoint, framing=framing), IDENTITY)

    def receive(timeout_ms: int = 5000) -> Body:
        if not sub.poll(timeout_ms):
            raise TimeoutError
        return decode(sub.recv_multipart()[-1])

    def settle() -> None:
        for seq in range(1000):
            sink.publish(event(seq))
            try:
                while getattr(receive(20), "seq", -1) != seq:
                    continue
            except TimeoutError:
                continue
            return

    broken = ZmqSink("broken", ZmqSink.Options(bind=f"ipc://{folder}/no/such"), IDENTITY)
    return Rig(sink, receive, broken, settle, partial(receive, 20))


def _mqtt(folder: Path, stack: ExitStack, encoding: Encoding, qos: Literal[0, 1]) -> Rig:
    broker = stack.enter_context(Broker(folder))
    options = MqttSink.Options(host="127.0.0.1", port=broker.port, qos=qos, encoding=encoding)
    messages = stack.enter_context(subscribe(broker.url, kinds=ALL, timeout_s=5))

    def receive() -> Body:
        """The next message but births and farewells, which are the sink's own and carry no pipelines."""
        return next(m for m in messages if getattr(m, "pipelines", True))

    broken = MqttSink("broken", MqttSink.Options(host="127.0.0.1", port=1), IDENTITY)
    return Rig(MqttSink("cloud", options, IDENTITY), receive, broken)


RIGS: dict[str, Callable[[Path, ExitStack], Rig]] = {
    "fake": _fake,
    "jsonl": _jsonl,
    "zmq-push": _push,
    "zmq-pub": partial(_pub, framing="multipart"),
    "zmq-pub-single": partial(_pub, framing="single"),
    "mqtt-json-qos1": partial(_mqtt, encoding="json", qos=1),
    "mqtt-msgpack-qos0": partial(_mqtt, encoding="msgpack", qos=0),
}


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        rig = RIGS[request.param](tmp_path, stack)
        stack.callback(rig.broken.close)
        stack.callback(rig.sink.close)
        yield rig


def test_delivers_every_class_of_message(rig: Rig) -> None:
    rig.sink.open()
    rig.settle()
    for m in (result(3), result(4, pipeline="back", detections=[]), event(7), state()):
        rig.sink.publish(m)
        assert rig.receive() == m.body


def test_opens_again_after_close(rig: Rig) -> None:
    for seq in range(2):
        rig.sink.open()
        rig.settle()
        m = event(5000 + seq)
        rig.sink.publish(m)
        assert rig.receive() == m.body
        rig.sink.close()


def test_close_is_legal_from_every_state(rig: Rig) -> None:
    rig.sink.close()
    rig.sink.open()
    rig.sink.close()
    rig.sink.close()


def test_publish_needs_open(rig: Rig) -> None:
    with pytest.raises(SinkError, match="not open"):
        rig.sink.publish(result())
    rig.sink.open()
    rig.sink.close()
    with pytest.raises(SinkError, match="not open"):
        rig.sink.publish(result())


def test_a_fault_at_open_is_a_sink_error_with_a_remedy(rig: Rig) -> None:
    for _ in range(2):
        with pytest.raises(SinkError) as caught:
            rig.broken.open()
        assert caught.value.message
        assert caught.value.hint
        rig.broken.close()


def test_declares_its_options_and_its_delivery(rig: Rig) -> None:
    kind = type(rig.sink)
    assert getattr(kind, "DELIVER", None) in ("latest", "queue")
    options = getattr(kind, "Options", None)
    assert isinstance(options, type)
    assert issubclass(options, Table)
    assert set(getattr(options, "PATHS", ())) <= set(options.__struct_fields__)


def test_serves_through_its_worker(rig: Rig) -> None:
    reports: queue.SimpleQueue[tuple[str, str, EdgedError | None]] = queue.SimpleQueue()
    worker = SinkWorker("w", rig.sink, DeliverConfig(result="queue"), lambda *r: reports.put(r))
    worker.start()
    try:
        assert reports.get(timeout=10) == ("w", "running", None)
        got: Body | None = None
        for seq in range(1000):  # PUB: again until the subscriber is heard
            worker.offer(result(seq))
            try:
                got = (rig.hurried or rig.receive)()
            except TimeoutError:
                continue
            break
    finally:
        assert worker.stop(5.0)
    assert isinstance(got, Result)
    assert got.age_ms > 0
    assert got.published_at >= got.captured_at
    assert (worker.published, worker.replaced, worker.failed) == (worker.offered, 0, 0)
