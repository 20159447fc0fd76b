"""The graph that TensorRT is given computes what the file does, whatever other packages did to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edged.build import onnx_graph
from edged.build.measure import agreement, difference
from edged.build.onnx_graph import Prepared, prepare
from edged.build.request import BuildError
from tests.build.made import directory, needs_slim, net, relu, request_for

pytestmark = needs_slim
ONE = (1, 3, 4, 6)


def prepared(folder: Path, model: Any, *, half: bool = False, **options: Any) -> Prepared:
    return prepare(request_for(directory(folder, model), **options), half, lambda _: None)


def scaled() -> Any:
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["m"], name="scale"),
        helper.make_node("Sigmoid", ["m"], ["y"], name="squash"),
    ]
    return net(nodes, weights={"w": np.full((1, 3, 1, 1), 0.5, np.float32)})


def replaced(monkeypatch: pytest.MonkeyPatch, slim: Callable[[Any], Any]) -> None:
    import onnxslim

    monkeypatch.setattr(onnxslim, "slim", slim)


def times(factor: float) -> Callable[[Any], Any]:
    def slim(model: Any) -> Any:
        for w in model.graph.initializer:
            w.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(w) * np.float32(factor), w.name))
        return model

    return slim


def shortened(model: Any) -> Any:
    del model.graph.node[0]
    return model


def doubles(model: Any) -> Any:
    """What onnxslim 0.1.92 makes of Constant(value_float)."""
    (w,) = model.graph.initializer
    w.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(w).astype(np.float64), w.name))
    return model


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("slim", [times(-3), times(1.01), shortened, doubles])
def test_a_graph_that_computes_something_else_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slim: Callable[[Any], Any], half: bool
) -> None:
    replaced(monkeypatch, slim)
    made = prepared(tmp_path / "m", scaled(), half=half)
    assert made.notes[0].startswith("not simplified, for it must compute the same: ")
    (whole,) = agreement(scaled(), made.model, [{"x": np.ones(ONE, np.float32)}])
    assert whole.difference < 1e-3


def test_one_that_computes_the_same_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, times(1 + 1e-6))
    assert prepared(tmp_path / "m", scaled()).notes == ("simplified: 2 nodes, now 2",)


def fixed(model: Any) -> Any:
    """The shape at build time put in place of the one at run time."""
    size = numpy_helper.from_array(np.array([1, 3, 4, 6]), "size")
    del model.graph.node[0]
    model.graph.initializer.append(size)
    return model


def test_a_shape_that_became_fixed_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["size"]),
        helper.make_node("Reshape", ["x", "size"], ["y"]),
    ]
    dims = ("n", 3, 4, 6)
    replaced(monkeypatch, fixed)
    profile = {"x": (ONE, ONE, (2, 3, 4, 6))}
    made = prepared(tmp_path / "m", net(nodes, dims, dims), profiles=[profile])
    assert made.notes[0].startswith("not simplified, for it must compute the same: ONNX Runtime cannot run")


def test_what_onnx_runtime_cannot_run_is_left_as_it_is(tmp_path: Path) -> None:
    """Nothing could be compared; TensorRT may have a plugin for it."""
    nodes = [helper.make_node("Plugin", ["x"], ["p"], domain="own"), helper.make_node("Relu", ["p"], ["y"])]
    model = net(nodes)
    model.opset_import.append(helper.make_opsetid("own", 1))
    made = prepared(tmp_path / "m", model)
    assert made.notes[0].startswith("not simplified")
    assert [n.op_type for n in made.model.graph.node] == ["Plugin", "Relu"]


def test_constants_of_every_kind_are_built(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["k"], value_float=0.5),
        helper.make_node("Mul", ["x", "k"], ["m"]),
        helper.make_node("Sigmoid", ["m"], ["y"]),
    ]
    for half in (False, True):
        made = prepared(tmp_path / f"{half}", net(nodes), half=half)
        onnx.checker.check_model(made.model, full_check=True)
        assert not difference(net(nodes), made.model, [{"x": np.zeros(ONE, np.float32)}])


def test_an_invalid_cast_is_called_a_fault_of_edged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: Any, _: Any) -> Any:
        made = onnx.ModelProto.FromString(model.SerializeToString())
        made.graph.node[0].attribute.append(helper.make_attribute("to", TensorProto.FLOAT16))
        return made

    monkeypatch.setattr(onnx_graph, "halve", broken)
    with pytest.raises(BuildError, match=r"the cast to FP16 made an invalid graph: .*Relu") as caught:
        prepared(tmp_path / "m", relu(), half=True, simplify=False)
    assert "fault of edged" in caught.value.hint


@pytest.mark.parametrize(("pattern", "close"), [("NOSUCH*", ""), ("squash/", "did you mean 'squash'?")])
def test_a_pattern_that_keeps_nothing_is_refused(tmp_path: Path, pattern: str, close: str) -> None:
    with pytest.raises(BuildError, match="is the name of no node") as caught:
        prepared(tmp_path / "m", scaled(), half=True, precision="fp16", keep_fp32=("scale", pattern))
    assert caught.value.hint.startswith(close)
    assert "edged inspect DIR --all" in caught.value.hint


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([1.0, 2.0], [1.0, 2.0000001], True),
        ([1.0, float("nan")], [1.0, float("nan")], True),
        ([1.0, float("inf")], [1.0, 2.0], False),
        ([640.0, 0.5], [640.0, 0.52], False),  # boxes and scores in one tensor
        ([0.0, 0.0], [0.0, 1e-9], False),
        ([], [], True),
    ],
)
def test_how_far_values_may_be_apart(one: list[float], other: list[float], same: bool) -> None:
    from edged.build.measure import _unlike

    a, b = (np.array(v, np.float32) for v in (one, other))
    assert (_unlike(a, b) == "") is same


def test_a_class_that_flips_in_a_large_mask_is_rounding() -> None:
    from edged.build.measure import _unlike

    mask = np.zeros(10_000, np.int64)
    flipped = mask.copy()
    flipped[0] = 20
    assert _unlike(mask, flipped) == ""
    assert _unlike(mask, mask.astype(np.int32))
    assert _unlike(mask, mask + 1)
