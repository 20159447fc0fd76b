from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edged.errors import MissingPackage, ModelError
from edged.models.inspect import read_graph
from edged.models.rewrite import rewrite
from tests import onnx_models


def test_a_fixed_input_gets_another_shape_and_outputs_follow(tmp_path: Path) -> None:
    source = onnx_models.scaled(tmp_path / "m.onnx")
    rewrite(source, tmp_path / "new.onnx", {"x": (1, 3, 8, 8)})
    facts = read_graph(tmp_path / "new.onnx")
    assert facts.inputs[0].fixed == (1, 3, 8, 8)
    assert facts.outputs[0].dims == ("y_0", "y_1", "y_2", "y_3")


def test_weights_become_constants_and_come_inside(tmp_path: Path) -> None:
    rewrite(onnx_models.scaled(tmp_path / "m.onnx", weight_as_input=True), tmp_path / "a.onnx", {})
    assert read_graph(tmp_path / "a.onnx").weights_as_inputs == 0
    rewrite(onnx_models.external(tmp_path / "m.onnx"), tmp_path / "b.onnx", {})
    assert read_graph(tmp_path / "b.onnx").external == ()


def test_another_rank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has 4 dimensions, --shape gives 2"):
        rewrite(onnx_models.scaled(tmp_path / "m.onnx"), tmp_path / "new.onnx", {"x": (1, 3)})


def test_missing_weights_are_a_model_error(tmp_path: Path) -> None:
    source = onnx_models.external(tmp_path / "m.onnx")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match="cannot be rewritten"):
        rewrite(source, tmp_path / "new.onnx", {})


def test_without_the_onnx_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = onnx_models.scaled(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackage, match=r"edged\[ort\]"):
        rewrite(source, tmp_path / "new.onnx", {})
