"""What a request holds: its query, its conditions and its body."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import hdrs, web

from edged.control.problems import HttpError

BODY_S = 20.0  # that a body may take to come
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

_ETAGS = re.compile(r'\s*(?:(W/)?"([^"]*)"|(\*))\s*(?:,|$)')
_T = TypeVar("_T")


def query(request: web.Request, param: str, kind: Any, default: _T) -> _T:
    """A value of the query. msgspec.ValidationError when it is not of that type."""
    text = request.query.get(param)
    if text is None:
        return default
    value: _T = msgspec.convert(text, kind, strict=False)
    return value


def if_match(request: web.Request) -> frozenset[str] | None:
    """The ETags that the client has; None: "*", whichever it is. HttpError 428 without the header."""
    text = request.headers.get(hdrs.IF_MATCH)
    if text is None:
        raise HttpError(
            428,
            "a change of the configuration says which one it was made from",
            hint="send the ETag of GET /v1/config as If-Match, or If-Match: * for whichever it is",
        )
    found = _ETAGS.findall(text)
    if any(star for _, _, star in found):
        return None
    return frozenset(etag for weak, etag, _ in found if not weak)


async def read_body(request: web.Request, media_type: str) -> Mapping[str, Any]:
    """A JSON object. HttpError 415 and 400."""
    if (
        request.content_type != media_type
        or request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity"
    ):
        raise HttpError(
            415,
            f"the body is '{request.content_type}', not {media_type} without encoding",
            hint=f"send Content-Type: {media_type}",
            headers={"Accept-Patch" if media_type == MERGE_PATCH else hdrs.ACCEPT: media_type},
        )
    try:
        text = await asyncio.wait_for(request.read(), BODY_S)
    except asyncio.TimeoutError:
        raise HttpError(408, f"the body did not come within {BODY_S:g} s", hint="send it again") from None
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise HttpError(400, f"the body is not JSON: {e}", hint="send one JSON object") from e
    if not isinstance(body, dict):
        raise HttpError(400, "the body is not a JSON object", hint="send tables as objects, as in the file")
    return body
