"""What the control API consists of: one table, of which both the router and the OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from edged.control import pictures, streams
from edged.control.answers import Check, Count, EventLine, History, PipelineAnswer, Revert, Status
from edged.control.handlers import Handlers
from edged.control.reading import JSON, MERGE_PATCH
from edged.steering import ConfigState

METRICS = "text/plain"
Who = Literal["anybody", "operators"]
CHANGE_S = 600.0  # a model may load for minutes
Table = dict[str, Any]
Handler = Callable[[Handlers, web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Param:
    """One of the query ("query"), or a header of the request."""

    name: str
    type: Any
    help: str
    where: Literal["query", "header"] = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """`{name}` in `path` is a pipeline. who: may ask it ("operators": see rights.py).

    answer, body: a type, with its media type. errors: statuses of problem documents besides those of every route.
    limit_s: after so long it has failed; None: it may take as long as it does. exposed: on control.health_port, too.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: Any
    media_type: str = JSON
    who: Who = "anybody"
    body: Any = None
    body_type: str = JSON
    params: tuple[Param, ...] = ()
    errors: tuple[int, ...] = ()
    limit_s: float | None = 30.0
    exposed: bool = False

    @property
    def name(self) -> str:
        """Of the operation: that of its handler."""
        return self.handler.__name__


_IF_MATCH = Param("If-Match", str, 'The ETag that the change was made from, or "*"', "header", required=True)
_REFUSALS = (404, 409, 412, 422, 501, 504, 507)


def _change(method: str, path: str, handler: Handler, summary: str, **more: Any) -> Route:
    """Of the configuration."""
    return Route(method, path, handler, summary, ConfigState, who="operators", limit_s=CHANGE_S, **more)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/status", Handlers.status, "What runs, and all that is observed", Status),
    Route(
        "GET", "/v1/health/live", Handlers.live, "Whether every thread makes progress", Check,
        exposed=True,
    ),
    Route("GET", "/v1/health/ready", Handlers.ready, "Whether every model is loaded", Check, exposed=True),
    Route("GET", "/v1/config", Handlers.config, "The configuration, without secrets", ConfigState),
    _change(
        "PUT", "/v1/config", Handlers.put_config, "Replace the configuration",
        body=Table, params=(_IF_MATCH,), errors=(*_REFUSALS, 428),
    ),
    _change(
        "PATCH", "/v1/config", Handlers.patch_config, "Change parts of the configuration (RFC 7396)",
        body=Table, body_type=MERGE_PATCH, params=(_IF_MATCH,), errors=(*_REFUSALS, 428),
    ),
    Route("GET", "/v1/config/history", Handlers.history, "The last revisions", History),
    _change(
        "POST", "/v1/config/revert", Handlers.revert, "Go back to an earlier revision",
        body=Revert, errors=_REFUSALS,
    ),
    _change("POST", "/v1/config/reload", Handlers.reload, "Apply the file as it is now", errors=_REFUSALS),
    Route(
        "GET", "/v1/events", Handlers.events, "Events, a line of JSON each", EventLine, streams.MEDIA_TYPE,
        params=(
            Param("since", Count, "Only events after the one of this number"),
            Param("session", str, "The session that the number is of"),
            Param("follow", bool, "Go on with those that come; default: true"),
        ),
        limit_s=None,
    ),
    *(
        Route(
            "POST", f"/v1/pipelines/{{name}}/{verb}", handler, f"{verb.capitalize()} a pipeline",
            PipelineAnswer, who="operators", errors=(404, 409, 422, 504, 507), limit_s=CHANGE_S,
        )
        for verb, handler in (
            ("pause", Handlers.pause), ("resume", Handlers.resume), ("restart", Handlers.restart),
        )
    ),
    Route(
        "GET", "/v1/pipelines/{name}/snapshot.jpg", Handlers.picture,
        "The next picture, with what was found in it", bytes, pictures.MEDIA_TYPE,
        params=(Param("boxes", bool, "Draw in what was found; default: true"),),
        errors=(404, 409, 501, 504),
    ),
    Route("GET", "/metrics", Handlers.metrics, "For Prometheus", str, METRICS, exposed=True),
    Route("GET", "/openapi.json", Handlers.openapi, "This description", Table),
)  # fmt: skip
