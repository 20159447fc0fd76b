"""What each route does. In the server's loop; all that may take long is done in threads beside it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from aiohttp import hdrs, web

from edged import __version__
from edged.config.patch import merge, plain, redact, restore
from edged.control import pictures
from edged.control.answers import Check, Count, History, PipelineAnswer, Revert, Status
from edged.control.events import EventLog
from edged.control.exposition import exposition
from edged.control.reading import JSON, MERGE_PATCH, if_match, query, read_body
from edged.control.rights import Peer, may_change
from edged.control.streams import News, Stream, tell
from edged.looks import Look
from edged.messages import Identity, PipelineState
from edged.metrics import Snapshot
from edged.steering import Busy, ConfigState, Stale, Steering, Verb

FRESH_S = 0.1  # many clients get the same snapshot for so long
PICTURE_S = 5.0  # that a picture may take to come
TRIES = 8  # of a change of whichever configuration there is, when others come in between
PICTURES = 4  # at once; others wait
ASKERS = 4  # who is asking is looked up in the system's user database, which may wait for a network
BY = web.RequestKey("by", str)  # of a change: who asks, in words

_encoder = msgspec.json.Encoder()
_T = TypeVar("_T")


class Handlers:
    """Methods are routes (routes.py). `document`: what GET /openapi.json answers."""

    def __init__(
        self, steering: Steering, log: EventLog, news: News, identity: Identity, document: bytes
    ) -> None:
        self._steering, self._log, self._news, self._identity = steering, log, news, identity
        self._document = document
        self._began = time.monotonic()
        self._threads = ThreadPoolExecutor(2, "control")
        self._painters = ThreadPoolExecutor(PICTURES, "control picture")
        self._askers = ThreadPoolExecutor(ASKERS, "control user")
        self._looks: set[Look] = set()  # of those that wait for a picture
        self._closed = False
        self._looked: tuple[float, Snapshot] | None = None  # written by any of the threads: a cache

    def close(self) -> None:
        """Who waits for a picture gets none; the threads end by themselves."""
        self._closed = True
        for look in tuple(self._looks):
            look.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._painters.shutdown(wait=False, cancel_futures=True)
        self._askers.shutdown(wait=False, cancel_futures=True)

    # What is observed.

    async def status(self, _: web.Request) -> web.StreamResponse:
        return await self._json(self._status)

    async def live(self, _: web.Request) -> web.StreamResponse:
        return await self._check(lambda: Check(ok=not (why := self._steering.alive()), reason=why))

    async def ready(self, _: web.Request) -> web.StreamResponse:
        return await self._check(self._readiness)

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        accept = request.headers.get(hdrs.ACCEPT, "")
        text, media_type = await self.do(lambda: exposition(self._status(), accept))
        return web.Response(body=text, headers={hdrs.CONTENT_TYPE: media_type})

    async def events(self, request: web.Request) -> web.StreamResponse:
        since, follow = query(request, "since", Count, 0), query(request, "follow", bool, True)
        stream = Stream(self._log, self._identity.session_id, since, follow)
        return await tell(request, stream, self._news, request.query.get("session", ""))

    async def picture(self, request: web.Request) -> web.StreamResponse:
        name, boxes = request.match_info["name"], query(request, "boxes", bool, True)
        made = await self.do(lambda: self._take(name, boxes), self._painters)
        headers = {
            "Edged-Captured-At": str(made.captured_at),
            "Edged-Age-Ms": str(made.age_ms),
            "Edged-Frame-Seq": str(made.frame_seq),
            "Edged-Result-Seq": str(made.result_seq),
            hdrs.CACHE_CONTROL: "no-store",
        }
        return web.Response(body=made.jpeg, content_type=pictures.MEDIA_TYPE, headers=headers)

    # What is desired.

    async def config(self, _: web.Request) -> web.StreamResponse:
        return self._configured(await self.do(self._steering.config))

    async def history(self, _: web.Request) -> web.StreamResponse:
        return await self._json(lambda: History(self._steering.history()))

    async def put_config(self, request: web.Request) -> web.StreamResponse:
        return await self._change(request, JSON, lambda body, _: body)

    async def patch_config(self, request: web.Request) -> web.StreamResponse:
        return await self._change(request, MERGE_PATCH, lambda body, current: merge(current, body))

    async def revert(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, JSON)
        wanted = msgspec.convert(body, Revert).revision
        by = request[BY]
        return self._configured(await self._result(lambda: self._steering.revert(wanted, by=by)))

    async def reload(self, request: web.Request) -> web.StreamResponse:
        by = request[BY]
        return self._configured(await self._result(lambda: self._steering.reload(by=by)))

    async def pause(self, request: web.Request) -> web.StreamResponse:
        return await self._pipeline(request, "pause")

    async def resume(self, request: web.Request) -> web.StreamResponse:
        return await self._pipeline(request, "resume")

    async def restart(self, request: web.Request) -> web.StreamResponse:
        return await self._pipeline(request, "restart")

    async def openapi(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=self._document, content_type=JSON)

    # In one of the threads.

    def _snapshot(self) -> Snapshot:
        now, looked = time.monotonic(), self._looked
        if looked is not None and now - looked[0] < FRESH_S:
            return looked[1]
        snapshot = self._steering.snapshot()
        self._looked = (now, snapshot)
        return snapshot

    def _status(self) -> Status:
        return Status(
            device=self._identity.device,
            session_id=self._identity.session_id,
            version=__version__,
            pid=os.getpid(),
            uptime_s=round(time.monotonic() - self._began, 3),
            ready=self._steering.ready(),
            alive=self._steering.alive(),
            snapshot=self._snapshot(),
        )

    def _readiness(self) -> Check:
        pipelines = self._snapshot().pipelines
        why = self._steering.ready()
        states: dict[str, Any] = {n: {"state": p.state, "reason": p.reason} for n, p in pipelines.items()}
        return Check(ok=not why, reason=why, pipelines=msgspec.convert(states, dict[str, PipelineState]))

    def _take(self, name: str, boxes: bool) -> pictures.Picture:
        """In one piece, whether the client still waits or not: a look that is left open keeps a frame."""
        look = self._look(name)
        self._looks.add(look)
        try:
            if self._closed:
                look.close()
            return pictures.take(look, boxes=boxes, patience_s=PICTURE_S)
        finally:
            self._looks.discard(look)
            look.close()

    def _look(self, name: str) -> Look:
        pipeline = self._snapshot().pipelines.get(name)
        if pipeline is not None and pipeline.state in ("paused", "stopped"):
            raise Busy(
                f"pipeline '{name}' looks at nothing: {pipeline.state}, {pipeline.reason}",
                hint=f"edged pipeline resume {name}" if pipeline.state == "paused" else "restart it",
            )
        return self._steering.look(name)

    # In the loop.

    async def do(self, work: Callable[[], _T], threads: ThreadPoolExecutor | None = None) -> _T:
        """In one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(threads or self._threads, work)

    async def admit(self, peer: Peer, group: str) -> tuple[bool, str]:
        """Whether it may change things, and who it is. Nothing but other changes waits with it."""
        return await self.do(lambda: (may_change(peer, group), str(peer)), self._askers)

    async def _json(self, make: Callable[[], Any]) -> web.Response:
        return web.Response(body=await self.do(lambda: _encoder.encode(make())), content_type=JSON)

    async def _check(self, make: Callable[[], Check]) -> web.Response:
        check = await self.do(make)
        return web.Response(body=_encoder.encode(check), status=200 if check.ok else 503, content_type=JSON)

    async def _result(self, start: Callable[[], Future[_T]]) -> _T:
        """Of what the daemon goes on with whether its client waits or not."""
        future = await self.do(start)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            if future.cancelled():  # not the client's going away
                raise Busy("it was given up: the daemon stops", hint="try again once it runs") from None
            raise

    async def _change(
        self,
        request: web.Request,
        media_type: str,
        wanted: Callable[[Mapping[str, Any], Mapping[str, Any]], Any],
    ) -> web.StreamResponse:
        """`wanted(body, current)`: the whole configuration; what is hidden in it is put back."""
        condition = if_match(request)
        body, by = await read_body(request, media_type), request[BY]

        def start() -> Future[ConfigState]:
            state = self._steering.config()
            if condition is not None and state.etag not in condition:
                raise Stale(
                    "the configuration is no longer the one that this change was made from",
                    hint="GET /v1/config, make the change again, and send its ETag as If-Match",
                )
            data = restore(wanted(plain(body, "the request"), state.data), state.data)
            return self._steering.apply(data, base=state.etag, by=by)

        for _ in range(TRIES - 1 if condition is None else 0):
            try:
                return self._configured(await self._result(start))
            except Stale:  # a trial has ended since it was looked at
                continue
        return self._configured(await self._result(start))

    async def _pipeline(self, request: web.Request, verb: Verb) -> web.StreamResponse:
        name = request.match_info["name"]
        health = await self._result(lambda: self._steering.pipeline(name, verb))
        return await self._json(lambda: PipelineAnswer(pipeline=name, health=health))

    def _configured(self, state: ConfigState) -> web.Response:
        shown = msgspec.structs.replace(state, data=redact(state.data))
        return web.Response(
            body=_encoder.encode(shown), content_type=JSON, headers={hdrs.ETAG: f'"{state.etag}"'}
        )
