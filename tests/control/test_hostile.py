"""Clients as nobody wishes them. The server answers the next one all the same."""

from __future__ import annotations

import random
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edged.control import guard, reading
from tests.control.fake import Served, served
from tests.control.http import TIMEOUT_S, ask, connect, read
from tests.searching import examples


@pytest.fixture(autouse=True)
def still_well(api: Served) -> Iterator[None]:
    yield
    assert ask(api.path, "GET", "/v1/health/live").status == 200
    assert api.steering.verbs == []
    assert api.steering.config().revision == 1


def swallowed(path: Path, data: bytes) -> bytes:
    """What comes back for these bytes before the server closes, or has no more to say to what is a half request."""
    with connect(path) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))
        except (BrokenPipeError, ConnectionResetError):
            return b""


GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"GET",
    b"\r\n\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /v1/status HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"POST /v1/config/revert HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/config/revert HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"GET /v1/status HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + b"b" * 1_000_000 + b"\r\n\r\n",
    b"GET /v1/status HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET /v1/status HTTP/1.1\r\nHost: x\r\nExpect: a-miracle\r\n\r\n",
    b"\x00" * 70_000,
)


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage(api: Served, data: bytes) -> None:
    answer = swallowed(api.path, data)
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 200"))


@settings(examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from([b"", b"POST /v1/config/revert HTTP/1.1\r\n", b"GET /"]))
def test_any_bytes(api: Served, data: bytes, begin: bytes) -> None:
    swallowed(api.path, begin + data)


def test_random_bytes_within_good_requests(api: Served) -> None:
    good = b"GET /v1/events?follow=false HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    dice = random.Random(6)
    for _ in range(100):
        data = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        swallowed(api.path, bytes(data))


def test_two_hundred_clients_at_once(api: Served) -> None:
    begin = threading.Barrier(50)
    statuses: list[int] = []

    def ask_four() -> None:
        begin.wait()
        for target in ("/v1/status", "/metrics", "/v1/config", "/v1/health/ready"):
            statuses.append(ask(api.path, "GET", target).status)

    held = [connect(api.path) for _ in range(150)]  # besides those that ask
    threads = [threading.Thread(target=ask_four) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 200
    for sock in held:
        sock.sendall(b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert [read(sock).status for sock in held] == [200] * 150
    for sock in held:
        sock.close()


def test_one_client_too_many_is_told_so_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "few"
    with served(folder, most_clients=3) as api:
        held = []
        for _ in range(3):
            sock = connect(api.path)
            sock.sendall(b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
            held.append(sock)
        answer = ask(api.path, "GET", "/v1/status")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.json["detail"] == "3 clients are connected already"
        for sock in held:
            sock.close()
        # the server may not have seen yet that they are gone
        assert 200 in (ask(api.path, "GET", "/v1/health/live").status for _ in range(100))


def _sends_all_it_can(sock: socket.socket, nbytes: int, *, chunked: bool) -> int:
    """How much of a body of so many bytes the server takes."""
    piece = bytes(1 << 16)
    if chunked:
        piece = b"10000\r\n" + piece + b"\r\n"
    sent = 0
    try:
        while sent < nbytes:
            sock.sendall(piece)
            sent += 1 << 16
    except (BrokenPipeError, ConnectionResetError):
        pass
    return sent


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_of_a_gibibyte_is_refused_and_not_read(api: Served, chunked: bool) -> None:
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {1 << 30}"
    head = f"PUT /v1/config HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    with connect(api.path) as sock:
        sock.sendall(head.encode())
        if not chunked:  # said before any of it is sent
            assert sock.recv(65536).startswith(b"HTTP/1.1 413")
        _sends_all_it_can(sock, 1 << 30, chunked=chunked)
        answer = b"" if not chunked else sock.recv(65536)
    assert not chunked or answer.startswith(b"HTTP/1.1 413")


def test_a_client_that_asks_before_it_sends_a_large_body(api: Served) -> None:
    with connect(api.path) as sock:
        sock.sendall(
            b"PUT /v1/config HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert sock.recv(65536).startswith(b"HTTP/1.1 413")
    with connect(api.path) as sock:
        sock.sendall(
            b"POST /v1/config/revert HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
            b"Content-Type: text/plain\r\nConnection: close\r\n\r\n"
        )
        go_on = b"HTTP/1.1 100 Continue\r\n\r\n"  # the answer may come right behind it
        assert sock.recv(len(go_on)) == go_on
        sock.sendall(b"{}")
        assert read(sock).status == 415


def _hung_up(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLHUP)
    return bool(poll.poll(TIMEOUT_S * 1000))


def test_who_sends_nothing_or_a_byte_at_a_time_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "LOOK_S", 0.05)
    with served(tmp_path / "slow", idle_s=0.3) as api, connect(api.path) as idle, connect(api.path) as slow:
        try:
            for byte in b"GET /v1/status HTTP/1.1\r\nX: " + b"y" * 100_000:
                slow.sendall(bytes([byte]))
                select.select([slow], [], [], 0.01)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert _hung_up(slow)
        assert _hung_up(idle)


def test_a_body_that_does_not_come_is_not_waited_for(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BODY_S", 0.1)
    with connect(api.path) as sock:
        sock.sendall(
            b"PUT /v1/config HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert sock.recv(65536).startswith(b"HTTP/1.1 408")


def test_who_works_is_not_idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of events is a request in hand for as long as it lasts."""
    monkeypatch.setattr(guard, "LOOK_S", 0.02)
    monkeypatch.setattr("edged.control.streams.HEARTBEAT_S", 0.05)
    with served(tmp_path / "quick", idle_s=0.1) as api:
        stream = api.client.events()
        for _ in range(8):
            next(stream)
        stream.close()  # type: ignore[attr-defined]


def test_pipelined_requests_are_answered_in_order(api: Served) -> None:
    targets = ["/v1/health/live", "/v1/nothing", "/v1/config/history", "/v1/health/ready"] * 10
    requests = "".join(f"GET {t} HTTP/1.1\r\nHost: x\r\n\r\n" for t in targets)
    with connect(api.path) as sock:
        sock.sendall(requests.encode() + b"GET /v1/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        whole = b"".join(iter(lambda: sock.recv(65536), b""))
    statuses = [int(part[:3]) for part in whole.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 404, 200, 200] * 10 + [200]


def test_pipelining_without_end_does_not_fill_memory(api: Served) -> None:
    """While one request is in hand, the server reads only so many of those behind it."""
    with connect(api.path) as sock:
        sock.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(65536)
        sock.settimeout(0.2)
        sent = 0
        request = b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 100
        try:
            while sent < 64 << 20:
                sock.sendall(request)
                sent += len(request)
        except TimeoutError:
            pass
        assert sent < 4 << 20
