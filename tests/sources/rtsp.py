"""RTSP servers for tests: a real one in a process of its own, and sockets that say what a test wants."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.errors import SourceError
from edged.sources._rtsp_options import RtspOptions
from edged.sources.rtsp import RtspSource
from tests.sources.rtsp_server import ABSENT

PROGRAM = Path(__file__).with_name("rtsp_server.py")
PYTHON = "/usr/bin/python3"  # Debian's, which has gi


class Server:
    """The real server. `port` stays the same when it is started again."""

    def __init__(self, *arguments: str) -> None:
        self.port = 0
        self.start(*arguments)

    def start(self, *arguments: str) -> None:
        if not Path(PYTHON).exists():
            pytest.skip(f"{PYTHON} is absent: the RTSP server runs with Debian's Python")
        self._child = subprocess.Popen(
            [PYTHON, str(PROGRAM), "--port", str(self.port), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        said = self._child.stdout.readline()
        if not said:
            words = self._child.communicate()[1].strip()
            if self._child.returncode == ABSENT:
                pytest.skip(words)
            raise AssertionError(f"the RTSP server fails: {words}")
        self.port = int(said)

    def url(self, login: str = "", path: str = "cam") -> str:
        return f"rtsp://{login}127.0.0.1:{self.port}/{path}"

    def tell(self, line: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def freeze(self) -> None:
        self._child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._child.kill()
        self._child.communicate()


@contextmanager
def serving(*arguments: str) -> Iterator[Server]:
    server = Server(*arguments)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def saying(answer: bytes | None) -> Iterator[str]:
    """The URL of a listener that gives this answer, whatever it hears, and nothing more; None: it hangs up."""
    held: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            held.append(s)
            s.settimeout(0.2)
            try:
                s.recv(1000)
                if answer is not None:
                    s.sendall(answer)
            except OSError:
                pass
            if answer is None:
                s.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/cam"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for s in (*held, listener):
            s.close()


@contextmanager
def camera(url: str | None, **options: Any) -> Iterator[RtspSource]:
    """A source with limits for tests, closed at the end."""
    wanted = {"url": url, "open_timeout_s": 2.0, "read_timeout_s": 1.0, **options}
    source = RtspSource("gate", msgspec.convert({k: v for k, v in wanted.items() if v}, RtspOptions))
    try:
        yield source
    finally:
        source.close()


def read(source: RtspSource, count: int = 1, limit_s: float = 3.0) -> list[int]:
    """`seq` of the next pictures."""
    out: list[int] = []
    end = time.monotonic() + limit_s
    while len(out) < count and time.monotonic() < end:
        frame = source.read(0.1)
        if frame is not None:
            out.append(frame.seq)
            frame.release()
    assert len(out) == count
    return out


def fault(source: RtspSource, limit_s: float = 3.0) -> SourceError:
    """Read on until it fails; every read ends in time."""
    end = time.monotonic() + limit_s
    while (began := time.monotonic()) < end:
        try:
            frame = source.read(0.05)
        except SourceError as e:
            return e
        assert time.monotonic() - began < 0.4
        if frame is not None:
            frame.release()
    raise AssertionError(f"no fault in {limit_s} s")


def refusal(source: RtspSource, limit_s: float = 3.5) -> SourceError:
    began = time.monotonic()
    with pytest.raises(SourceError) as e:
        source.open()
    assert time.monotonic() - began < limit_s
    return e.value
