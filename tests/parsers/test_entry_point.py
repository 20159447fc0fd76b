"""A user's parser, installed as a package would be."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edged import registry
from edged.assembly import REGISTERED
from edged.errors import EdgedError, ModelError
from edged.frames import Geometry
from edged.models.load import load_model
from edged.models.suggest import recognize
from edged.tensors import TensorSpec

EXAMPLE = Path(__file__).parent / "example" / "brightest.py"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `pip install` leaves: the module, and metadata that names its entry points."""
    info = tmp_path / "brightest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brightest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[edged.parsers]\n"
        "brightest = brightest:BrightestParser\n"
        "broken = brightest:NoSuchClass\n"
        "yolox = brightest:BrightestParser\n"
    )
    shutil.copy(EXAMPLE, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._found.cache_clear()
    yield
    registry._found.cache_clear()
    sys.modules.pop("brightest", None)


@pytest.fixture
def heat_model(tmp_path: Path) -> Path:
    """A model directory whose [output] names the user's parser and a key of its own."""
    onnx = pytest.importorskip("onnx")
    picture = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 1, 8, 8])
    warm = onnx.helper.make_tensor_value_info("warm", onnx.TensorProto.FLOAT, [1, 1, 8, 8])
    node = onnx.helper.make_node("Relu", ["images"], ["warm"])
    graph = onnx.helper.make_graph([node], "heat", [picture], [warm])
    opset = [onnx.helper.make_opsetid("", 17)]
    data = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    folder = tmp_path / "heat"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(data)
    (folder / "model.toml").write_text(
        f'name = "heat"\nfile = "model.onnx"\nsha256 = "{hashlib.sha256(data).hexdigest()}"\n'
        '[input]\ntensor = "images"\nsize = [8, 8]\ncolor = "GREY"\n'
        '[output]\nparser = "brightest"\ntensor = "warm"\n'
    )
    return folder


@pytest.mark.usefixtures("installed")
def test_a_users_parser_is_found_and_works(heat_model: Path) -> None:
    parser = registry.load("parsers", "brightest")(load_model(heat_model))
    heat = np.zeros((8, 8), np.float32)
    heat[2, 5] = 1
    parsed = parser.finish(parser.decode({"warm": heat}), Geometry.fit((16, 16), (8, 8), "stretch"))
    assert parsed.boxes.tolist() == [[10, 4, 1, 1]]


@pytest.mark.usefixtures("installed")
def test_a_broken_one_says_so_and_built_in_names_stay() -> None:
    with pytest.raises(EdgedError, match="NoSuchClass"):
        registry.load("parsers", "broken")
    assert registry.load("parsers", "yolox").__module__ == "edged.parsers.yolox"


@pytest.mark.usefixtures("installed")
def test_one_that_cannot_be_built_is_named(heat_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(self: object, model: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(registry.load("parsers", "brightest"), "__init__", stumble)
    with pytest.raises(ModelError, match="parser 'brightest' cannot be built: ZeroDivisionError: division"):
        REGISTERED.parser(load_model(heat_model))


def test_one_that_cannot_be_loaded_is_passed_over_when_a_graph_is_recognized(
    installed: None, caplog: pytest.LogCaptureFixture
) -> None:
    outputs = [TensorSpec("output", (1, 3549, 85), np.dtype(np.float32))]
    inputs = [TensorSpec("images", (1, 3, 416, 416), np.dtype(np.float32))]
    found = recognize(inputs, outputs, {})
    assert found is not None
    assert found.parser == "yolox"
    assert "parser 'broken'" in caplog.text
    with pytest.raises(EdgedError, match="broken"):
        recognize(inputs, outputs, {}, only="broken")
