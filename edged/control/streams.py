"""GET /v1/events: a line of JSON for each event, for as long as somebody reads.

A reader who falls behind finds a gap, told in the stream; one who does not read at all is cut off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import msgspec
from aiohttp import web

from edged.control.answers import End, EventLine, Gap, Heartbeat
from edged.control.events import EventLog

MEDIA_TYPE = "application/x-ndjson"
HEARTBEAT_S = 10.0
STALL_S = 20.0  # that a reader may leave lines unread once what the kernel holds for it is full
BATCH = 256  # events encoded at once

_encoder = msgspec.json.Encoder()


class News:
    """Wakes all streams when there is a new event. Made and used in the server's loop; the log is any thread's."""

    def __init__(self, log: EventLog) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.create_future()
        self.closed = False
        self._pulsing = False
        self._unsubscribe = log.subscribe(self._wake)

    def _wake(self) -> None:
        if not self._pulsing:  # many events in a row are one pulse
            self._pulsing = True
            self._loop.call_soon_threadsafe(self._pulse)

    def _pulse(self) -> None:
        self._pulsing = False
        done, self._next = self._next, self._loop.create_future()
        done.set_result(None)

    def pulse(self) -> asyncio.Future[None]:
        """Done at the next news."""
        return self._next

    def close(self) -> None:
        """Streams end."""
        self._unsubscribe()
        self.closed = True
        self._pulse()


async def stream(
    request: web.Request,
    log: EventLog,
    news: News,
    session_id: str,
    *,
    since: int,
    session: str,
    follow: bool,
) -> web.StreamResponse:
    """Events after number `since` of `session` ("": of this one), then, if `follow`, those that come."""
    response = web.StreamResponse(headers={"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"})
    await response.prepare(request)
    position = since
    lines: list[EventLine] = []
    if (session and session != session_id) or since > log.last:
        position = 0
        lines.append(Gap(missed=None, reason=f"the daemon was started anew: this is session {session_id}"))
    beat = 0.0
    while True:
        pulse = news.pulse()  # before the look: nothing comes unseen between
        events, missed = log.after(position, BATCH)
        if missed:
            lines.append(Gap(missed=missed, reason="older than what is kept"))
        lines += events
        if events:
            position = events[-1].seq
        now = asyncio.get_running_loop().time()
        if follow and now >= beat:
            beat = now + HEARTBEAT_S
            lines.append(Heartbeat(session_id=session_id, seq=log.last, at=time.time_ns()))
        if news.closed:
            lines.append(End(reason="the daemon stops"))
        if lines and not await _wrote(request, response, lines):
            return response
        lines = []
        if news.closed or (not follow and len(events) < BATCH):
            await response.write_eof()
            return response
        if len(events) < BATCH:
            await asyncio.wait({pulse}, timeout=max(0.0, beat - now))


async def _wrote(request: web.Request, response: web.StreamResponse, lines: Iterable[EventLine]) -> bool:
    """False: nobody reads; the connection is cut, as a last line would wait like the others."""
    data = b"".join(_encoder.encode(line) + b"\n" for line in lines)
    try:
        await asyncio.wait_for(response.write(data), STALL_S)
    except asyncio.TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        return False
    return True
