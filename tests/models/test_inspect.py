"""Facts of ONNX files, read from their bytes: the same that the onnx package sees, and no crash on others."""

from __future__ import annotations

import contextlib
import tempfile
from functools import cache
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ModelError
from edged.models.inspect import read_graph
from tests import onnx_models


def test_the_facts_are_those_that_the_onnx_package_sees(yolox: Path) -> None:
    facts, model = read_graph(yolox), onnx.load(str(yolox))
    assert [str(t) for t in facts.inputs] == ["images: float32[1, 3, 416, 416]"]
    assert [str(t) for t in facts.outputs] == ["output: float32[1, 3549, 85]"]
    assert facts.nodes == len(model.graph.node)
    assert facts.ops["Conv"] == sum(n.op_type == "Conv" for n in model.graph.node)
    assert (facts.opset, facts.ir_version) == (model.opset_import[0].version, model.ir_version)
    assert facts.producer == f"{model.producer_name} {model.producer_version}".strip()
    assert facts.weight_bytes == sum(w.ByteSize() for w in model.graph.initializer)


def test_open_dimensions_keep_their_names(tmp_path: Path) -> None:
    facts = read_graph(onnx_models.relu(tmp_path / "m.onnx", ("n", 3, None, 6), None))
    assert facts.inputs[0].dims == ("n", 3, "?", 6)
    assert facts.inputs[0].fixed is None
    assert facts.outputs[0].dims is None
    assert str(facts.outputs[0]) == "y: float32[…]"


def test_weights_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    facts = read_graph(onnx_models.scaled(tmp_path / "m.onnx", weight_as_input=True))
    assert [t.name for t in facts.inputs] == ["x"]
    assert facts.weights_as_inputs == 1
    assert facts.input("x") is facts.inputs[0]
    assert facts.input("w") is None


def test_files_of_weights_are_named(tmp_path: Path) -> None:
    assert read_graph(onnx_models.external(tmp_path / "m.onnx")).external == ("weights.bin",)


def test_metadata_of_the_exporter(tmp_path: Path) -> None:
    facts = read_graph(onnx_models.mean_classes(tmp_path / "m.onnx", metadata={"names": "{0: 'é'}"}))
    assert facts.metadata == {"names": "{0: 'é'}"}


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "empty"), (b"this is text, not a graph\n" * 9, "not a whole ONNX"), (b"\x08\x07", "no graph")],
    ids=["empty", "text", "no graph"],
)
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=said):
        read_graph(path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.onnx"):
        with pytest.raises(ModelError, match="cannot be read"):
            read_graph(path)


@cache
def _whole() -> bytes:
    with tempfile.TemporaryDirectory() as d:
        return onnx_models.scaled(Path(d) / "m.onnx", weight_as_input=True).read_bytes()


@given(st.data())
def test_damaged_bytes_give_facts_or_a_model_error(data: st.DataObject) -> None:
    whole = _whole()
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.one_of(
            st.just(whole[:at]),
            st.binary(min_size=1, max_size=4).map(lambda b: whole[:at] + b + whole[at + len(b) :]),
            st.binary(max_size=64),
        )
    )
    with tempfile.NamedTemporaryFile(suffix=".onnx") as f:
        f.write(damaged)
        f.flush()
        with contextlib.suppress(ModelError):
            str(read_graph(Path(f.name)))
