"""What is around every request: it counts as work, it is not too large, and what it raises is a problem document."""

from __future__ import annotations

import asyncio
import logging

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from edged.control.guard import Guard
from edged.control.problems import MEDIA_TYPE, HttpError, document
from edged.errors import EdgedError, defect

LARGEST = 1 << 20  # bytes of a body

log = logging.getLogger(__name__)


def check_size(request: web.Request) -> None:
    """HttpError 413 before any of a body is read."""
    if (request.content_length or 0) > LARGEST:
        raise HttpError(413, _SAID[413], hint=_HINTS[413])


async def expected(request: web.Request) -> web.Response | None:
    """Of a client that asks whether it may send its body (curl does)."""
    try:
        check_size(request)
        if request.headers[hdrs.EXPECT].lower() != "100-continue":
            raise HttpError(
                417, "the request expects what there is not", hint="Expect: 100-continue, or nothing"
            )
    except HttpError as e:
        return _told(e)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # the answer's head is still to come
    return None


def around(guard: Guard) -> Middleware:
    """One for an application's requests."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        with guard.working(request.protocol):
            try:
                return await handler(request)
            except ConnectionError:  # the client went away
                raise
            except Exception as e:
                return _told(e)

    return middleware


def _told(raised: Exception) -> web.Response:
    error = _translated(raised)
    told = document(error)
    headers = error.headers if isinstance(error, HttpError) else {}
    return web.Response(
        body=msgspec.json.encode(told), status=told.status, content_type=MEDIA_TYPE, headers=headers
    )


def _translated(e: Exception) -> EdgedError:
    match e:
        case EdgedError():
            return e
        case web.HTTPException():
            headers = {"Allow": e.headers[hdrs.ALLOW]} if hdrs.ALLOW in e.headers else {}
            return HttpError(
                e.status, _SAID.get(e.status, e.reason), hint=_HINTS.get(e.status, ""), headers=headers
            )
        case msgspec.ValidationError():
            return HttpError(400, f"the request is not as it should be: {e}", hint=_HINTS[404])
        case asyncio.TimeoutError():
            return HttpError(
                504,
                "it takes too long; a change that was begun goes on",
                hint="GET /v1/status tells how it is",
            )
    log.error("the control API: a defect in edged", exc_info=e)
    return defect(e)


_SAID = {
    404: "there is no such path",
    405: "this path has no such method",
    413: "the body is larger than 1 MiB",
}
_HINTS = {
    404: "GET /openapi.json describes all requests",
    405: "GET /openapi.json describes all requests",
    413: "a configuration is small: check what is sent",
}
