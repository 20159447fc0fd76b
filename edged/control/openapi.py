"""The OpenAPI 3.1 document of the control API, made from the table of routes and the types that they name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from edged import __version__
from edged.control.answers import Check, ProblemDocument
from edged.control.problems import MEDIA_TYPE
from edged.control.routes import Param, Route
from edged.messages import Name
from edged.steering import ConfigState

ABOUT = (
    "Steers a running edged. On its Unix socket everybody who can open it may read; changes are for root, the daemon's "
    "user and the members of a group."
)
# of every request; 503: too many clients, or stopping
ALWAYS = (400, 408, 500, 503)
Schema = dict[str, Any]


def describe(routes: Sequence[Route]) -> Schema:
    """The document. Pure."""
    types = {r.answer for r in routes} | {r.body for r in routes if r.body} | {ProblemDocument}
    types |= {p.type for r in routes for p in r.params} | {Name}
    ordered = sorted(types, key=str)
    schemas, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(ordered, schemas, strict=True))
    paths: Schema = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "edged", "version": __version__, "description": ABOUT},
        "servers": [{"url": "http://localhost", "description": "the Unix socket: curl --unix-socket PATH"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(route: Route, schemas: dict[Any, Schema]) -> Schema:
    operation: Schema = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": {"200": _answer(route, schemas), **_problems(route, schemas)},
    }
    parameters = [_path_parameter(name, schemas) for name in re.findall(r"{(\w+)}", route.path)]
    parameters += [_parameter(p, schemas) for p in route.params]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {route.body_type: {"schema": schemas[route.body]}},
        }
    if route.answer is Check:
        operation["responses"]["503"] = {
            "description": "It is not, and why",
            "content": {
                "application/json": {"schema": schemas[Check]},
                MEDIA_TYPE: {"schema": schemas[ProblemDocument]},
            },
        }
    return operation


def _answer(route: Route, schemas: dict[Any, Schema]) -> Schema:
    # what is no text has no schema in JSON's words
    content: Schema = {} if route.answer is bytes else {"schema": schemas[route.answer]}
    answer: Schema = {"description": route.summary, "content": {route.media_type: content}}
    if route.answer is ConfigState:
        answer["headers"] = {
            "ETag": {"description": "Names this configuration", "schema": {"type": "string"}}
        }
    return answer


def _problems(route: Route, schemas: dict[Any, Schema]) -> Schema:
    refused = (403,) if route.who == "operators" else ()
    body = (411, 413, 415, 422) if route.body is not None else (413,)
    return {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schemas[ProblemDocument]}},
        }
        for status in sorted({*ALWAYS, *refused, *body, *route.errors})
    }


def _path_parameter(name: str, schemas: dict[Any, Schema]) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": "A pipeline's name",
        "schema": schemas[Name],
    }


def _parameter(p: Param, schemas: dict[Any, Schema]) -> Schema:
    return {
        "name": p.name,
        "in": p.where,
        "required": p.required,
        "description": p.help,
        "schema": schemas[p.type],
    }
