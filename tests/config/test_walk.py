"""Every type of an Options, and the words of every refusal."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from edged.config.walk import struct
from edged.config.words import BAD, hide_credentials, join, show, suggest
from edged.errors import Problem
from tests.config.toys import Lamp, OddOptions, Shade, ToyOptions


def problems(raw: dict[str, Any], cls: Any = ToyOptions) -> list[str]:
    found: list[Problem] = []
    result = struct(raw, cls, "t", found)
    assert found or result is not BAD
    return [str(p) for p in found]


def test_good_values() -> None:
    found: list[Problem] = []
    raw = {
        "paths": ["a", "b"],
        "size": [640, 480],
        "rate": 30,
        "score": 1,
        "shade": "light",
        "level": 2,
        "memory": "1 KiB",
        "code": "abc",
        "lamp": {"watts": 10},
        "lamps": [{"watts": 15}, {}],
        "extra": {"a": 1},
        "either": [1, 2],
    }
    assert struct(raw, ToyOptions, "t", found) == ToyOptions(
        paths=("a", "b"),
        size=(640, 480),
        rate=30.0,
        score=1.0,
        shade=Shade.LIGHT,
        level=2,
        memory=1024,
        code="abc",
        lamp=Lamp(watts=10),
        lamps=[Lamp(watts=15), Lamp()],
        extra={"a": 1},
        either=(1, 2),
    )
    assert found == []


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"rats": 1}, "t.rats: unknown key; did you mean 'rate'?"),
        (
            {"zzzz": 1},
            "t.zzzz: unknown key; known keys: path, paths, size, rate, score, loop, pace, shade, level, ",
        ),
        ({"rate": "30"}, "t.rate: must be a number, got '30'; write it without quotes, like 0.5"),
        ({"rate": True}, "t.rate: must be a number, got true; "),
        ({"rate": float("nan")}, "t.rate: must be a finite number, got nan; "),
        ({"rate": 10**400}, "t.rate: must be a number of 64 bits, got a number beyond 64 bits; "),
        ({"score": 1.5}, "t.score: must be at most 1, got 1.5; allowed: at least 0 and at most 1"),
        ({"size": [640]}, "t.size: must be a list of 2, got a list of 1; write [..., ...]"),
        ({"size": [640, 0]}, "t.size[1]: must be at least 1, got 0; allowed: at least 1"),
        ({"size": "640x480"}, "t.size: must be a list of 2, got '640x480'; "),
        ({"loop": "yes"}, "t.loop: must be true or false, got 'yes'; write true or false, without quotes"),
        ({"loop": 1}, "t.loop: must be true or false, got 1; "),
        ({"pace": "real-time"}, "t.pace: 'real-time' is unknown; did you mean 'realtime'?"),
        ({"pace": "quick"}, "t.pace: 'quick' is unknown; known: max, realtime"),
        ({"pace": 3}, "t.pace: must be one of 'max', 'realtime', got 3; write \"max\""),
        ({"shade": "Dark"}, "t.shade: 'Dark' is unknown; did you mean 'dark'?"),
        ({"level": 3}, "t.level: must be one of 1, 2, got 3; "),
        ({"level": True}, "t.level: must be one of 1, 2, got true; "),
        ({"memory": "lots"}, "t.memory: must be an amount of memory, got 'lots'; write \"1 GiB\", "),
        ({"memory": 0}, "t.memory: must be at least 1, got 0; "),
        ({"code": "A"}, "t.code: must be text that matches ^[a-z]+\\Z, got 'A'; "),
        ({"code": "abcde"}, "t.code: has 5 characters; give at most 4"),
        ({"code": 1}, "t.code: must be text, got 1; write it in quotes"),
        ({"code": date(2024, 1, 1)}, "t.code: must be text, got 2024-01-01; "),
        ({"paths": "a"}, "t.paths: must be a list, got 'a'; write [..., ...]"),
        ({"paths": ["a", 1]}, "t.paths[1]: must be text, got 1; "),
        ({"lamp": 5}, "t.lamp: must be a table, got 5; write it as [t.lamp] with keys below"),
        ({"lamp": {"watt": 5}}, "t.lamp.watt: unknown key; did you mean 'watts'?"),
        ({"lamp": {"watts": 7}}, "t.lamp.watts: must be a multiple of 5, got 7; "),
        ({"lamp": {"watts": 100}}, "t.lamp.watts: must be below 100, got 100; "),
        ({"lamps": [{}, {}, {}]}, "t.lamps: has 3 items; give at most 2"),
        ({"lamps": [{"watts": 0}]}, "t.lamps[0].watts: must be above 0, got 0; "),
        ({"extra": {"a b": "x"}}, "t.extra.\"a b\": must be a whole number, got 'x'; "),
        ({"either": 1.5}, "t.either: must be text or a whole number or a list, got 1.5; "),
        ({"either": ["x"]}, "t.either[0]: must be a whole number, got 'x'; "),
        ({"path": "1.0", "rate": 1}, "t: 'path' and 'rate' are the same; change one"),
    ],
)
def test_refusals(raw: dict[str, Any], said: str) -> None:
    (found,) = problems(raw)
    assert found.startswith(said)


def test_all_problems_of_a_table_at_once() -> None:
    raw = {"rats": 1, "rate": "x", "size": [0, "y"], "lamp": {"watts": 1, "colour": "red"}}
    paths = {p.split(":")[0] for p in problems(raw)}
    assert paths == {"t.rats", "t.rate", "t.size[0]", "t.size[1]", "t.lamp.watts", "t.lamp.colour"}


def test_a_type_that_toml_lacks() -> None:
    assert problems({"blob": "x"}, OddOptions) == [
        "t.blob: a configuration cannot hold a BytesType; remove the key"
    ]


def test_secrets_are_not_shown() -> None:
    assert show("hunter2", "sinks.cloud.password") == "a hidden value"
    assert show("x" * 100).endswith("...")
    assert show("rtsp://bob:p@ss/w@host/x", "sources.gate.url") == "'rtsp://***@host/x'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://host:554/a?b=1", "rtsp://host:554/a?b=1"),
        ("rtsp://bob:pw@host/a", "rtsp://***@host/a"),
        ("rtsp://bob:p@w/d@host/a", "rtsp://***@host/a"),
        ("rtsp://h/user=bob&password=pw&channel=1", "rtsp://h/user=***&password=***&channel=1"),
        ('rtspsrc user-id=bob user-pw="a b" ! x', "rtspsrc user-id=*** user-pw=*** ! x"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_credentials_are_hidden(text: str, shown: str) -> None:
    assert hide_credentials(text) == shown


def test_key_paths_and_suggestions() -> None:
    assert join(join("a", "b c"), 2) == 'a."b c"[2]'
    assert suggest("ZMQ", ["zmq", "mqtt"]) == "did you mean 'zmq'?"
    assert suggest("x", []) == ""
