"""The API against its own description: every answer is as it says, whatever is asked."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edged.control.openapi import describe
from edged.control.routes import ROUTES
from tests.control.fake import DATA, Served, event
from tests.control.http import Answer, ask
from tests.searching import examples

DOCUMENT: dict[str, Any] = json.loads(msgspec.json.encode(describe(ROUTES)))


def check(method: str, path: str, answer: Answer) -> None:
    """It has a status, a media type and a form that the document knows."""
    operation = DOCUMENT["paths"][path][method.lower()]
    assert str(answer.status) in operation["responses"], (method, path, answer)
    content = operation["responses"][str(answer.status)]["content"]
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in content, (method, path, answer.headers)
    schema = content[media_type].get("schema")
    texts = answer.body.splitlines() if media_type == "application/x-ndjson" else [answer.body]
    for text in texts if schema is not None and "json" in media_type else ():
        validator(json.dumps(schema)).validate(json.loads(text))


@cache
def validator(schema: str) -> Any:
    return jsonschema.Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]})


def test_the_document_is_what_the_server_gives(api: Served) -> None:
    assert ask(api.path, "GET", "/openapi.json").json == DOCUMENT


def test_every_route_is_described_and_every_reference_leads_somewhere() -> None:
    described = {(m.upper(), path) for path, item in DOCUMENT["paths"].items() for m in item}
    assert described == {(r.method, r.path) for r in ROUTES}
    ids = [o["operationId"] for item in DOCUMENT["paths"].values() for o in item.values()]
    assert len(ids) == len(set(ids))

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    for reference in references(DOCUMENT):
        assert reference.removeprefix("#/components/schemas/") in DOCUMENT["components"]["schemas"]


def test_schemas_are_schemas() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: r.name)
def test_what_goes_well_is_as_described(api: Served, route: Any) -> None:
    api.log.add(event(1))
    bodies: dict[str, Any] = {
        "put_config": DATA,
        "patch_config": {"device": {"id": "x"}},
        "revert": {"revision": 1},
    }
    headers = {"If-Match": "*", "Content-Type": route.body_type} if route.body is not None else {}
    target = route.path.replace("{name}", "front") + ("?follow=false" if route.name == "events" else "")
    answer = ask(api.path, route.method, target, bodies.get(route.name), headers)
    assert answer.status == 200
    check(route.method, route.path, answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.one_of(
    st.binary(max_size=40),
    JSON.map(lambda v: json.dumps(v).encode()),
    st.fixed_dictionaries({}, optional={"revision": JSON, "device": JSON, "pipelines": JSON}).map(
        lambda v: json.dumps(v).encode()
    ),
)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)


@settings(examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_asked_the_answer_is_as_described(api: Served, data: st.DataObject) -> None:
    route = data.draw(st.sampled_from([r for r in ROUTES if r.name != "picture"]))
    name = data.draw(
        st.sampled_from(["front", "rear"]) | st.from_regex(r"[A-Za-z0-9_.~-]{1,12}", fullmatch=True)
    )
    if name in (".", ".."):  # of a path, these are other places
        name = "front"
    query = "&".join(
        f"{p.name}={data.draw(st.sampled_from(['0', '1', 'false', 'x', '-1', '']))}"
        for p in route.params
        if p.where == "query"
    )
    follow = "&follow=false" if route.name == "events" and "follow=false" not in query else ""
    target = route.path.replace("{name}", name) + f"?{query}{follow}".replace("follow=1", "follow=0")
    body = data.draw(BODIES) if route.body is not None else None
    headers = {}
    if data.draw(st.booleans()):
        headers["If-Match"] = data.draw(st.sampled_from(["*", '"x"', ""]) | VALUES)
    if body is not None:
        headers["Content-Type"] = data.draw(st.sampled_from([route.body_type, "text/plain"]))
    check(route.method, route.path, ask(api.path, route.method, target, body, headers))
