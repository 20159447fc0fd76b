from __future__ import annotations

import queue
import resource
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import pytest

from edged.client import Subscription, subscribe
from edged.config.schema import DeliverConfig
from edged.errors import EdgedError, SinkError
from edged.messages import Body, Event, PipelineState, Result, State
from edged.sinks.mqtt import WINDOW, MqttOptions, MqttSink, _hang_up
from edged.sinks.worker import SinkWorker
from tests.sinks.broker import Broker
from tests.sinks.make import IDENTITY, event, free_port, result, state

Make = Callable[..., MqttSink]


@pytest.fixture
def sink() -> Iterator[Make]:
    """Makes sinks from options and closes them."""
    with ExitStack() as stack:

        def make(name: str = "cloud", host: str = "127.0.0.1", **options: object) -> MqttSink:
            checked = msgspec.convert({"host": host, **options}, MqttOptions)
            return stack.enter_context(closing(MqttSink(name, checked, IDENTITY)))

        yield make


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        yield broker


def states(broker: Broker, user: str = "") -> Subscription[Body]:
    return subscribe(f"mqtt://{user}127.0.0.1:{broker.port}", kinds=["state"], timeout_s=10)


def retained(broker: Broker) -> State:
    """What a newcomer sees of the device."""
    with states(broker) as seen:
        m = next(seen)
    assert isinstance(m, State)
    return m


def next_state(seen: Subscription[Body]) -> str:
    m = next(seen)
    assert isinstance(m, State)
    return m.state


