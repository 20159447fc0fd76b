"""Checks between tables: what only one entry may hold."""

from __future__ import annotations

import pytest

from edged.config.load import loads
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


def test_two_models_may_share_a_path() -> None:
    assert set(loads(HEAD + "[models.n]\npath = 'm'\n").models) == {"m", "n"}
