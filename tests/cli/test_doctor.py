"""edged doctor, as a user runs it on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged.cli import main
from edged.doctor.checks import CHECKS
from edged.errors import ExitCode
from tests import onnx_models

TOML = """
runtime.device = "cpu"
[pipelines.front]
source = {kind = "pattern"}
model = "m"
[models.m]
path = "m"
"""


def doctor(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    status = main.main(["doctor", *args])
    return status, capsys.readouterr().out


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "m").mkdir()
    onnx_models.model_toml(tmp_path / "m", onnx_models.relu(tmp_path / "m" / "m.onnx"), size=(6, 4))
    made = tmp_path / "edged.toml"
    made.write_text(TOML)
    return made


def test_every_check_says_something_and_each_finding_has_a_remedy(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = doctor(capsys, str(file), "--json", "--quick", "--state-dir", str(tmp_path))
    told = json.loads(out)
    assert {r["check"] for r in told["checks"]} == {c.name for c in CHECKS}
    assert all(r["remedy"] for r in told["checks"] if r["state"] in ("warn", "fail"))
    assert sum(told["counts"].values()) == len(told["checks"])
    assert told["ok"] == (told["counts"]["fail"] == 0)


def test_a_good_configuration(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = [w for name in ("configuration", "models", "memory", "state_dir") for w in ("--only", name)]
    status, out = doctor(capsys, str(file), "--state-dir", str(tmp_path), *only)
    assert status == ExitCode.OK
    assert "pass      models        m: tiny" in out
    assert "pass      memory        " in out
    assert out.endswith("0 fail, 0 not here\n")


def test_a_configuration_that_cannot_be_read_is_one_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "edged.toml"
    file.write_text(TOML.replace('"pattern"', '"patern"'))
    status, out = doctor(capsys, str(file), "--only", "configuration", "--only", "edged")
    assert status == ExitCode.UNFIT
    assert "fail      configuration" in out
    assert "remedy: did you mean 'pattern'?" in out
    assert "1 pass, 0 warn, 1 fail, 0 not here" in out


def test_without_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    status, out = doctor(capsys, "--only", "models", "--only", "memory")
    assert status == ExitCode.OK
    assert "0 pass, 0 warn, 0 fail, 2 not here" in out