def resident() -> int:
    """Bytes of this process in memory (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def drop(sink: MqttSink) -> None:
    """What pulling the plug does: the socket ends without a DISCONNECT."""
    assert sink._client is not None
    _hang_up(sink._client)


def wait_for_fault(sink: MqttSink) -> SinkError:
    try:
        while True:
            sink.ready()
    except SinkError as e:
        return e


def wait_until_taken(sink: MqttSink) -> None:
    """Until the broker has all that was handed to it: `open` and `publish` only queue."""
    end = time.monotonic() + 10
    while sink.in_flight:
        assert time.monotonic() < end, "the broker takes nothing"
        sink.ready()
        time.sleep(0.001)


def test_birth_and_farewell_are_retained(broker: Broker, sink: Make) -> None:
    s = sink(port=broker.port)
    s.open()
    birth = retained(broker)
    assert (birth.state, birth.session_id, birth.device) == ("online", "session-1", "robot-7")
    s.close()
    assert retained(broker).state == "offline"
    assert "disconnected" in broker.log()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_last_will_when_the_connection_breaks(broker: Broker, sink: Make, protocol: str) -> None:
    s = sink(port=broker.port, protocol=protocol)
    with states(broker) as seen:
        s.open()
        assert next_state(seen) == "online"
        drop(s)
        assert next_state(seen) == "offline"
        error = wait_for_fault(s)
        assert "is gone" in error.message
        s.close()
        s.open()
        assert next_state(seen) == "online"
    assert retained(broker).state == "online"


def test_the_birth_carries_the_last_state_published(broker: Broker, sink: Make) -> None:
    s = sink(port=broker.port)
    s.open()
    s.publish(state("online"))
    drop(s)
    wait_for_fault(s)
    s.close()
    s.open()
    wait_until_taken(s)
    assert retained(broker).pipelines == {"front": PipelineState("running")}


def test_results_are_not_retained_and_the_prefix_is_used(broker: Broker, sink: Make) -> None:
    s = sink(port=broker.port, prefix="plant/hall-3", qos=1)
    s.open()
    with subscribe(broker.url, prefix="plant/hall-3", pipeline="front", timeout_s=10) as seen:
        s.publish(result(1, "back"))
        s.publish(result(2, "front"))
        assert next(seen).seq == 2
    with subscribe(broker.url, prefix="plant/hall-3") as late:
        assert late.receive(0.05) is None


def test_a_result_is_in_flight_until_it_is_acknowledged(broker: Broker, sink: Make) -> None:
    s = sink(port=broker.port, qos=1)
    s.open()
    broker.freeze()
    while s.ready():
        s.publish(result(1))
    assert s.in_flight == WINDOW
    with pytest.raises(SinkError, match="is busy"):
        s.publish(result(2))
    broker.thaw()
    while not s.ready() or s.in_flight:
        continue


def test_events_that_a_broken_connection_took_along_are_sent_once_more(broker: Broker, sink: Make) -> None:
    s = sink(port=broker.port, qos=1)
    s.open()
    broker.freeze()
    s.publish(event(41))
    s.publish(result(42))
    drop(s)
    wait_for_fault(s)
    s.close()
    broker.stop()
    broker.start()
    with subscribe(broker.url, kinds=("event", "result"), timeout_s=10) as seen:
        s.open()
        m = next(seen)
        assert isinstance(m, Event)
        assert m.seq == 41
        assert seen.receive(0.05) is None


def test_reconnects_after_a_restart_of_the_broker(broker: Broker, sink: Make) -> None:
    reports: queue.SimpleQueue[tuple[str, str, EdgedError | None]] = queue.SimpleQueue()
    worker = SinkWorker(
        "cloud", sink(port=broker.port), DeliverConfig(), lambda *r: reports.put(r), settle_s=0.0
    )
    worker.start()
    try:
        assert reports.get(timeout=10)[1] == "running"
        broker.stop()
        name, now, error = reports.get(timeout=10)  # nothing is published: the worker asks the sink
        assert (name, now) == ("cloud", "faulted")
        assert isinstance(error, SinkError)
        worker.offer(result(1))
        worker.offer(result(2))
        broker.start()
        assert reports.get(timeout=20)[1] == "running"
        assert retained(broker).state == "online"
        with subscribe(broker.url, timeout_s=10) as seen:
            worker.offer(result(3))
            assert next(seen).seq in (2, 3)
    finally:
        assert worker.stop(5.0)
    assert retained(broker).state == "offline"
    assert (worker.offered, worker.failed) == (3, 0)


def test_a_frozen_broker_neither_blocks_nor_grows(broker: Broker, sink: Make) -> None:
    """Results of 10 KB, as fast as can be, against a stopped broker: bounded memory, offers that never wait."""
    s = sink(port=broker.port, timeout_s=2.0)  # so long would an offer take that waits for the broker
    reports: queue.SimpleQueue[tuple[str, str, EdgedError | None]] = queue.SimpleQueue()
    worker = SinkWorker("cloud", s, DeliverConfig(), lambda *r: reports.put(r), settle_s=0.0)
    worker.start()
    try:
        assert reports.get(timeout=10)[1] == "running"
        broker.freeze()
        before = resident()
        longest = 0.0
        big = "x" * 10_000
        while reports.empty():  # until the sink finds that the broker takes nothing
            start = time.perf_counter()
            worker.offer(result(1, invalid_reason=big))
            longest = max(longest, time.perf_counter() - start)
        _, now, error = reports.get(timeout=10)
        assert now == "faulted"
        assert "has taken no message" in str(error)
        for seq in range(2000):
            worker.offer(result(seq, invalid_reason=big))
        assert worker.held <= 1
        assert s.in_flight <= WINDOW
        assert resident() - before < 16 << 20
        assert longest < 1.0
        broker.thaw()
        assert reports.get(timeout=20)[1] == "running"
        with subscribe(broker.url, timeout_s=10) as seen:
            worker.offer(result(7777))
            while next(seen).seq != 7777:
                continue
    finally:
        broker.thaw()
        assert worker.stop(5.0)


def test_close_is_bounded_while_the_broker_is_frozen(broker: Broker, sink: Make) -> None:
    s = sink(port=broker.port)
    s.open()
    broker.freeze()
    while s.ready():
        s.publish(result(1, invalid_reason="x" * 1_000_000))
    start = time.monotonic()
    s.close()
    assert time.monotonic() - start < 4
    assert not [t for t in threading.enumerate() if t.name == "mqtt-cloud"]


def test_opening_against_a_frozen_broker_is_bounded(broker: Broker, sink: Make) -> None:
    s = sink(port=broker.port, timeout_s=0.2)
    broker.freeze()
    with pytest.raises(SinkError, match="does not answer"):
        s.open()
    s.close()
    broker.thaw()


# Refusals, each by name.


def test_wrong_password(tmp_path: Path, sink: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    passwd = shutil.which("mosquitto_passwd")
    if passwd is None:
        pytest.skip("mosquitto_passwd is absent: apt-get install mosquitto")
    users = tmp_path / "users"
    subprocess.run([passwd, "-b", "-c", str(users), "robot", "right"], check=True, capture_output=True)
    (tmp_path / "wrong").write_text("wrong\n")
    (tmp_path / "right").write_text("right\n")
    monkeypatch.setenv("EDGED_TEST_PASSWORD", "right")
    with Broker(tmp_path, "allow_anonymous false", f"password_file {users}") as broker:
        for protocol in ("5", "3.1.1"):
            s = sink(
                port=broker.port, username="robot", password_file=str(tmp_path / "wrong"), protocol=protocol
            )
            with pytest.raises(SinkError, match=r"refuses the connection: .*(uthor|password)") as caught:
                s.open()
            assert "password_file" in caught.value.hint
        for right in ({"password_file": str(tmp_path / "right")}, {"password_env": "EDGED_TEST_PASSWORD"}):
            s = sink(port=broker.port, username="robot", **right)
            s.open()
            s.close()
        with pytest.raises(SinkError, match="refuses"):
            subscribe(f"mqtt://robot:wrong@127.0.0.1:{broker.port}")
        with states(broker, "robot:right@") as seen:
            assert next_state(seen) == "offline"


def test_a_password_that_cannot_be_had(sink: Make, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot read password_file"):
        sink(username="u", password_file=str(tmp_path / "absent")).open()
    with pytest.raises(SinkError, match="EDGED_NO_SUCH"):
        sink(username="u", password_env="EDGED_NO_SUCH").open()


def test_a_topic_that_the_broker_denies(tmp_path: Path, sink: Make) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite other/#\n")
    with Broker(tmp_path, f"acl_file {acl}") as broker:
        s = sink(port=broker.port, qos=1)
        s.open()
        error = wait_for_fault(s)
        assert "refused a message" in error.message
        assert "right to write" in error.hint


def test_a_message_larger_than_the_broker_takes(tmp_path: Path, sink: Make) -> None:
    with Broker(tmp_path, "max_packet_size 2000") as broker:
        s = sink(port=broker.port)
        s.open()
        s.publish(result(1))
        with pytest.raises(SinkError, match="up to 2000 bytes"):
            s.publish(result(1, invalid_reason="x" * 3000))


def test_another_client_with_our_id(broker: Broker, sink: Make) -> None:
    first, second = (sink(port=broker.port, client_id="same") for _ in range(2))
    first.open()
    second.open()
    error = wait_for_fault(first)
    assert "client_id 'same'" in error.hint


def test_nothing_listens(sink: Make) -> None:
    port = free_port()
    with pytest.raises(SinkError, match=rf"127\.0\.0\.1:{port} cannot be reached: .*refused"):
        sink(port=port).open()


def test_a_host_without_an_address(sink: Make) -> None:
    with pytest.raises(SinkError, match="is not found") as caught:
        sink(host="no-such-host.invalid").open()
    assert "check host" in caught.value.hint


def test_a_peer_that_does_not_speak_mqtt(sink: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as peer:
                peer.recv(100)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SinkError, match="broker at"):
            sink(port=server.getsockname()[1], timeout_s=1.0).open()
        thread.join()


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"host": "h", "port": 0},
        {"host": ""},
        {"host": "mqtt://h"},
        {"host": "u:hunter2@h"},
        {"host": "a b"},
        {"host": "h", "timeout_s": 1e12},
        {"host": "h", "qos": 2},
        {"host": "h", "password": "secret"},
        {"host": "h", "password_file": "f"},
        {"host": "h", "username": "u", "password_file": "f", "password_env": "E"},
        {"host": "h", "tls_ca": "ca.pem"},
        {"host": "h", "tls": True, "tls_key": "k"},
        {"host": "h", "prefix": "a/#"},
    ],
)
def test_options_that_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, MqttOptions)


# TLS with a CA of our own.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, server.pem, server.key (for localhost), client.pem and client.key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is absent: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")

    def run(*args: str) -> None:
        subprocess.run([openssl, *args], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", "-days", "2")
    (folder / "server.ext").write_text("subjectAltName=DNS:localhost\n")
    (folder / "client.ext").write_text("subjectAltName=DNS:robot-7\n")
    for who in ("server", "client"):
        run("req", *key, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        run("x509", "-req", "-in", f"{who}.csr", *sign, "-extfile", f"{who}.ext", "-out", f"{who}.pem")
    return folder


@pytest.fixture
def tls_broker(tmp_path: Path, authority: Path) -> Iterator[Broker]:
    files = ((key, authority / name) for key, name in SERVER_FILES.items())
    with Broker(tmp_path, *(f"{key} {path}" for key, path in files), "require_certificate true") as broker:
        yield broker


SERVER_FILES = {"cafile": "ca.pem", "certfile": "server.pem", "keyfile": "server.key"}


def test_tls_with_a_client_certificate(tls_broker: Broker, authority: Path, sink: Make) -> None:
    mine = {"tls_cert": str(authority / "client.pem"), "tls_key": str(authority / "client.key")}
    for trust in ({"host": "localhost", "tls_ca": str(authority / "ca.pem")}, {"tls_insecure": True}):
        s = sink(port=tls_broker.port, tls=True, qos=1, **mine, **trust)
        s.open()
        s.publish(result(1))
        while s.in_flight:
            s.ready()
        s.close()


def test_tls_refusals(tls_broker: Broker, authority: Path, sink: Make) -> None:
    port, ca = tls_broker.port, str(authority / "ca.pem")
    with pytest.raises(SinkError, match="does not verify") as caught:
        sink(host="localhost", port=port, tls=True).open()  # the system's CAs
    assert "tls_ca" in caught.value.hint
    with pytest.raises(SinkError, match="does not verify"):
        sink(host="127.0.0.1", port=port, tls=True, tls_ca=ca).open()  # not a name in the certificate
    with pytest.raises(SinkError) as caught:
        sink(host="localhost", port=port, timeout_s=1.0).open()  # no TLS
    assert "tls = true" in caught.value.hint or "does not answer" in caught.value.message
    with pytest.raises(SinkError, match="broker at localhost"):
        sink(host="localhost", port=port, tls=True, tls_ca=ca).open()  # no certificate of ours
    with pytest.raises(SinkError, match="cannot load"):
        sink(host="localhost", port=port, tls=True, tls_ca=str(authority / "server.ext")).open()


def test_tls_client(tmp_path: Path, authority: Path, sink: Make) -> None:
    files = ((key, authority / name) for key, name in SERVER_FILES.items())
    with Broker(tmp_path, *(f"{key} {path}" for key, path in files)) as broker:
        ca = str(authority / "ca.pem")
        s = sink(host="localhost", port=broker.port, tls=True, tls_ca=ca)
        s.open()
        with subscribe(f"mqtts://localhost:{broker.port}", ca=ca, timeout_s=10) as seen:
            s.publish(result(5))
            m = next(seen)
            assert isinstance(m, Result)
            assert m.seq == 5
        with pytest.raises(SinkError, match="cannot be reached"):
            subscribe(f"mqtts://localhost:{broker.port}")


def test_tls_to_a_port_without_tls(broker: Broker, sink: Make) -> None:
    with pytest.raises(SinkError) as caught:
        sink(host="localhost", port=broker.port, tls=True, timeout_s=1.0).open()
    assert caught.value.hint
