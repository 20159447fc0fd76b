"""edged model build, as a user meets what it refuses before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.cli.main import main
from edged.errors import ExitCode
from tests import onnx_models


@pytest.mark.parametrize(
    ("words", "said", "remedy"),
    [
        (["--max-drop", "0.01"], "--max-drop: of what?", "--evaluate DATASET"),
        (["--workspace", "0"], "a workspace of 0 B leaves layers no memory", "--help"),
        (["--precision", "fp32", "--keep-fp32", "head/*"], "--keep-fp32 is for --precision fp16", "--help"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    tmp_path: Path, words: list[str], said: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx_models.model_toml(tmp_path, onnx_models.relu(tmp_path / "m.onnx"), size=(6, 4))
    state = tmp_path / "state"
    assert main(["model", "build", str(tmp_path), "--state-dir", str(state), *words]) == ExitCode.ENGINE
    message, _, hint = capsys.readouterr().err.partition("remedy: ")
    assert said in message
    assert remedy in hint
    assert not state.exists()
