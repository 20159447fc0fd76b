"""edged check, as a user runs it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from edged.cli import check
from edged.errors import ExitCode
from tests import onnx_models

GOOD = """
runtime.device = "cpu"
[device]
id = "robot-7"
[pipelines.front]
source = {kind = "pattern"}
model = "m"
sinks = ["bus", "log"]
[pipelines.shots]
source = {kind = "images", paths = ["m/m.onnx", "edged.toml"]}
model = "m"
sinks = []
[models.m]
path = "m"
[sinks.bus]
kind = "zmq"
[sinks.log]
kind = "jsonl"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "m").mkdir()
    model = onnx_models.relu(tmp_path / "m" / "m.onnx")
    onnx_models.model_toml(tmp_path / "m", model, size=(6, 4), top='version = "2"')
    path = tmp_path / "edged.toml"
    path.write_text(GOOD)
    return path


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    check.arguments(parser)
    status = check.run(parser.parse_args(args))
    out, err = capsys.readouterr()
    assert err == ""
    return status, out


def test_good(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys, str(file))
    assert status == ExitCode.OK
    base = file.parent
    assert out == (
        f"{file}: warning: pipelines.shots.sinks: results go nowhere\n"
        f"{file}: ok — 2 pipelines, 2 sources, 1 model, 2 sinks, device 'robot-7'\n"
        "  runs on cpu (as configured)\n"
        "  front: front (pattern) → m (tiny 2, auto) → bus (zmq tcp://127.0.0.1:5556), log (jsonl -)\n"
        f"  shots: shots (images {base}/m/m.onnx and 1 more) → m (tiny 2, auto) → nowhere\n"
    )


def test_problems_of_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD.replace('"pattern"', '"patern"').replace('"zmq"', '"zmqq"'))
    status, out = run(capsys, str(file))
    assert status == ExitCode.CONFIG
    assert out == (
        f"{file}: sinks.bus.kind: 'zmqq' is unknown; did you mean 'zmq'?\n"
        f"{file}: pipelines.front.source.kind: 'patern' is unknown; did you mean 'pattern'?\n"
    )


def test_problems_of_the_machine(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "m" / "m.onnx").write_bytes(b"not a model")
    status, out = run(capsys, str(file))
    assert status == ExitCode.CONFIG
    assert "models.m.path: " in out
    assert "Traceback" not in out


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys, str(tmp_path / "x.toml"))
    assert (status, out) == (ExitCode.CONFIG, f"{tmp_path}/x.toml: no such file; check the path\n")


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys, str(file), "--json")
    assert status == ExitCode.OK
    assert json.loads(out) == {
        "ok": True,
        "problems": [],
        "warnings": ["pipelines.shots.sinks: results go nowhere"],
    }
    file.write_text(GOOD.replace('"zmq"', '"zmqq"'))
    status, out = run(capsys, str(file), "--json")
    assert status == ExitCode.CONFIG
    assert json.loads(out) == {
        "ok": False,
        "problems": [
            {"path": "sinks.bus.kind", "message": "'zmqq' is unknown", "hint": "did you mean 'zmq'?"}
        ],
        "warnings": [],
    }
