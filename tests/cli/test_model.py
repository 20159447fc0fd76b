"""edged model new, show and verify, as a user meets them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from edged.cli.main import main
from edged.errors import ExitCode
from edged.models.labels import COCO80
from edged.models.load import load_model
from tests import onnx_models

Capture = pytest.CaptureFixture[str]


def new(*words: object) -> int:
    return main(["model", "new", *map(str, words)])


@pytest.fixture(autouse=True)
def only_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other commands need not be imported to test this one."""
    monkeypatch.setattr("edged.cli.main.COMMANDS", {"model": "edged.cli.model"})


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return onnx_models.mean_classes(tmp_path / "mean.onnx")


def test_coco_has_its_80_classes() -> None:
    assert len(set(COCO80)) == 80
    assert (COCO80[0], COCO80[-1]) == ("person", "toothbrush")


def test_a_known_detector_needs_no_flags(yolox: Path, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "models" / "yolox-nano"
    assert new(yolox, target) == ExitCode.OK
    out = capsys.readouterr().out
    assert "parser yolox, 80 labels" in out
    assert 'color = "BGR"' in out
    model = load_model(target)
    assert (model.name, model.task, model.output.parser) == ("yolox-nano", "detect", "yolox")
    assert (model.input.tensor, model.input.size, model.input.color) == ("images", (416, 416), "BGR")
    assert (model.input.resize, model.input.pad) == ("letterbox-topleft", 114)
    assert model.output.labels == COCO80
    assert model.sha256 == hashlib.sha256(yolox.read_bytes()).hexdigest()
    assert "# check: " in (target / "model.toml").read_text()
    assert sorted(p.name for p in target.iterdir()) == ["labels.txt", "model.onnx", "model.toml"]
    assert os.listdir(target.parent) == ["yolox-nano"]
    assert target.stat().st_mode & 0o777 == 0o755

    assert main(["model", "verify", str(target), "--json"]) == ExitCode.OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["ok"] is True
    assert facts["outputs"] == ["output: float32[1, 3549, 85]"]


def test_flags_leave_nothing_to_check(classifier: Path, tmp_path: Path, capsys: Capture) -> None:
    labels = tmp_path / "names"
    labels.write_text("red\ngreen\nblue\n")
    flags = [
        "--name",
        "mean",
        "--version",
        "3",
        "--task",
        "classify",
        "--parser",
        "classification",
        "--color",
        "BGR",
    ]
    flags += ["--resize", "stretch", "--pad", "0", "--mean", "1,2,3", "--std", "255", "--labels", str(labels)]
    assert new(classifier, tmp_path / "m", *flags) == ExitCode.OK
    assert "check" not in capsys.readouterr().out
    assert "# check" not in (tmp_path / "m" / "model.toml").read_text()
    model = load_model(tmp_path / "m")
    assert (model.name, model.version, model.task) == ("mean", "3", "classify")
    assert (model.input.color, model.input.resize, model.input.pad) == ("BGR", "stretch", 0)
    assert (model.input.mean, model.input.std) == ((1.0, 2.0, 3.0), (255.0, 255.0, 255.0))
    assert model.output.labels == ("red", "green", "blue")


def test_labels_and_size_that_the_exporter_stored_are_taken(tmp_path: Path) -> None:
    metadata = {"names": "{0: 'a\\nb', 1: 'c', 2: 'd'}", "imgsz": "[8, 16]", "task": "classify"}
    file = onnx_models.mean_classes(tmp_path / "m.onnx", (1, 3, "h", "w"), metadata)
    assert new(file, tmp_path / "m") == ExitCode.OK
    model = load_model(tmp_path / "m")
    assert model.input.size == (16, 8)
    assert model.output.labels == ("a b", "c", "d")


def test_what_no_parser_knows_is_raw_and_marked(tmp_path: Path, capsys: Capture) -> None:
    assert new(onnx_models.identity(tmp_path / "m.onnx", "uint8"), tmp_path / "m") == ExitCode.OK
    assert "no parser knows the outputs (y: uint8[1, 3, 4, 6])" in capsys.readouterr().out
    model = load_model(tmp_path / "m")
    assert (model.task, model.output.parser, model.input.std) == ("raw", "raw", (1.0, 1.0, 1.0))
    assert main(["model", "verify", str(tmp_path / "m")]) == ExitCode.OK


def test_grey_pictures_with_channels_last(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx", ("n", "h", "w", 1), None)
    assert new(file, tmp_path / "m", "--size", "6x4") == ExitCode.OK
    image = load_model(tmp_path / "m").input
    assert (image.color, image.layout, image.size) == ("GREY", "NHWC", (6, 4))


def test_shape_changes_a_fixed_input_and_folds_weights(tmp_path: Path, capsys: Capture) -> None:
    file = onnx_models.scaled(tmp_path / "m.onnx", weight_as_input=True)
    assert new(file, tmp_path / "m") == ExitCode.MODEL
    assert "--shape x=1,3,4,6" in capsys.readouterr().err
    assert new(file, tmp_path / "m", "--shape", "x=1,3,8,16") == ExitCode.OK
    out = capsys.readouterr().out
    assert "was fixed at [10, 3, 4, 6]; the copy has [1, 3, 8, 16]" in out
    assert "1 weights were listed as inputs" in out
    model = load_model(tmp_path / "m")
    assert model.input.size == (16, 8)
    assert hashlib.sha256(file.read_bytes()).hexdigest() in (tmp_path / "m" / "model.toml").read_text()
    assert main(["model", "verify", str(tmp_path / "m")]) == ExitCode.OK


def test_weights_in_other_files_are_packed(tmp_path: Path) -> None:
    assert new(onnx_models.external(tmp_path / "m.onnx"), tmp_path / "m") == ExitCode.OK
    assert sorted(os.listdir(tmp_path / "m")) == ["model.onnx", "model.toml"]


@pytest.mark.parametrize(
    ("make", "flags", "code", "said"),
    [
        (onnx_models.relu, ["--size", "8x8"], ExitCode.MODEL, "is fixed, wanted is [1, 3, 8, 8]"),
        (onnx_models.two_inputs, [], ExitCode.MODEL, "feeds one picture"),
        (onnx_models.nonzero, [], ExitCode.ENGINE, "depends on the picture"),
        (onnx_models.unknown_op, [], ExitCode.ENGINE, "Frobnicate"),
        (onnx_models.fails_at_run, ["--size", "6x5"], ExitCode.ENGINE, "inference failed"),
        (onnx_models.fails_at_run, [], ExitCode.MODEL, "--size WIDTHxHEIGHT"),
        (onnx_models.relu, ["--shape", "y=1,3,4,6"], ExitCode.MODEL, "'y' is no input"),
        (onnx_models.relu, ["--shape", "x=2,3,4,6"], ExitCode.MODEL, "one picture at a time"),
        (onnx_models.relu, ["--shape", "x=1,3"], ExitCode.MODEL, "four dimensions"),
        (onnx_models.relu, ["--parser", "yolx"], ExitCode.MODEL, "did you mean 'yolox'?"),
        (onnx_models.relu, ["--parser", "yolox"], ExitCode.MODEL, "parser 'yolox' needs"),
        (onnx_models.mean_classes, ["--parser", "yolox"], ExitCode.MODEL, "parser 'yolox' needs"),
        (onnx_models.relu, ["--mean", "1,2"], ExitCode.CONFIG, "input.mean: has 2 values"),
        (onnx_models.relu, ["--labels", "/none"], ExitCode.MODEL, "coco80"),
        (onnx_models.relu, ["--name", "a b"], ExitCode.CONFIG, "name: expected `str`, got 'a b'"),
        (onnx_models.relu, ["--task", "detect"], ExitCode.CONFIG, "contradicts parser 'raw'"),
    ],
    ids=str,
)
def test_what_is_refused_leaves_nothing_behind(
    tmp_path: Path, capsys: Capture, make: onnx_models.Make, flags: list[str], code: ExitCode, said: str
) -> None:
    file = make(tmp_path / "m.onnx")
    target = tmp_path / "models" / "m"
    assert new(file, target, *flags) == code
    assert said in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_files_that_are_no_onnx(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    for name, said in (
        ("text.onnx", "not a whole ONNX file"),
        ("none.onnx", "No such file"),
        (".", "directory"),
    ):
        assert new(tmp_path / name, tmp_path / "m") == ExitCode.MODEL
        assert said in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["text.onnx"]


def test_an_existing_directory_is_never_overwritten(
    classifier: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "m").mkdir()
    assert new(classifier, tmp_path / "m") == ExitCode.MODEL
    assert "exists already" in capsys.readouterr().err
    assert os.listdir(tmp_path / "m") == []


@pytest.mark.parametrize(
    "flags", [["--size", "640"], ["--size", "0x4"], ["--mean", "a"], ["--shape", "x=0"]], ids=str
)
def test_malformed_flags_are_usage_errors(
    classifier: Path, tmp_path: Path, capsys: Capture, flags: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        new(classifier, tmp_path / "m", *flags)
    assert caught.value.code == ExitCode.USAGE
    assert flags[1] in capsys.readouterr().err


def test_show_tells_the_facts(classifier: Path, tmp_path: Path, capsys: Capture) -> None:
    new(classifier, tmp_path / "m")
    capsys.readouterr()
    assert main(["model", "show", str(tmp_path / "m")]) == ExitCode.OK
    assert "x: float32[1, 3, 8, 8]" in capsys.readouterr().out
    assert main(["model", "show", str(tmp_path / "m"), "--json"]) == ExitCode.OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["operators"] == {"GlobalAveragePool": 1, "Flatten": 1}
    assert facts["output"]["parser"] == "classification"


def test_verify_refuses_what_is_wrong_with_one_exit_code(
    classifier: Path, tmp_path: Path, capsys: Capture
) -> None:
    new(classifier, tmp_path / "m")
    capsys.readouterr()

    def verify(name: str, *flags: str) -> str:
        assert main(["model", "verify", str(tmp_path / name), *flags]) == ExitCode.MODEL
        return "".join(capsys.readouterr())

    swapped = tmp_path / "swapped"
    shutil.copytree(tmp_path / "m", swapped)
    data = (swapped / "model.onnx").read_bytes()
    (swapped / "model.onnx").write_bytes(data.replace(b"Flatten", b"FLatten"))
    assert "sha256" in verify("swapped")

    toml = tmp_path / "m" / "model.toml"
    good = toml.read_text()
    toml.write_text(
        good.replace('parser = "classification"', 'parser = "yolox"').replace("classify", "detect")
    )
    assert "parser 'yolox' needs" in verify("m")
    toml.write_text(good.replace("pad =", "pud ="))
    answer = json.loads(verify("m", "--json"))
    assert answer["ok"] is False
    assert answer["problems"] == [
        {"path": "input.pud", "message": "unknown key", "hint": "did you mean 'pad'?"}
    ]
    assert "does not exist" in verify("none")


def test_what_the_engine_refuses_is_told_of_a_file_that_the_user_knows(
    tmp_path: Path, capsys: Capture
) -> None:
    file, target = onnx_models.unknown_op(tmp_path / "odd.onnx"), tmp_path / "m"
    assert new(file, target) == ExitCode.ENGINE
    err = capsys.readouterr().err
    assert str(target / "model.onnx") in err
    assert f".{target.name}-" not in err, "the folder that it was made in is gone"
    assert not target.exists()
