"""Merge patch, difference, canonical JSON, and secrets that are hidden and put back."""

from __future__ import annotations

import datetime
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.config.load import parse
from edged.config.patch import MAX_DEPTH, Change, canonical, diff, etag, merge, plain, redact, restore
from edged.errors import ConfigError

# RFC 7396, appendix A
RFC = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]

scalars = st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | st.text("ab.\"'ü ", max_size=3)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab. ", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
tables = st.dictionaries(st.sampled_from(["a", "b", "c d", "passwords", "models"]), values, max_size=4)


@pytest.mark.parametrize(("target", "patch", "result"), RFC)
def test_the_examples_of_rfc_7396(target: Any, patch: Any, result: Any) -> None:
    before = json.dumps(target)
    assert merge(target, patch) == result
    assert json.dumps(target) == before


@given(tables, tables)
def test_a_patch_made_of_the_difference_leads_to_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch: dict[str, Any] = {}
    for change in diff(old, new):
        inner = patch
        for key in change.keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[change.keys[-1]] = change.new
    assert canonical(merge(old, patch)) == canonical(new)


@given(tables)
def test_nothing_differs_from_itself(data: dict[str, Any]) -> None:
    assert diff(data, data) == []
    assert canonical(merge(data, data)) == canonical(data)
    assert canonical(merge(data, {})) == canonical(data)


@given(tables, st.randoms())
def test_the_etag_does_not_depend_on_the_order_of_keys(data: dict[str, Any], chance: random.Random) -> None:
    keys = list(data)
    chance.shuffle(keys)
    assert etag({k: data[k] for k in keys}) == etag(data)
    assert etag(json.loads(canonical(data))) == etag(data)


def test_one_and_one_point_zero_and_true_are_three_values() -> None:
    assert len({etag({"a": v}) for v in (1, 1.0, True, "1")}) == 4
    assert [str(c) for c in diff({"a": 1}, {"a": True})] == ["a: 1 → true"]


def test_a_lone_surrogate_has_an_etag() -> None:
    assert len(etag({"a": "\ud800"})) == 64


def test_differences_are_told_as_key_paths() -> None:
    old = {
        "pipelines": {"front": {"every": 1, "roi": [0, 0, 8, 8]}, "a b": {}},
        "sinks": {"bus": {"kind": "zmq"}},
    }
    new = {
        "pipelines": {"front": {"every": 2, "roi": [0, 0, 9, 9]}},
        "sinks": {"bus": {"kind": "zmq"}, "log": {}},
    }
    assert [str(c) for c in diff(old, new)] == [
        'pipelines."a b": a table removed',
        "pipelines.front.every: 1 → 2",
        "pipelines.front.roi: [0, 0, 8, 8] → [0, 0, 9, 9]",
        "sinks.log: a table added",
    ]


def test_no_secret_is_told_of_a_difference() -> None:
    def config(word: str) -> dict[str, Any]:
        return {
            "sources": {"yard": {"url": f"rtsp://me:{word}@yard/1", "paths": [f"rtsp://me:{word}@yard/2"]}},
            "sinks": {"cloud": {"password": word, "tls": {"secrets": {"pin": [word]}}}},
        }

    for old, new in ((config("old"), config("new")), ({}, config("new")), (config("old"), {})):
        told = "\n".join(map(str, diff(old, new)))
        assert "old" not in told
        assert "new" not in told
    assert "sinks.cloud.password: changed, hidden" in map(str, diff(config("old"), config("new")))


def test_plain_values_are_a_copy_with_times_as_text() -> None:
    data = parse("at = 2026-01-02T03:04:05Z\nlist = [[1], {a = 1}]", "f")
    assert isinstance(data["at"], datetime.datetime)
    copy = plain(data)
    assert copy == {"at": "2026-01-02T03:04:05+00:00", "list": [[1], {"a": 1}]}
    copy["list"][0].append(2)
    assert data["list"][0] == [1]


def test_what_is_no_plain_value_is_refused_with_its_path() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    with pytest.raises(ConfigError, match=r"a\.b\[0\].*nested deeper than 32"):
        plain({"a": {"b": deep}})
    with pytest.raises(ConfigError, match=r"a\.b: is a bytes"):
        plain({"a": {"b": b""}})


STORED = {
    "pipelines": {"passage": {"source": "rtsp://me:pw@gate/1", "model": "m"}},
    "sources": {"yard": {"kind": "rtsp", "urls": ["rtsp://a:1@x/", "rtsp://b:2@y/"]}},
    "sinks": {"cloud": {"kind": "mqtt", "user": "me", "password": "pw", "tls": {"key": "k.pem"}, "qos": 1}},
}


def test_secrets_are_hidden_and_names_are_not() -> None:
    assert redact(STORED) == {
        "pipelines": {"passage": {"source": "rtsp://***@gate/1", "model": "m"}},
        "sources": {"yard": {"kind": "rtsp", "urls": ["rtsp://***@x/", "rtsp://***@y/"]}},
        "sinks": {
            "cloud": {"kind": "mqtt", "user": "me", "password": "***", "tls": {"key": "***"}, "qos": 1}
        },
    }


def test_where_a_secret_is_kept_is_none() -> None:
    keys = ("password_env", "password_file", "token_file", "tls_key", "tls_cert")
    data = {"sinks": {"cloud": dict.fromkeys(keys, "there")}}
    assert redact(data) == data


def test_what_was_shown_can_be_sent_back_with_a_change() -> None:
    wanted = merge(redact(STORED), {"sinks": {"cloud": {"qos": 0}}, "pipelines": {"new": {"model": "m"}}})
    expected = merge(STORED, {"sinks": {"cloud": {"qos": 0}}, "pipelines": {"new": {"model": "m"}}})
    assert restore(wanted, STORED) == expected


@given(tables)
def test_whatever_is_stored_comes_back_from_what_was_shown(data: dict[str, Any]) -> None:
    assert canonical(restore(redact(data), data)) == canonical(data)


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"sinks": {"other": {"password": "***"}}}, "sinks.other.password"),
        ({"pipelines": {"passage": {"source": "rtsp://***@other/1"}}}, "pipelines.passage.source"),
        ({"sources": {"yard": {"urls": ["rtsp://***@y/", "rtsp://***@x/"]}}}, "sources.yard.urls[0]"),
        ({"sources": {"yard": "rtsp://***@x/"}}, "sources.yard"),
    ],
)
def test_a_hidden_secret_is_never_stored_as_stars(patch: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as e:
        restore(merge(redact(STORED), patch), STORED)
    assert e.value.problems[0].path == path
    assert "write the secret itself" in e.value.problems[0].hint


def test_a_secret_can_be_changed() -> None:
    wanted = merge(redact(STORED), {"sinks": {"cloud": {"password": "new"}}})
    assert restore(wanted, STORED)["sinks"]["cloud"]["password"] == "new"


def test_a_change_knows_its_path() -> None:
    assert Change(("models", "a.b", "path"), 1, 2).path == 'models."a.b".path'


@pytest.mark.parametrize("data", [{"\ud800": 1}, {"a": {"b\ud800": 1}}, {"a": ["\udcff"]}])
def test_half_a_character_is_no_text(data: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"is no text: b?\\ud[8c][0f][0f]"):
        plain(data)
