"""Whatever TOML holds: a Config or a ConfigError, whose every problem is about a place in the data."""

from __future__ import annotations

import copy
import json
import re
from datetime import date, time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edged.config.load import from_data, loads
from edged.config.schema import Config
from edged.errors import ConfigError

pytestmark = pytest.mark.usefixtures("toy_kinds")
quiet = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

text = st.text(max_size=6) | st.sampled_from(
    ["zmq", "toy", "pattern", "cam", "m", "/", "..", "tcp://*:1", "\0", "\ud800"]
)
leaf = (
    text
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.just(10**400)
    | st.just(date(2024, 1, 1))
    | st.just(time(1))
)
anything = st.recursive(
    leaf, lambda v: st.lists(v, max_size=3) | st.dictionaries(text, v, max_size=3), max_leaves=8
)

GOOD: dict[str, Any] = {
    "schema": 1,
    "device": {"id": "robot-7"},
    "runtime": {"device": "cpu", "memory_budget": "1 GiB"},
    "models": {"m": {"path": "m", "engine": "auto", "batch": {"max_size": 1}, "options": {"threads": 2}}},
    "sources": {
        "cam": {"kind": "toy", "size": [640, 480], "lamp": {"watts": 5}, "lamps": [{}], "paths": ["a"]}
    },
    "sinks": {"bus": {"kind": "zmq", "deliver": {"result": "queue"}}, "log": {"kind": "jsonl", "path": "x"}},
    "pipelines": {
        "p": {
            "source": "cam",
            "model": "m",
            "sinks": ["bus"],
            "classes": ["a"],
            "min_size": [1, 2],
            "roi": [0, 0, 8, 8],
        },
        "q": {
            "source": {"kind": "pattern", "rate": 2.5},
            "model": "m",
            "sinks": ["bus", "log"],
            "dewarp": {"lens": "fisheye", "size": [8, 8], "focal": [9.5, 9]},
        },
    },
}


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [p for k, v in items for p in places(v, (*at, k))]


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """GOOD with up to three values replaced, keys removed or keys added."""
    data = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(data) or [("models",)]))
        parent: Any = data
        for key in way:
            parent = parent[key]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "remove" and last in (parent if isinstance(parent, dict) else range(len(parent))):
            del parent[last]
        elif action == "add" and isinstance(parent, dict):
            parent[draw(text)] = draw(anything)
        else:
            parent[last] = draw(anything)
    return data


def keys_of(path: str) -> list[str | int]:
    """The inverse of words.join."""
    token = re.compile(
        r"\.?(?:(?P<bare>[A-Za-z0-9_-]+)|(?P<quoted>\"(?:[^\"\\]|\\.)*\")|\[(?P<index>\d+)\])", re.A
    )
    keys: list[str | int] = []
    at = 0
    while at < len(path):
        m = token.match(path, at)
        assert m, f"{path!r} is no key path"
        keys.append(int(m["index"]) if m["index"] else m["bare"] or json.loads(m["quoted"]))
        at = m.end()
    return keys


def is_about(path: str, data: Any) -> bool:
    """The path is in the data, or its last key is what is missing there."""
    *way, last = keys_of(path)
    for key in way:
        data = data[key]
    return isinstance(data, dict) or (isinstance(data, list) and isinstance(last, int) and last < len(data))


def outcome(data: dict[str, Any]) -> Config | ConfigError:
    try:
        return from_data(data)
    except ConfigError as e:
        return e


@quiet
@given(st.dictionaries(text | st.sampled_from(list(GOOD)), anything, max_size=5) | damaged())
def test_a_config_or_problems_of_this_data(data: dict[str, Any]) -> None:
    result = outcome(copy.deepcopy(data))
    if isinstance(result, ConfigError):
        assert result.problems
        for problem in result.problems:
            assert is_about(problem.path, data), problem
            assert problem.message, problem
        assert len(set(result.problems)) == len(result.problems)


@quiet
@given(st.text(max_size=60) | st.sampled_from(["[", "a.b=1\na=2", "=", "[[sources]]\n[sources.x]"]))
def test_any_text(words: str) -> None:
    with pytest.raises(ConfigError):  # no text so short is a configuration
        loads(words)


def test_the_good_one_is_good() -> None:
    assert isinstance(outcome(GOOD), Config)


name = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,10}", fullmatch=True)
wanted = st.fixed_dictionaries(
    {"source": st.just({"kind": "pattern"}), "model": st.sampled_from(["m", "n"])},
    optional={
        "sinks": st.lists(st.sampled_from(["bus", "log"]), unique=True),
        "classes": st.lists(st.sampled_from(["cat", "dog"])),
        "min_score": st.floats(0, 1),
        "min_size": st.lists(st.integers(1, 9999), min_size=2, max_size=2),
        "deadline_ms": st.integers(1, 1000) | st.floats(0.1, 1e6),
    },
)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@quiet
@given(st.dictionaries(name, wanted, min_size=1, max_size=3), st.integers(1, 16), st.integers(1, 2), name)
def test_what_is_written_is_what_is_loaded(
    pipelines: dict[str, dict[str, Any]], instances: int, in_flight: int, device: str
) -> None:
    data = {
        "device": {"id": device},
        "models": {"m": {"path": "/m", "instances": instances}, "n": {"path": "/n", "in_flight": in_flight}},
        "sinks": {"bus": {"kind": "zmq"}, "log": {"kind": "jsonl"}},
        "pipelines": pipelines,
    }
    config = loads("\n".join(f"{k} = {toml(v)}" for k, v in data.items()))
    assert config.device.id == device
    assert (config.models["m"].instances, config.models["n"].in_flight) == (instances, in_flight)
    assert list(config.pipelines) == list(pipelines)
    for key, table in pipelines.items():
        loaded = config.pipelines[key]
        assert loaded.source == key
        assert loaded.model == table["model"]
        for field in ("sinks", "classes", "min_size"):
            assert list(getattr(loaded, field) or ()) == table.get(field, [])
        for field in ("min_score", "deadline_ms"):
            assert getattr(loaded, field) == table.get(field)
