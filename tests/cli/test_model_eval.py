"""edged model eval, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged.cli.main import main
from edged.errors import ExitCode
from tests.evaluation.made import COLORS, coco_file, color_classifier, picture

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def only_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other commands need not be imported to test this one."""
    monkeypatch.setattr("edged.cli.main.COMMANDS", {"model": "edged.cli.model"})
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def colors(tmp_path: Path) -> Path:
    for name, color in COLORS.items():
        for i in range(2):
            picture(tmp_path / "colors" / name / f"{i}.png", color)
    return tmp_path / "colors"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return color_classifier(tmp_path / "m")


def evaluate(*words: object) -> int:
    return main(["model", "eval", *map(str, words), "--device", "cpu"])


def test_tables_for_people(model: Path, colors: Path, capsys: Capture) -> None:
    assert evaluate(model, colors, "--limit", 4) == ExitCode.OK
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()[1:3]] == [["top-1", "1.0000"], ["top-5", "1.0000"]]
    assert out.startswith("tiny ")
    assert "onnxruntime" in out.splitlines()[0]
    assert "on 4 of 6 pictures" in err
    assert "(a folder a class)" in err


def test_json_for_programs_has_every_picture(
    model: Path, colors: Path, tmp_path: Path, capsys: Capture
) -> None:
    other = color_classifier(tmp_path / "n", ("red", "blue", "green"))
    assert evaluate(other, colors, "--against", model, "--max-drop", "0.5", "--json") == ExitCode.ENGINE
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert found["ok"] is False
    assert (found["report"]["score"], found["reference"]["score"]) == pytest.approx((1 / 3, 1.0))
    assert found["agreement"]["score"] == 1.0
    assert found["verdict"]["passed"] is False
    assert found["verdict"]["worst"][0] == {"name": "blue/0.png", "before": 1.0, "after": 0.0}
    assert found["report"]["each"][0]["name"] == "blue/0.png"


def test_a_refusal_names_the_pictures(model: Path, colors: Path, tmp_path: Path, capsys: Capture) -> None:
    other = color_classifier(tmp_path / "n", ("red", "blue", "green"))
    assert evaluate(other, colors, "--against", model, "--max-drop", "0.01") == ExitCode.ENGINE
    out = capsys.readouterr().out
    assert "REFUSED: top-1 goes from 1.0000 to 0.3333: a drop of 0.6667, and a drop of 0.01 is allowed" in out
    assert "  green/1.png: 1.000 to 0.000" in out
    assert evaluate(model, colors, "--max-drop", "0.01") == ExitCode.OK
    assert "passed: top-1 goes from 1.0000 to 1.0000" in capsys.readouterr().out


def test_unlabelled_pictures_are_held_against_onnx_runtime(
    model: Path, colors: Path, capsys: Capture
) -> None:
    for words in ([colors / "red"], [colors, "--unlabelled"]):
        assert evaluate(model, *words, "--json") == ExitCode.OK
        found = json.loads(capsys.readouterr().out)
        assert found["report"]["metric"] == "agreement"
        assert found["report"]["score"] == 1.0
        assert "agreement" not in found, "it is the report"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none"], ExitCode.SOURCE, "does not exist"),
        (["empty"], ExitCode.SOURCE, "is no set of pictures; looked for:\n  COCO: "),
        (["boxes"], ExitCode.MODEL, "has COCO labels, which are for a model of task 'detect'"),
        (["purple"], ExitCode.MODEL, "'purple' is none of the labels of model tiny"),
        (["colors", "--engine", "tensort"], ExitCode.ENGINE, "engine 'tensort' is unknown"),
        (["colors", "--engine", "tensorrt"], ExitCode.ENGINE, "cannot run on the CPU"),
        (["colors", "--against", "none"], ExitCode.MODEL, "does not exist"),
    ],
)
def test_what_is_wrong_is_said(
    words: list[str],
    code: ExitCode,
    said: str,
    model: Path,
    colors: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    picture(Path("purple/purple/1.png"))
    picture(Path("boxes/a.png"))
    coco_file(Path("boxes/l.json"), ["red"], {"a.png": [(1, [0, 0, 1, 1])]})
    assert evaluate("m", *words) == code
    err = capsys.readouterr().err
    assert said in err
    assert "remedy: " in err
    assert evaluate("m", *words, "--json") == code
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert said in found["error"]


def test_a_remedy_names_the_options_of_this_command(model: Path, colors: Path, capsys: Capture) -> None:
    assert evaluate(model, colors, "--engine", "tensorrt-rtx") == ExitCode.ENGINE
    remedy = capsys.readouterr().err.partition("remedy: ")[2]
    assert remedy.strip() == "set --device cuda, or --engine onnxruntime for this model"


@pytest.mark.parametrize("flags", [["--limit", "0"], ["--max-drop", "2"], ["--max-drop", "x"]])
def test_malformed_flags_are_usage_errors(
    flags: list[str], model: Path, colors: Path, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as caught:
        evaluate(model, colors, *flags)
    assert caught.value.code == ExitCode.USAGE
    assert f"'{flags[1]}'" in capsys.readouterr().err
