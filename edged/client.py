"""Receive what edged publishes, typed, in another program or a notebook.

    from edged.client import subscribe
    for result in subscribe("tcp://127.0.0.1:5556", pipeline="front"):
        print(result.seq, result.age_ms, result.detections)

Works for ZeroMQ (tcp://, ipc://) and for MQTT brokers (mqtt://, mqtts://), for JSON and MessagePack, for
multipart and single framing. Not part of the daemon: nothing else in edged imports it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from math import ceil
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, cast, overload
from urllib.parse import unquote, urlsplit

import msgspec

from edged.errors import MissingPackage, SinkError
from edged.messages import Body, Event, MessageClass, Result, State, decode
from edged.sinks import tls

if TYPE_CHECKING:
    import zmq
    from paho.mqtt.client import Client, MQTTMessage

HELD = 1000  # messages kept for a reader that is behind; then the oldest go (`seq` shows the gap)
CONNECT_S = 5.0
_DEFAULT_KINDS: tuple[MessageClass, ...] = ("result",)
_CLASSES: dict[type, MessageClass] = {Result: "result", State: "state", Event: "event"}

M = TypeVar("M", bound="Result | State | Event")


@overload
def subscribe(
    url: str,
    *,
    pipeline: str | None = ...,
    timeout_s: float | None = ...,
    newest: bool = ...,
    prefix: str = ...,
    socket: Literal["sub", "pull"] = ...,
    ca: str | None = ...,
) -> Subscription[Result]: ...


@overload
def subscribe(
    url: str,
    *,
    kinds: Collection[MessageClass],
    pipeline: str | None = ...,
    timeout_s: float | None = ...,
    newest: bool = ...,
    prefix: str = ...,
    socket: Literal["sub", "pull"] = ...,
    ca: str | None = ...,
) -> Subscription[Body]: ...


def subscribe(
    url: str,
    *,
    kinds: Collection[MessageClass] = _DEFAULT_KINDS,
    pipeline: str | None = None,
    timeout_s: float | None = None,
    newest: bool = False,
    prefix: str = "edged",
    socket: Literal["sub", "pull"] = "sub",
    ca: str | None = None,
) -> Subscription[Any]:
    """Messages from `url`: tcp://HOST:PORT, ipc:///PATH, mqtt://[USER:PASSWORD@]HOST[:PORT] or mqtts://….

    `kinds`: which classes of message; `pipeline`: only this one's results. `timeout_s`: iteration raises
    TimeoutError after so long without a message. `newest`: skip what a slow reader has missed and give the
    newest of each pipeline. `prefix` and `ca` (a PEM file) are for MQTT, `socket` is for ZeroMQ.

    A ZeroMQ publisher may come and go. A broker must answer now (SinkError), later it may come and go too.
    """
    if unknown := set(kinds) - set(_CLASSES.values()):
        raise ValueError(f"kinds are {sorted(_CLASSES.values())}, not {sorted(unknown)}")
    shelf = _Shelf(frozenset(kinds), pipeline, newest)
    scheme = url.partition("://")[0]
    transport: _Transport
    if scheme in ("tcp", "ipc"):
        transport = _Zmq(url, shelf, socket)
    elif scheme in ("mqtt", "mqtts"):
        transport = _Mqtt(url, shelf, prefix, ca)
    else:
        raise SinkError(
            f"'{url}' is no address to subscribe to",
            hint="write tcp://HOST:PORT, ipc:///PATH, mqtt://HOST:PORT or mqtts://HOST:PORT",
        )
    return Subscription(transport, shelf, timeout_s)


class Subscription(Generic[M]):
    """An iterator and a context manager, for one thread. Closed at the end of `with`, or when nobody holds it."""

    def __init__(self, transport: _Transport, shelf: _Shelf, timeout_s: float | None) -> None:
        self._transport = transport
        self._shelf = shelf
        self._timeout_s = timeout_s
        self._closer = weakref.finalize(self, transport.close)  # also after a bare `for … break`

    def receive(self, timeout_s: float | None = None) -> M | None:
        """The next message; None when none comes in `timeout_s` (None: wait for ever).

        Raises SinkError for a payload that is not a message of edged; the next call goes on after it.
        """
        if not self._closer.alive:
            raise ValueError("receive() on a closed subscription")
        end = None if timeout_s is None else time.monotonic() + timeout_s
        wait_s: float | None = 0.0  # first what is there already
        while True:
            self._transport.fill(wait_s)
            item = self._shelf.take()
            if isinstance(item, SinkError):
                raise item
            if item is not None:
                return cast(M, item)
            wait_s = None if end is None else end - time.monotonic()
            if wait_s is not None and wait_s <= 0:
                return None

    def close(self) -> None:
        """Idempotent."""
        self._closer()

    def __iter__(self) -> Subscription[M]:
        return self

    def __next__(self) -> M:
        if not self._closer.alive:
            raise StopIteration
        message = self.receive(self._timeout_s)
        if message is None:
            raise TimeoutError(f"no message for {self._timeout_s} s")
        return message

    def __enter__(self) -> Subscription[M]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Transport(Protocol):
    def fill(self, timeout_s: float | None) -> None:
        """Put what there is on the shelf; wait up to `timeout_s` for something when the shelf is empty."""
        ...

    def close(self) -> None: ...


@dataclass
class _Shelf:
    """Received, decoded, wanted, not yet given out: a FIFO, or with `newest` one message for each topic."""

    kinds: frozenset[MessageClass]
    pipeline: str | None
    newest: bool

    def __post_init__(self) -> None:
        self.filled = threading.Condition()
        self._items: deque[tuple[Any, Body | SinkError]] = deque(maxlen=HELD)

    def put(self, topic: str | None, payload: bytes) -> None:
        """Decode and keep, if wanted. `topic` None: single framing; the payload says all itself."""
        kind = None if topic is None else topic.rpartition("/")[2]
        if kind in _CLASSES.values() and kind not in self.kinds:
            return  # spare the decoding
        key: Any = topic
        item: Body | SinkError
        try:
            item = decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
            item = SinkError(
                f"not a message of edged ({len(payload)} bytes on topic {topic}): {e}",
                hint="check the address; a publisher with a newer schema needs a newer edged here",
            )
        else:
            pipeline = getattr(item, "pipeline", None)
            if _CLASSES[type(item)] not in self.kinds:
                return
            if self.pipeline is not None and isinstance(item, Result) and pipeline != self.pipeline:
                return
            key = (type(item), item.device, pipeline)
        with self.filled:
            if self.newest:
                for held in [i for i in self._items if i[0] == key]:
                    self._items.remove(held)
            self._items.append((key, item))
            self.filled.notify()

    def take(self) -> Body | SinkError | None:
        with self.filled:
            return self._items.popleft()[1] if self._items else None

    def __len__(self) -> int:
        return len(self._items)


class _Zmq:
    """A SUB or PULL socket, read in the caller's thread."""

    DRAIN_S = 0.05  # `newest`: bounds one draining, so that a flood cannot keep us from giving any

    def __init__(self, url: str, shelf: _Shelf, socket: Literal["sub", "pull"]) -> None:
        try:
            import zmq
        except ImportError as e:
            raise MissingPackage("pyzmq", needed_by="edged.client", extra="ort") from e
        self._shelf = shelf
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.SUB if socket == "sub" else zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, HELD)
        try:
            if socket == "sub":
                # All topics: with single framing there is none to filter by, so filtering is the shelf's.
                self._socket.setsockopt(zmq.SUBSCRIBE, b"")
            self._socket.connect(url)
        except zmq.ZMQError as e:
            self.close()
            raise SinkError(
                f"cannot subscribe to {url}: {e.strerror}", hint="write tcp://HOST:PORT or ipc:///PATH"
            ) from e

    def fill(self, timeout_s: float | None) -> None:
        shelf = self._shelf
        if shelf and not shelf.newest:
            return
        if not self._socket.poll(None if timeout_s is None else max(0, ceil(timeout_s * 1e3))):
            return
        end = time.monotonic() + self.DRAIN_S
        while self._socket.poll(0):
            parts = self._socket.recv_multipart()
            shelf.put(parts[0].decode(errors="replace") if len(parts) > 1 else None, parts[-1])
            if not shelf.newest or time.monotonic() > end:
                return

    def close(self) -> None:
        self._socket.close()
        self._context.term()


