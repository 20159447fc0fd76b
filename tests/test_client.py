from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import zmq

from edged.client import subscribe
from edged.errors import SinkError
from edged.messages import Event, Message, Result, State, encode
from edged.sinks.mqtt import MqttOptions, MqttSink
from edged.sinks.zeromq import ZmqOptions, ZmqSink
from tests.sinks.broker import Broker
from tests.sinks.make import IDENTITY, event, free_port, result, state


class Publisher:
    """Publishes a list of messages over and over in a thread, until closed."""

    def __init__(self, options: ZmqOptions, messages: list[Message]) -> None:
        self._sink = ZmqSink("bus", options, IDENTITY)
        self._messages = messages
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with closing(self._sink):
            self._sink.open()
            while not self._stop.wait(0.002):
                for m in self._messages:
                    self._sink.publish(m)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def publish() -> Iterator[Callable[..., str]]:
    """Starts a publisher of messages; returns its address."""
    with ExitStack() as stack:

        def start(messages: list[Message], **options: object) -> str:
            endpoint = f"tcp://127.0.0.1:{free_port()}"
            stack.enter_context(closing(Publisher(ZmqOptions(bind=endpoint, **options), messages)))  # type: ignore[arg-type]
            return endpoint

        yield start


ALL_MESSAGES = [result(1, "front"), result(2, "back"), event(3), state()]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize("framing", ["multipart", "single"])
def test_three_lines(publish: Callable[..., str], encoding: str, framing: str) -> None:
    url = publish(ALL_MESSAGES, encoding=encoding, framing=framing)
    for r in subscribe(url, pipeline="back", timeout_s=10):
        assert isinstance(r, Result)
        assert r == ALL_MESSAGES[1].body
        break


def test_kinds(publish: Callable[..., str]) -> None:
    url = publish(ALL_MESSAGES)
    with subscribe(url, kinds=["event", "state"], timeout_s=10) as messages:
        seen = {type(next(messages)) for _ in range(10)}
    assert seen == {Event, State}
    with pytest.raises(ValueError, match="results"):
        subscribe(url, kinds=["results"])  # type: ignore[list-item]


def test_timeout() -> None:
    with subscribe(f"tcp://127.0.0.1:{free_port()}", timeout_s=0.02) as messages:
        assert messages.receive(0.0) is None
        assert messages.receive(0.01) is None
        with pytest.raises(TimeoutError):
            next(messages)


def test_timeout_while_others_publish(publish: Callable[..., str]) -> None:
    """Messages that are not wanted do not prolong the wait."""
    with subscribe(publish([event()]), timeout_s=0.1) as messages, pytest.raises(TimeoutError):
        next(messages)


def test_closed_by_break_exception_and_with(publish: Callable[..., str]) -> None:
    """What is left behind is found by the fixture that looks at threads and descriptors."""
    url = publish(ALL_MESSAGES)
    for _ in subscribe(url, timeout_s=10):
        break
    messages = subscribe(url, timeout_s=10)
    with pytest.raises(ZeroDivisionError), messages:
        next(messages).seq / 0
    messages.close()
    assert list(messages) == []
    with pytest.raises(ValueError, match="closed"):
        messages.receive()
    gc.collect()


def test_newest_skips_what_a_slow_reader_missed(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.bind(f"ipc://{tmp_path}/s")
        with subscribe(f"ipc://{tmp_path}/s", socket="pull", newest=True, timeout_s=10) as newest:
            for seq in range(100):
                for name in ("front", "back"):
                    m = result(seq, name)
                    push.send_multipart([m.topic.encode(), _packed(m)])
            seen: list[int] = []
            while seen.count(99) < 2:  # the first look may come before all have arrived
                seen.append(next(newest).seq)
        assert len(seen) < 100


def test_a_foreign_message_is_named_and_passed(tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.bind(f"ipc://{tmp_path}/s")
        with subscribe(f"ipc://{tmp_path}/s", socket="pull", timeout_s=10) as messages:
            push.send(b"{not json")
            push.send_multipart([b"temperature", b"21.5"])
            push.send_multipart([b"edged/d/p/result", b"\xff\xfe"])
            push.send_multipart([b"edged/d/text/result", b'{"type":"event","device":"\xff"}'])
            push.send_multipart([b"edged/d/deep/result", b'{"type":"event","x":' + b"[" * 100_000])
            m = result(8)
            push.send(_packed(m))
            for says in ("None", "temperature", "edged/d/p/result", "text", "deep"):
                with pytest.raises(SinkError, match=f"not a message of edged.*{says}") as caught:
                    next(messages)
                assert caught.value.hint
            assert next(messages) == m.body


@pytest.mark.parametrize(
    "url", ["", "udp://1.2.3.4:5", "127.0.0.1:5556", "tcp://nowhere", "ipc://" + "a" * 200]
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(SinkError) as caught:
        subscribe(url)
    assert caught.value.hint


def test_a_broker_that_is_not_there() -> None:
    with pytest.raises(SinkError, match="cannot be reached"):
        subscribe(f"mqtt://127.0.0.1:{free_port()}")


def test_mqtt_newest_and_through_a_restart(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        sink = MqttSink("cloud", MqttOptions(host="127.0.0.1", port=broker.port, qos=1), IDENTITY)
        with closing(sink), subscribe(broker.url, newest=True, timeout_s=20) as newest:
            sink.open()
            for seq in range(20):
                while not sink.ready():
                    continue
                sink.publish(result(seq))
            while next(newest).seq != 19:
                continue
            broker.stop()
            broker.start()
            sink.close()
            sink.open()
            message = None
            while message is None:  # until the subscriber is back
                sink.publish(result(50))
                message = newest.receive(0.05)
                while not sink.ready():
                    continue
            assert message.seq == 50
    for _ in range(2):
        newest.close()


def _packed(m: Message) -> bytes:
    return encode(m.body, "msgpack")
