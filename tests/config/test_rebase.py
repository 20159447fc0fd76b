"""A configuration for another folder: it means the same as it did in its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.config.load import from_data
from edged.config.rebase import rebase
from edged.errors import ConfigError

DATA: dict[str, Any] = {
    "runtime": {"state_dir": "state"},
    "control": {"socket": "run/control.sock", "group": "x"},
    "models": {
        "m": {"path": "models/m", "options": {"threads": 1}},
        "n": {"path": "/abs/n"},
    },
    "sources": {
        "cam": {"kind": "v4l2", "device": "/dev/video0"},
        "clip": {"kind": "video", "path": "../clip.avi"},
        "album": {"kind": "images", "paths": ["a.png", "sub/b.png"]},
        "net": {"kind": "rtsp", "url": "rtsp://host/x", "username": "u", "password_file": "secret.txt"},
    },
    "sinks": {"log": {"kind": "jsonl", "path": "out.jsonl"}, "out": {"kind": "jsonl", "path": "-"}},
    "pipelines": {
        "a": {"source": "cam", "model": "m", "sinks": ["log", "out"]},
        "b": {"source": "folder", "model": "n"},
        "c": {"source": "rtsp://host/y", "model": "m"},
        "d": {"source": {"kind": "video", "path": "d.avi"}, "model": "m"},
        "e": {"source": "clip", "model": "m"},
        "f": {"source": "album", "model": "m"},
        "g": {"source": "net", "model": "m"},
    },
}


def test_it_means_the_same_from_anywhere(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "folder").mkdir(parents=True)
    here = from_data(DATA, base=own)
    there = from_data(rebase(DATA, own), base=tmp_path / "elsewhere")
    assert msgspec.to_builtins(there) == msgspec.to_builtins(here)


def test_what_means_the_default_stays() -> None:
    data = {"runtime": {"state_dir": ""}, "control": {}, "device": {"id": "x"}}
    assert rebase(data, Path("/base")) == data


@pytest.mark.parametrize(
    "data",
    [
        {"models": 3},
        {"models": {"m": 3}, "pipelines": {"p": "x"}},
        {"models": {"m": {"path": 3, "engine": 4, "options": {"a": 1}}}},
        {
            "sources": {"s": {"kind": "nonsense", "path": "x"}, "t": {"kind": 5}},
            "pipelines": {"p": {"source": 7}},
        },
        {"runtime": [], "control": "x", "sinks": {"a": {}}},
    ],
)
def test_what_is_wrong_stays_wrong(data: dict[str, Any]) -> None:
    moved = rebase(data, Path("/base"))
    assert moved == data
    with pytest.raises(ConfigError):
        from_data(moved)