class _Mqtt:
    """A client with paho's network thread, which fills the shelf, connects again and subscribes again."""

    def __init__(self, url: str, shelf: _Shelf, prefix: str, ca: str | None) -> None:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as e:
            raise MissingPackage("paho-mqtt", needed_by="edged.client", extra="ort") from e
        self._shelf = shelf
        parts = urlsplit(url)
        secure = parts.scheme == "mqtts"
        host, port = parts.hostname or "", parts.port or (8883 if secure else 1883)
        where = f"{host}:{port}"
        pipeline = shelf.pipeline or "+"
        levels = {"result": f"+/{pipeline}/result", "state": "+/state", "event": "+/event"}
        topics = [(f"{prefix}/{levels[kind]}", 1) for kind in sorted(shelf.kinds)]
        answered, refusal = threading.Event(), [""]

        # The callbacks hold the shelf, never the subscription: dropping that closes all this.
        def on_connect(client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
            if reason.is_failure:
                refusal[0] = str(reason)
                answered.set()
            else:
                client.subscribe(topics)

        def on_subscribe(client: Client, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
            refusal[0] = ", ".join(str(r) for r in reasons if r.is_failure)
            answered.set()

        def on_message(client: Client, userdata: Any, m: MQTTMessage) -> None:
            shelf.put(m.topic, bytes(m.payload))

        self._client: Client | None = Client(CallbackAPIVersion.VERSION2)
        self._client.connect_timeout = CONNECT_S
        self._client.reconnect_delay_set(1, 5)
        self._client.on_connect = on_connect
        self._client.on_subscribe = on_subscribe
        self._client.on_message = on_message
        if parts.username is not None:
            self._client.username_pw_set(
                unquote(parts.username), None if parts.password is None else unquote(parts.password)
            )
        try:
            if secure:
                self._client.tls_set_context(tls.context(ca))
            self._client.connect(host, port, keepalive=15)
        except (OSError, ValueError) as e:
            raise SinkError(
                f"the broker at {where} cannot be reached: {e}",
                hint="start it, or check host, port and (mqtts://) ca",
            ) from e
        self._client.loop_start()
        if not answered.wait(CONNECT_S) or refusal[0]:
            self.close()
            raise SinkError(
                f"the broker at {where} refuses: {refusal[0] or 'no answer'}",
                hint="check user and password: mqtt://USER:PASSWORD@HOST:PORT",
            )

    def fill(self, timeout_s: float | None) -> None:
        shelf = self._shelf
        with shelf.filled:
            shelf.filled.wait_for(lambda: len(shelf) > 0, timeout_s)

    def close(self) -> None:
        """Waits for the network thread: up to CONNECT_S when it is connecting again."""
        client, self._client = self._client, None  # paho closes its last descriptors when nobody holds it
        if client is not None:
            client.disconnect()
            client.loop_stop()
