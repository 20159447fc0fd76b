"""Whole evaluations: of classes, of a detector with labels and without, of a graph that was cast to FP16."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edged.build.half import decide, rounded
from edged.errors import DeviceError, ModelError, SourceError
from edged.evaluation.datasets import read_dataset
from edged.evaluation.evaluate import evaluate
from edged.evaluation.gate import gate
from edged.evaluation.subject import Setup, reference, set_up
from edged.models.files import sha256_of
from edged.models.labels import COCO80
from tests import onnx_models
from tests.evaluation.made import COLORS, color_classifier, picture
from tests.test_accuracy import model_directory


def setup(directory: Path) -> Setup:
    return set_up(directory, device="cpu")


@pytest.fixture
def colors(tmp_path: Path) -> Path:
    """Two pictures a class; one of the green ones is blue."""
    for name, color in COLORS.items():
        picture(tmp_path / "colors" / name / "1.png", color)
        picture(tmp_path / "colors" / name / "2.png", (255, 0, 0) if name == "green" else color, (17, 9))
    return tmp_path / "colors"


def test_classes_have_top_1_and_top_5(colors: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    model = color_classifier(tmp_path / "m")
    found = evaluate(
        setup(model), read_dataset(colors), progress=lambda done, of: seen.append((done, of))
    ).report
    assert (found.metric, found.pictures, found.kind) == ("top-1", 6, "classes")
    assert found.score == found.figures["top-1"] == pytest.approx(5 / 6)
    assert found.figures["top-5"] == 1.0, "there are but three"
    assert {c.label: (c.score, c.count) for c in found.classes} == {
        "red": (1.0, 2),
        "green": (0.5, 2),
        "blue": (1.0, 2),
    }
    assert [p.name for p in found.each if not p.score] == ["green/2.png"]
    assert found.ran["engine"].startswith("onnxruntime ")
    assert seen == [(i, 6) for i in range(7)]


def test_against_a_model_that_confuses_classes(colors: Path, tmp_path: Path) -> None:
    good, bad = color_classifier(tmp_path / "m"), color_classifier(tmp_path / "n", ("red", "blue", "green"))
    found = evaluate(setup(bad), read_dataset(colors), setup(good))
    assert found.reference is not None
    assert found.agreement is not None
    assert (found.reference.score, found.report.score) == pytest.approx((5 / 6, 1 / 2))
    assert found.agreement.score == 1.0, "the outputs are the same, only their names differ"
    assert found.agreement.figures["cosine of scores, least"] == pytest.approx(1.0)
    assert found.baseline is found.reference
    verdict = gate(found.baseline, found.report, 0.1)
    assert not verdict.passed
    assert [d.name for d in verdict.worst] == ["blue/1.png", "blue/2.png", "green/1.png"]


def test_without_labels_it_is_held_against_onnx_runtime(colors: Path, tmp_path: Path) -> None:
    model = color_classifier(tmp_path / "m")
    pictures = read_dataset(colors).without_labels()
    with pytest.raises(ModelError, match="nothing to compare with"):
        evaluate(setup(model), pictures)
    found = evaluate(setup(model), pictures, reference(model))
    assert (found.report.metric, found.report.score, found.reference) == ("agreement", 1.0, None)
    assert any("the same file, run the same way" in n for n in found.report.notes)
    assert found.baseline is not None
    assert gate(found.baseline, found.report, 0.0).passed


def test_raw_outputs_have_their_cosine(tmp_path: Path) -> None:
    picture(tmp_path / "p" / "1.png")
    folders = []
    for name, make in (
        ("relu", onnx_models.relu),
        ("own", lambda f: onnx_models.scaled(f, dims=(1, 3, 4, 6))),
    ):
        (tmp_path / name).mkdir()
        folders.append(
            onnx_models.model_toml(tmp_path / name, make(tmp_path / name / "m.onnx"), size=(6, 4)).parent
        )
    found = evaluate(setup(folders[0]), read_dataset(tmp_path / "p"), setup(folders[1])).report
    assert found.score == pytest.approx(1.0)
    assert found.figures["cosine of y, least"] == pytest.approx(1.0), "twice the same vector"


def test_what_does_not_fit_is_said_before_anything_runs(colors: Path, tmp_path: Path, yolox: Path) -> None:
    model = color_classifier(tmp_path / "m")
    (tmp_path / "d").mkdir()
    detector = model_directory(tmp_path / "d", yolox, 0.3, 0.45)
    with pytest.raises(
        ModelError, match=r"a folder a class, which are for a model of task 'classify'.*'detect'"
    ):
        evaluate(setup(detector), read_dataset(colors))
    with pytest.raises(ModelError, match="'classify', yolox-nano 'detect'"):
        evaluate(setup(model), read_dataset(colors), setup(detector))
    with pytest.raises(DeviceError, match="device cuda: "):
        set_up(model, device="cuda")
    (colors / "red" / "1.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"red/1\.png"):
        evaluate(setup(model), read_dataset(colors))


def _fp16(directory: Path, target: Path, scale: float = 1.0) -> Path:
    """The model with every value rounded as FP16 has it; `scale` on the way and off again is what overflows."""
    shutil.copytree(directory, target)
    model = onnx.load(str(target / "model.onnx"))
    model = rounded(model, decide(model, {}))
    if scale != 1.0:
        weights = {w.name: w for w in model.graph.initializer}
        name = next(n for n, w in weights.items() if len(w.dims) == 4)
        value = numpy_helper.to_array(weights[name]) * np.float32(scale)
        weights[name].CopyFrom(numpy_helper.from_array(value, name))
    (target / "model.onnx").write_bytes(model.SerializeToString())
    toml = target / "model.toml"
    old = sha256_of(directory / "model.onnx")
    toml.write_text(toml.read_text().replace(old, sha256_of(target / "model.onnx")))
    return target


def test_a_detector_cast_to_fp16_agrees_and_a_spoilt_one_is_refused(
    shared: Path, yolox: Path, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    model = model_directory(tmp_path / "m", yolox, 0.3, 0.45)
    pictures = read_dataset(shared / "coco").limited(6)
    found = evaluate(setup(_fp16(model, tmp_path / "half")), pictures, reference(model))
    assert found.agreement is not None
    assert found.baseline is not None
    assert found.report.score > 0.3
    assert found.agreement.score > 0.95
    assert 0.999 < found.agreement.figures["cosine of output, least"] < 1
    assert gate(found.baseline, found.report, 0.01).passed
    spoilt = evaluate(setup(_fp16(model, tmp_path / "spoilt", 4.0)), pictures, reference(model))
    assert spoilt.baseline is not None
    verdict = gate(spoilt.baseline, spoilt.report, 0.01)
    assert not verdict.passed
    assert verdict.worst[0].before > verdict.worst[0].after
    assert verdict.worst[0].name.startswith("images/")


def test_classes_that_a_detector_does_not_have(shared: Path, yolox: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    model = model_directory(tmp_path / "m", yolox, 0.3, 0.45)
    toml = model / "model.toml"
    toml.write_text(
        toml.read_text().replace('parser = "yolox"', f'parser = "yolox"\nlabels = {json.dumps(COCO80)}')
    )
    picture(tmp_path / "p" / "images" / "1.png")
    (tmp_path / "p" / "labels").mkdir()
    (tmp_path / "p" / "labels" / "1.txt").write_text("80 .5 .5 .1 .1\n")
    with pytest.raises(
        ModelError, match=r"1\.png: is labelled with class 80; model yolox-nano has 80 classes"
    ):
        evaluate(setup(model), read_dataset(tmp_path / "p"))
