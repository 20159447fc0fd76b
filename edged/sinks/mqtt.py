"""MQTT: live results, retained birth and Last Will, over paho-mqtt 2.

    worker's thread                         network thread (one per connection)
    open ── starts ───────────────────────► connect, then paho's loop until closed or broken
    publish ── paho's queue, ≤ WINDOW ────► socket
    ready ◄── acknowledged mids, fault ──── on_publish, on_disconnect

Why so. paho's own queue has no bound for QoS 0: while a broker is frozen it grows without end. So a message
counts as in flight until paho says that it is written (QoS 0) or acknowledged (QoS 1), and `ready` is False
while WINDOW are; the worker then keeps the newest result of each pipeline. A small send buffer keeps the
kernel from hoarding old results. The worker's backoff does the reconnecting; paho's own is off. The network
thread is ours because paho's loop_stop waits without a bound for a queue that a frozen broker never takes.

The client id is stable, so that a broker which still believes in an old connection of ours ends that one,
its Last Will included, before the birth of the new one; otherwise a late will would say "offline" of a
device that is online.

MQTT 5.0: https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from edged.config.schema import Seconds, Table
from edged.errors import MissingPackage, SinkError
from edged.messages import Encoding, Identity, Message, Result, State, encode, topic
from edged.sinks import tls

if TYPE_CHECKING:
    from paho.mqtt.client import Client

WINDOW = 16  # messages handed to paho and not yet done with
SEND_BUFFER = 128 * 1024  # bytes; the kernel doubles it
JOIN_S = 0.5
FAREWELL_S = 1.0  # how long a clean close waits for the broker to take "offline"


class MqttOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sinks.X] kind = "mqtt". The password comes from a file or an environment variable, never from here.

    `timeout_s`: how long a broker may take to answer a connection, and to take a message before it counts
    as stalled. `tls_ca`: the CA's certificate (default: the system's). `tls_cert` and `tls_key`: ours.
    `client_id` must be stable and one of a kind; default: edged-<device>-<name of the sink>.
    """

    PATHS: ClassVar[tuple[str, ...]] = ("password_file", "tls_ca", "tls_cert", "tls_key")

    host: str
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None  # default: 1883, with TLS 8883
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: str | None = None
    username: str | None = None
    password_file: str | None = None
    password_env: str | None = None
    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_insecure: bool = False  # do not check the broker's certificate
    qos: Literal[0, 1] = 0
    prefix: Annotated[str, Meta(pattern=r"^[^+#\s]+\Z")] = "edged"
    encoding: Encoding = "json"
    keepalive_s: Annotated[int, Meta(ge=1, le=65535)] = 15
    timeout_s: Seconds = 5.0

    def __post_init__(self) -> None:
        if not self.host or set(self.host) & set("/@ \t\r\n"):
            raise ValueError(
                "'host' is a name or an address, without '/', '@' and blanks; "
                "for a login there are username and password_env, else port and tls"
            )
        if self.password_file is not None and self.password_env is not None:
            raise ValueError("'password_file' and 'password_env' exclude each other; remove one")
        if self.username is None and (self.password_file or self.password_env):
            raise ValueError("a password needs a 'username'; add one")
        if not self.tls and (self.tls_ca or self.tls_cert or self.tls_key or self.tls_insecure):
            raise ValueError("'tls_…' has no effect without tls; add tls = true")
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError("'tls_key' needs 'tls_cert'; add it")


class _Connection:
    """One connection's shared state. The network thread writes it; the worker's thread reads it."""

    def __init__(self) -> None:
        self.answered = threading.Event()  # connected, or broken
        self.connected = False
        self.closing = False
        self.fault: SinkError | None = None
        self.done: deque[int] = deque()  # mids that the broker (QoS 0: the socket) has taken
        self.max_packet: int | None = None  # bytes that the broker says it takes (MQTT 5)
        self.window = WINDOW  # or less, when the broker's Receive Maximum says so (MQTT 5)

    def fail(self, error: SinkError) -> None:
        """Keep the first failure: it is the cause of those after it."""
        if self.fault is None:
            self.fault = error
        self.answered.set()


