"""How many clients there may be, and how long one may do nothing.

A connection without a request in hand, whether it is idle, sends its headers a byte at a time or does not read the
answer, is closed after IDLE_S. One too many gets an answer of a few bytes, and is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from edged.control.problems import MEDIA_TYPE, HttpError, document

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

MOST_CLIENTS = 256
IDLE_S = 15.0
REFUSED_S = 0.5  # that one client too many is still there
LOOK_S = 1.0  # between two looks at who is idle


class Guard:
    """Used in the server's loop. A factory of protocols, as asyncio takes one, around those of aiohttp's server."""

    def __init__(self, most: int = MOST_CLIENTS, idle_s: float = IDLE_S) -> None:
        self.server: web.Server | None = None  # set before the first connection
        self._most, self._idle_s = most, idle_s
        self._since: dict[RequestHandler, float] = {}  # when it had last a request in hand
        self._busy: set[RequestHandler] = set()
        self._refused: set[asyncio.Transport] = set()
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> asyncio.Protocol:
        assert self.server is not None
        if len(self.server.connections) >= self._most:
            return _Full(self._most, self._refused)
        handler = self.server()
        self._since[handler] = self._loop.time()
        return handler

    @contextmanager
    def working(self, handler: RequestHandler) -> Iterator[None]:
        """While a request of that connection is in hand."""
        self._busy.add(handler)
        try:
            yield
        finally:
            self._busy.discard(handler)
            self._since[handler] = self._loop.time()

    def close(self) -> None:
        """Those that were one too many go at once."""
        for transport in tuple(self._refused):
            transport.abort()

    async def watch(self) -> None:
        """For as long as the server lives."""
        while True:
            await asyncio.sleep(min(LOOK_S, self._idle_s))
            self.look()

    def look(self) -> None:
        """Close who was idle for too long, forget who is gone."""
        now = self._loop.time()
        assert self.server is not None
        there = set(self.server.connections)
        self._since = {h: self._since.get(h, now) for h in there}
        for handler in there - self._busy:
            if self._since[handler] <= now - self._idle_s and handler.transport is not None:
                handler.transport.abort()


class _Full(asyncio.Protocol):
    """Says that there are too many clients, and closes when it has the request: what is unread would be a reset."""

    def __init__(self, most: int, refused: set[asyncio.Transport]) -> None:
        self._most, self._refused = most, refused
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._refused.add(transport)
        error = HttpError(503, f"{self._most} clients are connected already", hint="close some, or try again")
        body = msgspec.json.encode(document(error))
        head = (
            f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
            "Retry-After: 1\r\nConnection: close\r\n\r\n"
        )
        transport.write(head.encode() + body)
        asyncio.get_running_loop().call_later(REFUSED_S, transport.close)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        self._refused.discard(self._transport)
