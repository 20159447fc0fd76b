"""ZeroMQ: PUB (any number of subscribers) or PUSH (work shared among pullers), bound or connected.

Wire: `framing = "multipart"` sends [topic, payload], so that subscribers filter by topic prefix in the
library. `framing = "single"` sends the payload alone: what a receiver with ZMQ_CONFLATE needs, since
CONFLATE cannot carry multipart; the payload names its device, pipeline and type itself.

The sink never waits. PUB drops for a subscriber that is `hwm` messages behind. PUSH is `ready` only while
a puller has room; until then the worker keeps the newest result of each pipeline.
Every option of the socket is described in https://libzmq.readthedocs.io/en/latest/zmq_setsockopt.html
"""

from __future__ import annotations

import errno
import os
import re
import socket as sockets
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from edged.config.schema import QueueLength, Table
from edged.errors import MissingPackage, SinkError
from edged.messages import Encoding, Identity, Message, encode

if TYPE_CHECKING:
    import zmq

DEFAULT_BIND = "tcp://127.0.0.1:5556"
_TCP = re.compile(r"tcp://[^\s:;,/]+:(\d{1,5})|tcp://\[[^\s\]]+\]:(\d{1,5})")

_HINTS = {
    errno.EADDRINUSE: "stop the program that holds it (ss -ltnp shows it), or set another endpoint",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address: set 0.0.0.0 or one it has",
    errno.ENODEV: "no interface of this machine has that name or address: set 0.0.0.0 or one it has",
    errno.EACCES: "this user may not use it: set a port above 1023 or a path it may write to",
    errno.ENOENT: "create the directory of the socket first",
    errno.EINVAL: "write it as tcp://HOST:PORT or ipc:///PATH",
    errno.EPROTONOSUPPORT: "write it as tcp://HOST:PORT or ipc:///PATH",
    errno.ENAMETOOLONG: "a socket's path has at most 107 bytes: set a shorter one",
}


def check_endpoint(endpoint: str) -> None:
    """ValueError for what ZeroMQ would misread: it takes a port's lower 16 bits and calls 99999 fine."""
    if endpoint.startswith("ipc://") and len(endpoint) > len("ipc://"):
        return
    tcp = _TCP.fullmatch(endpoint)
    if not tcp or not 1 <= int(tcp[1] or tcp[2]) <= 65535:
        raise ValueError(
            f"'{endpoint}' is no endpoint; write tcp://HOST:PORT (port 1 to 65535) or ipc:///PATH"
        )


class ZmqOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sinks.X] kind = "zmq". `bind` (default tcp://127.0.0.1:5556) or `connect`, not both.

    `hwm`: messages queued for each peer. `linger_ms`: how long closing waits for what is unsent.
    """

    socket: Literal["pub", "push"] = "pub"
    bind: str | None = None
    connect: str | None = None
    hwm: QueueLength = 100
    framing: Literal["multipart", "single"] = "multipart"
    encoding: Encoding = "msgpack"
    linger_ms: Annotated[int, Meta(ge=0, le=2000)] = 300

    def __post_init__(self) -> None:
        if self.bind is not None and self.connect is not None:
            raise ValueError("'bind' and 'connect' exclude each other; remove one")
        check_endpoint(self.endpoint)

    @property
    def endpoint(self) -> str:
        return self.connect or self.bind or DEFAULT_BIND


class ZmqSink:
    """Used by one thread, its worker's. Owns its context and socket."""

    Options: ClassVar[type[ZmqOptions]] = ZmqOptions
    DELIVER: ClassVar[str] = "latest"

    def __init__(self, name: str, options: ZmqOptions, identity: Identity) -> None:
        self.name = name
        self.dropped = 0  # published while not ready
        self._options = options
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None

    def open(self) -> None:
        """Raises SinkError (port in use, no such address) and MissingPackage."""
        try:
            import zmq
        except ImportError as e:
            raise MissingPackage(
                "pyzmq", needed_by=f"sink '{self.name}' (kind = \"zmq\")", extra="ort"
            ) from e
        o = self._options
        try:
            self._context = zmq.Context()
            self._socket = self._context.socket(zmq.PUB if o.socket == "pub" else zmq.PUSH)
            self._socket.setsockopt(zmq.LINGER, o.linger_ms)
            self._socket.setsockopt(zmq.SNDHWM, o.hwm)
            self._socket.setsockopt(zmq.IMMEDIATE, 1)  # no queue for a peer that is not there
            self._socket.setsockopt(zmq.HEARTBEAT_IVL, 5_000)  # find peers that went without a word
            self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15_000)
            if o.connect is not None:
                self._socket.connect(o.connect)
            else:
                self._refuse_used_path(o.endpoint)
                self._socket.bind(o.endpoint)
        except zmq.ZMQError as e:
            self.close()
            raise self._error(e.errno or 0) from e

    def ready(self) -> bool:
        """PUB: always. PUSH: when a puller has room."""
        import zmq

        events = zmq.POLLOUT if self._socket is None else int(self._socket.getsockopt(zmq.EVENTS))
        return bool(events & zmq.POLLOUT)

    def publish(self, m: Message) -> None:
        """Never waits: a message that no peer has room for is dropped and counted."""
        import zmq

        if self._socket is None:
            raise SinkError(f"sink '{self.name}' is not open", hint="call open() first")
        payload = encode(m.body, self._options.encoding)
        parts = [payload] if self._options.framing == "single" else [m.topic.encode(), payload]
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            self.dropped += 1
        except zmq.ZMQError as e:
            raise SinkError(
                f"sink '{self.name}': {self._options.endpoint}: {e.strerror}",
                hint="the socket is opened again by itself; if this repeats, check the receivers",
            ) from e

    def close(self) -> None:
        """Waits at most `linger_ms` for what is unsent."""
        socket, self._socket = self._socket, None
        context, self._context = self._context, None
        if socket is not None:
            socket.close()
        if context is not None:
            context.term()

    def _refuse_used_path(self, endpoint: str) -> None:
        """Binding to ipc:// would take a path away from the program that listens there: ask first."""
        path = endpoint.removeprefix("ipc://")
        if path == endpoint or path.startswith("@") or not os.path.exists(path):
            return
        with sockets.socket(sockets.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(path)
            except OSError:
                return  # nobody listens: a stale file, which bind replaces
        self.close()
        raise self._error(errno.EADDRINUSE)

    def _error(self, number: int) -> SinkError:
        import zmq

        verb = "connect to" if self._options.connect is not None else "bind"
        return SinkError(
            f"sink '{self.name}': cannot {verb} {self._options.endpoint}: {zmq.strerror(number)}",
            hint=_HINTS.get(number, "check the endpoint"),
        )
