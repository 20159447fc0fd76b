"""The schema that editors use agrees with what load.py takes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edged.config.json_schema import json_schema
from edged.config.load import from_data, load, parse
from edged.errors import ConfigError
from tests.config.test_properties import GOOD

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml"))
jsonschema: Any = importlib.import_module("jsonschema")  # has no types


def faults(data: Mapping[str, Any]) -> list[Any]:
    return list(jsonschema.Draft202012Validator(json_schema()).iter_errors(data))


def test_it_is_a_schema() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert "\\Z" not in json.dumps(schema)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda f: f.name)
def test_the_examples_load_and_match_the_schema(file: Path) -> None:
    config = load(file)
    assert config.pipelines
    assert config.warnings == ()
    assert faults(parse(file.read_text(), str(file))) == []


def test_the_full_example_has_every_key() -> None:
    """But for the other half of an either-or."""
    text = next(f for f in CONFIGS if f.name == "full.toml").read_text()
    either_or = {
        "connect",
        "password_file",
        "paths",
        "tls_ca",
        "tls_cert",
        "tls_key",
        "tls_insecure",
        "max_wait_ms",
    }
    keys = {k for body in _objects(json_schema()) for k in body.get("properties", {})} - either_or
    missing = {k for k in keys if f"{k} =" not in text and f".{k}]" not in text and f"[{k}]" not in text}
    assert missing - {"models", "sources", "sinks", "pipelines", "sync_groups"} == set()


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [o for v in value for o in _objects(v)]
    if not isinstance(value, dict):
        return []
    return [value, *(o for v in value.values() for o in _objects(v))]


@pytest.mark.usefixtures("toy_kinds")
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"sources": {"cam": {"kind": "toy", "rats": 1}}},
        {"sources": {"cam": {"kind": "toy", "size": [1, 2, 3]}}},
        {"sources": {"cam": {"kind": "toy", "pace": "fast"}}},
        {"sources": {"cam": {"kind": "none"}}},
        {"sources": {"cam": {}}},
        {"sources": {"a b": {"kind": "toy"}}},
        {"sinks": {"bus": {"kind": "zmq", "deliver": {"result": "all"}}}},
        {"models": {"m": {}}},
        {"models": {"m": {"path": "m", "engine": "none"}}},
        {"models": {"m": {"path": "m", "options": {"thread": 1}}}},
        {"runtime": {"memory_budget": "lots"}},
        {"runtime": {"memory_budget": 4096}},
        {"pipelines": {"p": {"source": {"kind": "pattern"}, "model": "m"}}},
        {"pipelines": {"p": {"source": 5, "model": "m"}}},
        {"pipelines": {"p": {"source": "cam"}}},
        *(
            {"pipelines": {"p": {"source": "cam", "model": "m", **keys}}}
            for keys in (
                {"roi": [0, 0, 8, 8]},
                {"roi": [0, 0, 8]},
                {"roi": [-1, 0, 8, 8]},
                {"roi": [0, 0, 0, 8]},
                {"dewarp": {"lens": "equirectangular", "size": [8, 8]}},
                {"dewarp": {"lens": "equirectangular", "size": [8, 65_535]}},
                {"dewarp": {"lens": "equirectangular", "size": [65_536, 8]}},
                {"dewarp": {"lens": "fisheye", "size": [8, 8]}},
                {"dewarp": {"lens": "fisheye", "size": [8, 8], "focal": [1, 2.5]}},
                {"dewarp": {"lens": "mirror", "size": [8, 8]}},
                {"dewarp": {"size": [8, 8]}},
                {"roi": [0, 0, 8, 8], "dewarp": {"lens": "equirectangular", "size": [8, 8]}},
            )
        ),
        {"control": {"confirm_s": 0}},
        {"schema": 2},
    ],
)
def test_it_refuses_what_load_refuses(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from edged import registry

    monkeypatch.delitem(registry.BUILT_IN["sources"], "broken")
    registry._found.cache_clear()
    data = {**GOOD, **change}
    try:
        from_data(data)
        good = True
    except ConfigError as e:
        # references between tables are beyond a schema
        good = all("is not declared" in p.message or "neither a declared" in p.message for p in e.problems)
    assert (faults(data) == []) == good
