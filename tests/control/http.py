"""HTTP by hand over a Unix socket, for what no client does."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

TIMEOUT_S = 20.0


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(TIMEOUT_S)
    sock.connect(str(path))
    return sock


def ask(
    path: Path, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One request on a connection of its own; `body`: bytes, or what is sent as JSON."""
    if body is None:
        data, given = b"", {}
    elif isinstance(body, bytes):
        data, given = body, {"Content-Type": "application/json"}
    else:
        data, given = json.dumps(body).encode(), {"Content-Type": "application/json"}
    given |= {"Host": "localhost", "Connection": "close", "Content-Length": str(len(data))} | dict(
        headers or {}
    )
    head = "".join(f"{k}: {v}\r\n" for k, v in given.items())
    with connect(path) as sock:
        sock.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + data)
        return read(sock)


def read(sock: socket.socket) -> Answer:
    """The one answer on a connection that closes after it."""
    whole = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    if headers.get("transfer-encoding") == "chunked":
        body = _dechunked(body)
    return Answer(int(lines[0].split()[1]), headers, body)


def _dechunked(data: bytes) -> bytes:
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        n = int(size, 16)
        out, data = out + data[:n], data[n + 2 :]
    return out
