from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import pytest
import zmq

from edged.errors import SinkError
from edged.messages import Result, decode
from edged.sinks.zeromq import ZmqOptions, ZmqSink
from tests.sinks.make import IDENTITY, event, free_port, result


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def sink() -> Iterator[Callable[..., ZmqSink]]:
    """Makes sinks from options and closes them."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(closing(ZmqSink("bus", ZmqOptions(**options), IDENTITY)))


def test_port_in_use_names_the_endpoint(sink: Callable[..., ZmqSink]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        endpoint = f"tcp://127.0.0.1:{held.getsockname()[1]}"
        s = sink(bind=endpoint)
        with pytest.raises(
            SinkError, match=rf"'bus': cannot bind {endpoint}: Address already in use"
        ) as caught:
            s.open()
        assert "ss -ltnp" in caught.value.hint
        s.close()


def test_a_live_ipc_path_is_not_taken_away_and_a_stale_one_is_replaced(
    sink: Callable[..., ZmqSink], tmp_path: Path
) -> None:
    endpoint = f"ipc://{tmp_path}/s"
    first, second = sink(bind=endpoint), sink(bind=endpoint)
    first.open()
    with pytest.raises(SinkError, match="already in use"):
        second.open()
    first.close()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{tmp_path}/t")
    s = sink(bind=f"ipc://{tmp_path}/t")
    s.open()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bind": "tcp://9.9.9.9:5556"}, "0.0.0.0"),
        ({"bind": "ipc:///no/such/dir/s"}, "create the directory"),
        ({"bind": "ipc:///" + "a" * 200}, "107 bytes"),
    ],
)
def test_a_bind_that_fails_has_a_remedy(
    sink: Callable[..., ZmqSink], options: dict[str, str], says: str
) -> None:
    s = sink(**options)
    with pytest.raises(SinkError) as caught:
        s.open()
    assert says in caught.value.hint


@pytest.mark.parametrize(
    "table",
    [
        {"bind": "tcp://127.0.0.1:99999"},
        {"bind": "tcp://*:0"},
        {"bind": "127.0.0.1:5556"},
        {"bind": "ipc://"},
        {"bind": "tcp://127.0.0.1:1", "connect": "tcp://127.0.0.1:2"},
        {"hwm": 0},
        {"hwm": 1 << 31},
        {"linger_ms": 60_000},
        {"binds": "tcp://127.0.0.1:1"},
    ],
)
def test_options_that_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, ZmqOptions)


@pytest.mark.parametrize(
    "endpoint", ["tcp://[::1]:5556", "tcp://eth0:5556", "tcp://*:5556", "ipc:///run/edged/bus"]
)
def test_endpoints_that_are_taken(endpoint: str) -> None:
    assert ZmqOptions(bind=endpoint).endpoint == endpoint


def test_works_over_tcp_with_topics(
    sink: Callable[..., ZmqSink], context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    s = sink(bind=endpoint, encoding="json")
    s.open()
    with context.socket(zmq.SUB) as sub:
        sub.setsockopt(zmq.SUBSCRIBE, b"edged/robot-7/front/")
        sub.connect(endpoint)
        while not sub.poll(10):
            s.publish(event())  # filtered out by its topic
            s.publish(result(3))
        topic, payload = sub.recv_multipart()
    assert topic == b"edged/robot-7/front/result"
    assert payload[:1] == b"{"
    body = decode(payload)
    assert isinstance(body, Result)
    assert body.seq == 3


def test_single_framing_suits_conflate(
    sink: Callable[..., ZmqSink], context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path
) -> None:
    endpoint = f"ipc://{tmp_path}/s"
    s = sink(bind=endpoint, framing="single")
    s.open()
    with context.socket(zmq.SUB) as sub:
        sub.setsockopt(zmq.CONFLATE, 1)
        sub.setsockopt(zmq.SUBSCRIBE, b"")
        sub.connect(endpoint)
        seq = 0
        while not sub.poll(10):
            s.publish(result(seq))
            seq += 1
        sub.recv()
        for seq in range(1000, 1050):  # fewer than the high-water mark
            s.publish(result(seq))
        newest, seen = -1, 0
        while newest != 1049:  # the receiver may look before all have arrived
            assert sub.poll(5000)
            body = decode(sub.recv())
            assert isinstance(body, Result)
            newest, seen = body.seq, seen + 1
        assert seen < 50


def test_push_without_a_puller_is_not_ready_and_never_waits(
    sink: Callable[..., ZmqSink], tmp_path: Path
) -> None:
    s = sink(socket="push", bind=f"ipc://{tmp_path}/s", hwm=10)
    s.open()
    assert not s.ready()
    start = time.monotonic()
    for seq in range(100):
        s.publish(result(seq))
    s.close()
    assert time.monotonic() - start < 2
    assert s.dropped == 100


def test_push_to_a_puller_that_does_not_read_fills_up_and_close_is_bounded(
    sink: Callable[..., ZmqSink], context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path
) -> None:
    s = sink(socket="push", bind=f"ipc://{tmp_path}/s", hwm=10, linger_ms=100)
    s.open()
    with context.socket(zmq.PULL) as pull:
        pull.setsockopt(zmq.RCVHWM, 1)
        pull.connect(f"ipc://{tmp_path}/s")
        while not s.ready():
            continue
        big = result(1, invalid_reason="x" * 100_000)
        sent = 0
        while s.ready() and sent < 1000:
            s.publish(big)
            sent += 1
        assert sent < 1000
        start = time.monotonic()
        s.close()
        assert time.monotonic() - start < 2


def test_pub_to_a_subscriber_that_does_not_read_never_waits(
    sink: Callable[..., ZmqSink], context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path
) -> None:
    s = sink(bind=f"ipc://{tmp_path}/s", hwm=2)
    s.open()
    with context.socket(zmq.SUB) as sub:
        sub.setsockopt(zmq.SUBSCRIBE, b"")
        sub.setsockopt(zmq.RCVHWM, 1)
        sub.connect(f"ipc://{tmp_path}/s")
        while not sub.poll(10):
            s.publish(event())
        big = result(1, invalid_reason="x" * 100_000)
        start = time.monotonic()
        for _ in range(300):
            assert s.ready()
            s.publish(big)
        assert time.monotonic() - start < 5
