"""GET /v1/events: a line of JSON for each event, for as long as somebody reads.

A reader who falls behind finds a gap, told in the stream; one who does not read at all is cut off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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
        self._streams: set[asyncio.Task[Any]] = set()
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

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For as long as a stream lasts, in its task."""
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            yield
        finally:
            self._streams.discard(task)

    def detach(self) -> None:
        """The log wakes nobody any more. Idempotent."""
        self._unsubscribe()

    async def close(self, timeout_s: float) -> None:
        """Streams end with a last line, unless their readers do not read."""
        self.detach()
        self.closed = True
        self._pulse()
        if self._streams:
            await asyncio.wait(self._streams, timeout=timeout_s)


@dataclass(slots=True)
class Stream:
    """One reader's place in the log: `position` is the number of the last event that it has."""

    log: EventLog
    session_id: str
    position: int
    follow: bool
    beat: float = 0.0  # when the next heartbeat is due

    def begin(self, session: str) -> Iterator[EventLine]:
        """`session`: that of the position, "": this one. Of another one nothing is known."""
        if (session and session != self.session_id) or self.position > self.log.last:
            self.position = 0
            yield Gap(missed=None, reason=f"the daemon was started anew: this is session {self.session_id}")

    def due(self, now: float) -> tuple[list[EventLine], bool]:
        """The next lines, and whether there are more at once."""
        lines: list[EventLine] = []
        events, missed = self.log.after(self.position, BATCH)
        if missed:
            lines.append(Gap(missed=missed, reason="older than what is kept"))
        if events:
            lines += events
            self.position = events[-1].seq
        if self.follow and now >= self.beat:
            self.beat = now + HEARTBEAT_S
            lines.append(Heartbeat(session_id=self.session_id, seq=self.log.last, at=time.time_ns()))
        return lines, len(events) == BATCH


async def tell(request: web.Request, stream: Stream, news: News, session: str) -> web.StreamResponse:
    """Answer with the stream, to its end."""
    response = web.StreamResponse(headers={"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"})
    await response.prepare(request)
    clock = asyncio.get_running_loop().time
    with news.reading():
        reads = await _wrote(request, response, stream.begin(session))
        while reads:
            pulse = news.pulse()  # before the look: nothing comes unseen between
            lines, more = stream.due(clock())
            last = not more and (news.closed or not stream.follow)
            if news.closed and last:
                lines.append(End(reason="the daemon stops"))
            reads = await _wrote(request, response, lines)
            if last:
                break
            if not more:
                await asyncio.wait({pulse}, timeout=max(0.0, stream.beat - clock()))
        if reads:
            await response.write_eof()
    return response


async def _wrote(request: web.Request, response: web.StreamResponse, lines: Iterable[EventLine]) -> bool:
    """False: nobody reads; the connection is cut, as a last line would wait like the others."""
    data = b"".join(_encoder.encode(line) + b"\n" for line in lines)
    try:
        if data:
            await asyncio.wait_for(response.write(data), STALL_S)
    except asyncio.TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        return False
    return True