class MqttSink:
    """Used by one thread, its worker's. Owns the client and its network thread."""

    Options: ClassVar[type[MqttOptions]] = MqttOptions
    DELIVER: ClassVar[str] = "latest"
    REMOTE: ClassVar[bool] = True  # the daemon starts without its broker

    def __init__(self, name: str, options: MqttOptions, identity: Identity) -> None:
        self.name = name
        self._options = options
        self._identity = identity
        self._port = options.port or (8883 if options.tls else 1883)
        self._client_id = options.client_id or f"edged-{identity.device}-{name}"
        self._where = f"{options.host}:{self._port}"
        self._state_topic = topic(identity.device, "state", prefix=options.prefix)
        self._birth = self._state("online")
        self._client: Client | None = None
        self._thread: threading.Thread | None = None
        self._link = _Connection()
        self._in_flight: dict[int, Message | None] = {}  # by mid
        self._moved = 0.0  # monotonic: when a message was last done with
        self._again: list[Message] = []  # events a broken connection took along; sent once more

    @property
    def in_flight(self) -> int:
        """Messages handed to paho that it is not done with."""
        return len(self._in_flight)

    def open(self) -> None:
        """Connect, and publish the retained birth. Raises SinkError within about 2 * timeout_s."""
        self._link, self._in_flight = _Connection(), {}
        try:
            self._client = self._new_client(self._link)
            self._thread = threading.Thread(
                target=self._network, args=(self._client, self._link), name=f"mqtt-{self.name}", daemon=True
            )
            self._thread.start()
            if not self._link.answered.wait(self._options.timeout_s):
                raise self._error("does not answer", "check that a broker runs there and is not frozen")
            if self._link.fault is not None:
                raise self._link.fault
            self._moved = time.monotonic()
            self._send(self._state_topic, self._birth_now(), None)
            again, self._again = self._again, []
            for m in again:
                self._send(self._topic(m), m.body, None)
        except Exception:
            self.close()
            raise

    def ready(self) -> bool:
        """False while WINDOW messages are in flight. Raises SinkError when the connection is lost or stalled."""
        self._settle()
        if self._link.fault is not None:
            raise self._link.fault
        if self._in_flight and time.monotonic() - self._moved > self._options.timeout_s:
            raise self._error(
                f"has taken no message for {self._options.timeout_s:g} s",
                "look at the broker and the network; edged connects again by itself",
            )
        return len(self._in_flight) < self._link.window

    def publish(self, m: Message) -> None:
        """Hand over and return. Raises SinkError when not connected, or when not `ready`."""
        if self._client is None:
            raise SinkError(f"sink '{self.name}' is not open", hint="call open() first")
        if not self.ready():
            raise self._error(
                f"is busy: {len(self._in_flight)} messages in flight", "ask ready() before publish()"
            )
        if isinstance(m.body, State):
            self._birth = m.body
        self._send(self._topic(m), m.body, m)

    def close(self) -> None:
        """Say "offline", disconnect, end the network thread; without a word when the connection is lost.

        Waits at most FAREWELL_S + 2 * JOIN_S. A network thread that is still looking up or connecting is
        left behind: it ends by itself and sends nothing.
        """
        client, self._client = self._client, None
        thread, self._thread = self._thread, None
        link = self._link
        if client is not None and link.connected and link.fault is None:
            self._farewell(client)
        self._settle()
        self._again += [m for m in self._in_flight.values() if m is not None and m.cls == "event"]
        self._in_flight = {}
        if client is None or thread is None:
            return
        client.disconnect()  # before the flag, else the thread may end without sending it
        link.closing = True
        thread.join(JOIN_S)
        if thread.is_alive():  # a frozen broker takes not even the DISCONNECT
            _hang_up(client)
            thread.join(JOIN_S)

    # The worker's thread.

    def _new_client(self, link: _Connection) -> Client:
        """A client with its callbacks (which run in the network thread), its will and its credentials."""
        try:
            from paho.mqtt.client import Client, MQTTv5, MQTTv311
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as e:
            raise MissingPackage(
                "paho-mqtt", needed_by=f"sink '{self.name}' (kind = \"mqtt\")", extra="ort"
            ) from e
        o = self._options
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTv5 if o.protocol == "5" else MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = o.timeout_s
        client.will_set(self._state_topic, encode(self._state("offline"), o.encoding), qos=1, retain=True)
        if o.username is not None:
            client.username_pw_set(o.username, self._password())
        if o.tls:
            client.tls_set_context(self._tls_context())
            client.tls_insecure_set(o.tls_insecure)

        def on_connect(client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
            if reason.is_failure:
                link.fail(self._refused(str(reason)))
                return
            link.max_packet = getattr(properties, "MaximumPacketSize", None)
            link.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
            link.connected = True
            link.answered.set()

        def on_disconnect(client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
            link.fail(self._lost(str(reason), link.connected))

        def on_publish(client: Client, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
            if reason.is_failure:
                link.fail(
                    self._error(
                        f"refused a message: {reason}", "give this user the right to write the topics"
                    )
                )
            link.done.append(mid)

        def on_socket_open(client: Client, userdata: Any, sock: Any) -> None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        client.on_connect = on_connect
        client.on_disconnect = on_disconnect
        client.on_publish = on_publish
        client.on_socket_open = on_socket_open
        # With this callback set, publish() only queues: all writing is the network thread's.
        client.on_socket_register_write = lambda *_: None
        return client

    def _send(self, to: str, body: Any, m: Message | None) -> None:
        client = self._client
        assert client is not None
        state = isinstance(body, State)
        payload = encode(body, self._options.encoding)
        limit = self._link.max_packet
        if limit is not None and len(payload) + len(to) + 16 > limit:
            raise self._error(
                f"takes packets of up to {limit} bytes; a message on {to} has {len(payload)}",
                "raise the broker's max_packet_size, or publish less (tensors and masks are large)",
            )
        try:
            info = client.publish(to, payload, qos=1 if state else self._options.qos, retain=state)
        except ValueError as e:
            raise self._error(
                f"cannot be given the topic '{to}': {e}", "use a device id without + and #"
            ) from e
        if info.rc:
            raise self._lost(f"publish returned {info.rc!r}", True)
        if not self._in_flight:
            self._moved = time.monotonic()
        self._in_flight[info.mid] = m

    def _settle(self) -> None:
        """Strike off what paho is done with."""
        done = self._link.done
        while done:
            self._in_flight.pop(done.popleft(), None)
            self._moved = time.monotonic()

    def _farewell(self, client: Client) -> None:
        """Publish "offline" and wait until the broker has it; a clean disconnect drops the will."""
        payload = encode(self._state("offline"), self._options.encoding)
        info = client.publish(self._state_topic, payload, qos=1, retain=True)
        if info.rc == 0:
            info.wait_for_publish(FAREWELL_S)

    def _topic(self, m: Message) -> str:
        pipeline = m.body.pipeline if isinstance(m.body, Result) else ""
        return topic(self._identity.device, m.cls, pipeline, self._options.prefix)

    def _state(self, state: Literal["online", "offline"]) -> State:
        i = self._identity
        return State(device=i.device, session_id=i.session_id, state=state, at=time.time_ns())

    def _birth_now(self) -> State:
        return msgspec.structs.replace(self._birth, at=time.time_ns())

    def _password(self) -> str | None:
        o = self._options
        if o.password_env is not None:
            if o.password_env not in os.environ:
                raise SinkError(
                    f"sink '{self.name}': the environment has no '{o.password_env}' (password_env)",
                    hint="set it for the service, or use password_file",
                )
            return os.environ[o.password_env]
        if o.password_file is None:
            return None
        try:
            return Path(o.password_file).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as e:
            raise SinkError(
                f"sink '{self.name}': cannot read password_file: {e}",
                hint="create it, readable by the user who runs edged and by nobody else",
            ) from e

    def _tls_context(self) -> ssl.SSLContext:
        o = self._options
        try:
            context = tls.context(o.tls_ca, o.tls_cert, o.tls_key)
        except OSError as e:
            raise SinkError(
                f"sink '{self.name}': cannot load tls_ca, tls_cert or tls_key: {e}",
                hint="each must be a PEM file that the user who runs edged can read; the key without a passphrase",
            ) from e
        if o.tls_insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    # The network thread.

    def _network(self, client: Client, link: _Connection) -> None:
        try:
            client.connect(self._options.host, self._port, self._options.keepalive_s)
            while not link.closing and client.loop(1.0) == 0:
                pass
            while link.connected and client.want_write() and client.loop(JOIN_S) == 0:  # the DISCONNECT
                pass
            link.fail(self._lost("closed", link.connected))
        except OSError as e:
            link.fail(self._unreachable(e))
        except Exception as e:  # paho raises what its parser meets (a peer that does not speak MQTT)
            link.fail(self._error(f"does not speak MQTT ({type(e).__name__}: {e})", "check host and port"))

    # Errors, by cause.

    def _error(self, what: str, hint: str) -> SinkError:
        return SinkError(f"sink '{self.name}': the broker at {self._where} {what}", hint=hint)

    def _refused(self, reason: str) -> SinkError:
        hint = "check username and password_file or password_env"
        if "auth" not in reason.lower() and "password" not in reason.lower():
            hint = 'see the broker\'s log; protocol = "3.1.1" is for brokers without MQTT 5'
        return self._error(f"refuses the connection: {reason}", hint)

    def _lost(self, reason: str, connected: bool) -> SinkError:
        if not connected:
            return self._error(
                f"closed the connection before answering ({reason})",
                "a port for TLS needs tls = true; else see the broker's log",
            )
        return self._error(
            f"is gone ({reason})",
            f"look at the broker and the network; if it repeats, at other clients with client_id '{self._client_id}'",
        )

    def _unreachable(self, e: OSError) -> SinkError:
        if isinstance(e, ssl.SSLCertVerificationError):
            return self._error(
                f"has a certificate that does not verify: {e.verify_message}",
                "set tls_ca to the CA that signed it, and host to a name in the certificate",
            )
        if isinstance(e, ssl.SSLError):
            return self._error(f"does not agree on TLS: {e.reason or e}", "check port, tls_cert and tls_key")
        if isinstance(e, socket.gaierror):
            return self._error(f"is not found: {e.strerror}", "check host, and the machine's name servers")
        if isinstance(e, TimeoutError):
            return self._error("does not answer", "check host and port, the network and the firewall")
        return self._error(
            f"cannot be reached: {e.strerror or e}", "start the broker, or check host and port"
        )


def _hang_up(client: Client) -> None:
    """Shut the socket down, so that the network thread wakes; it then closes it. Legal from any thread."""
    sock = client.socket()
    if isinstance(sock, socket.socket):
        try:
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's, which would drop the TLS state
        except OSError:
            return  # already gone
