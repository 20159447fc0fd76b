"""What a good configuration lacks on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.config.load import loads
from edged.config.machine import Findings, inspect_machine
from tests import onnx_models

TAIL = "[models.m]\npath = 'm'\n"


def model(folder: Path, ops_size: int = 8, output: str = 'parser = "raw"', top: str = "") -> Path:
    folder.mkdir()
    file = onnx_models.relu(folder / "m.onnx", (1, 3, ops_size, ops_size))
    onnx_models.model_toml(folder, file, size=(ops_size, ops_size), output=output, top=top)
    return folder


def findings(base: Path, text: str) -> Findings:
    return inspect_machine(loads(text, base=base))


def said(base: Path, text: str) -> list[str]:
    return [str(p) for p in findings(base, text).problems]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    model(tmp_path / "m")
    return tmp_path


def test_all_is_there(place: Path) -> None:
    found = findings(place, f"[pipelines.p]\nsource = {{kind = 'pattern'}}\nmodel = 'm'\n{TAIL}")
    assert (found.problems, found.warnings) == ([], [])
    assert found.models["m"].name == "tiny"


def test_no_model(tmp_path: Path) -> None:
    (found,) = said(tmp_path, f"[pipelines.p]\nsource = {{kind = 'pattern'}}\nmodel = 'm'\n{TAIL}")
    assert found.startswith(f"models.m.path: {tmp_path}/m: does not exist; ")


def test_a_bad_model_toml_is_told_key_by_key(place: Path) -> None:
    file = place / "m" / "model.toml"
    file.write_text(file.read_text().replace("size = [8, 8]", "size = [8, 0]\nsiez = 1"))
    found = said(place, f"[pipelines.p]\nsource = {{kind = 'pattern'}}\nmodel = 'm'\n{TAIL}")
    assert len(found) > 1
    assert all(f.startswith(f"models.m.path: {file}: input.") for f in found)


def test_labels_that_the_model_lacks(tmp_path: Path) -> None:
    model(tmp_path / "m", output='parser = "yolox"\nlabels = ["person", "car"]')
    text = f"[pipelines.p]\nsource = {{kind = 'pattern'}}\nmodel = 'm'\nclasses = ['car', 'persons']\n{TAIL}"
    assert said(tmp_path, text) == [
        "pipelines.p.classes[1]: 'persons' is no label of model 'm'; did you mean 'person'?"
    ]


def test_classes_of_a_model_without_labels(place: Path) -> None:
    text = f"[pipelines.p]\nsource = {{kind = 'pattern'}}\nmodel = 'm'\nclasses = ['7']\n{TAIL}"
    (found,) = said(place, text)
    assert found.startswith("pipelines.p.classes: names labels, and model 'm' has none; ")


def test_two_models_that_results_could_not_tell_apart(place: Path) -> None:
    model(place / "n", 16)
    model(place / "o", 32, top='version = "2"')
    text = "[pipelines.p]\nsource = {kind = 'pattern'}\nmodel = 'm'\n" + TAIL
    text += "".join(f"[models.{x}]\npath = '{x}'\n" for x in "no") + "[models.same]\npath = 'm'\n"
    (found,) = said(place, text)
    assert found.startswith("models.n: is 'tiny' version '' as models.m is, but another file; ")


def test_files_of_sources_and_sinks(place: Path) -> None:
    text = (
        TAIL
        + """
        [pipelines.p]
        source = {kind = "images", paths = ["a.png", "m/model.toml"]}
        model = "m"
        [sources.clip]
        kind = "video"
        path = "clip.avi"
        [sources.cam]
        kind = "video"
        path = "/dev/video-absent"
        [sinks.log]
        kind = "jsonl"
        path = "logs/x.jsonl"
        [sinks.here]
        kind = "jsonl"
        path = "x.jsonl"
        [sinks.out]
        kind = "jsonl"
        [sinks.cloud]
        kind = "mqtt"
        host = "h"
        username = "u"
        password_file = "secret"
        """
    )
    found = findings(place, text)
    assert [str(p) for p in found.problems] == [
        f"sources.clip.path: no such file or folder: {place}/clip.avi; check the path",
        f"pipelines.p.source: no such file or folder: {place}/a.png; check the path",
        f"sinks.log.path: no folder {place}/logs; mkdir -p {place}/logs",
        f"sinks.cloud.password_file: no such file or folder: {place}/secret; check the path",
    ]
    assert found.warnings == ["sources.cam.path: /dev/video-absent is not there now"]
