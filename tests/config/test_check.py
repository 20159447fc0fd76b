"""Checks between tables: what only one entry may hold."""

from __future__ import annotations

import pytest

from edged.config.load import from_data, loads
from edged.errors import ConfigError

HEAD = "[pipelines.p]\nsource = {kind = 'pattern'}\nmodel = 'm'\n[models.m]\npath = 'm'\n"


def sinks(*tables: str) -> list[str]:
    text = HEAD + "".join(f"[sinks.s{i}]\n{t}\n" for i, t in enumerate(tables))
    try:
        loads(text)
    except ConfigError as e:
        return [p.path for p in e.problems]
    return []


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("kind='zmq'\nbind='tcp://*:6000'", "kind='zmq'\nbind='tcp://10.0.0.1:6000'", "sinks.s1.bind"),
        ("kind='zmq'\nbind='tcp://10.0.0.2:6000'", "kind='zmq'\nbind='tcp://10.0.0.1:6000'", None),
        ("kind='zmq'\nbind='tcp://*:6000'", "kind='zmq'\nbind='tcp://*:6001'", None),
        ("kind='zmq'\nconnect='tcp://h:6000'", "kind='zmq'\nconnect='tcp://h:6000'", None),
        ("kind='zmq'\nbind='ipc:///tmp/a'", "kind='zmq'\nbind='ipc:///tmp/a'", "sinks.s1.bind"),
        ("kind='jsonl'\npath='a/b'", "kind='jsonl'\npath='a/../a/b'", "sinks.s1.path"),
        ("kind='jsonl'\npath='a'", "kind='jsonl'\npath='b'", None),
        ("kind='jsonl'", "kind='jsonl'", "sinks.s1.path"),
        (
            "kind='mqtt'\nhost='h'\nclient_id='x'",
            "kind='mqtt'\nhost='h'\nclient_id='x'",
            "sinks.s1.client_id",
        ),
        ("kind='mqtt'\nhost='h'", "kind='mqtt'\nhost='h'", None),
        ("kind='mqtt'\nhost='h'\nclient_id='x'", "kind='mqtt'\nhost='i'\nclient_id='x'", None),
    ],
)
def test_two_sinks(first: str, second: str, problem: str | None) -> None:
    assert sinks(first, second) == ([] if problem is None else [problem])


@pytest.mark.parametrize("group", ["pipelines", "models", "sources", "sinks", "sync_groups"])
def test_there_are_not_endlessly_many(group: str) -> None:
    most = 256 if group == "pipelines" else 64
    for count, said in ((most + 1, f"{group}: are {most + 1}, more than {most}"), (most, "kind")):
        with pytest.raises(ConfigError) as found:
            from_data({group: {f"n{i}": {"kind": "no such"} for i in range(count)}})
        assert said in str(found.value)
        assert ("more than" in str(found.value)) == (count > most)


def test_sources_that_pipelines_bring_along_count_too() -> None:
    pipelines = {f"p{i}": {"source": {"kind": "pattern"}, "model": "m"} for i in range(65)}
    with pytest.raises(ConfigError, match="sources: are 65, more than 64"):
        from_data({"pipelines": pipelines, "models": {"m": {"path": "m"}}})


def test_a_key_and_its_value_are_one_place() -> None:
    with pytest.raises(ConfigError) as found:
        from_data({"\0": "\0"})
    assert len(found.value.problems) == 1


def test_of_many_problems_the_first_hundred_are_told() -> None:
    with pytest.raises(ConfigError) as found:
        from_data({f"k{i}": 1 for i in range(40_000)})
    assert len(found.value.problems) == 101
    assert str(found.value.problems[-1]) == "and 39901 more; correct these first"


def test_two_models_may_share_a_path() -> None:
    assert set(loads(HEAD + "[models.n]\npath = 'm'\n").models) == {"m", "n"}
