"""FP16 by casting: results agree with FP32, and what FP16 cannot hold stays in FP32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edged.build.half import decide, halve, rounded
from edged.build.measure import agreement, largest_values, samples
from edged.models.inspect import TensorFacts
from edged.tensors import ImageInput
from tests.build.made import net, quantized
from tests.searching import examples

DIMS = (1, 3, 4, 6)
INPUT = TensorFacts("x", "float32", DIMS)


def feeds(mean: float = 0.0, std: float = 64.0) -> list[dict[str, Any]]:
    picture = ImageInput("x", (6, 4), mean=(mean,) * 3, std=(std,) * 3)
    return samples([INPUT], {"x": DIMS}, picture, None)


@dataclass(frozen=True)
class Halved:
    model: Any
    nodes: int
    kept: dict[str, str]


def cast(model: Any, keep: tuple[str, ...] = (), largest: dict[str, float] | None = None) -> Halved:
    """The cast graph, checked to be valid and to leave `model` alone."""
    before = model.SerializeToString()
    decided = decide(model, largest or {}, keep)
    made = halve(model, decided)
    assert model.SerializeToString() == before
    if not any(n.domain for n in made.graph.node):
        onnx.checker.check_model(made, full_check=True)
    assert [o.type for o in made.graph.output] == [o.type for o in model.graph.output]
    return Halved(made, decided.nodes, decided.kept)


def halved(model: Any, keep: tuple[str, ...] = ()) -> Halved:
    """The same with what was measured; its outputs agree, and so do those of the rounded graph."""
    largest = largest_values(model, feeds())
    made = cast(model, keep, largest)
    same = rounded(model, decide(model, largest, keep))
    onnx.checker.check_model(same, full_check=True)
    for other in (made.model, same):
        for a in agreement(model, other, feeds()):
            assert a.finite
            assert a.cosine > 0.999
    return made


def casts(model: Any) -> list[str]:
    return [n.name for n in model.graph.node if n.op_type == "Cast"]


def node(op: str, ins: list[str], outs: list[str], **attributes: Any) -> Any:
    return helper.make_node(op, ins, outs, name=attributes.pop("name", f"{op}_{outs[0]}"), **attributes)


def test_all_goes_to_fp16_between_one_cast_in_and_one_out() -> None:
    made = halved(net([node("Relu", ["x"], ["r"]), node("Sigmoid", ["r"], ["y"])]))
    assert (made.nodes, made.kept) == (2, {})
    assert casts(made.model) == ["x__fp16/Cast", "y/Cast"]


def test_weights_are_rounded_and_not_clamped() -> None:
    weights = {"w": np.array([30000.3, 1e-6, -2.0], np.float32).reshape(1, 3, 1, 1)}
    made = cast(net([node("Add", ["x", "w"], ["y"])], weights=weights)).model
    (half,) = made.graph.initializer
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(half), weights["w"].astype(np.float16))


def test_nodes_that_were_named_stay() -> None:
    nodes = [node("Relu", ["x"], ["r"], name="head/a"), node("Sigmoid", ["r"], ["y"], name="tail/a")]
    made = halved(net(nodes), ("head/*",))
    assert made.kept == {"head/a": "asked for"}
    assert made.nodes == 1


def test_what_overflows_on_a_sample_stays_in_fp32_with_what_reads_it() -> None:
    nodes = [
        node("Mul", ["x", "k"], ["big"], name="grows"),
        node("Div", ["big", "k"], ["small"], name="shrinks"),
        node("Sigmoid", ["small"], ["y"], name="ends"),
    ]
    made = halved(net(nodes, weights={"k": np.float32(20000)}))
    assert made.nodes == 1
    assert set(made.kept) == {"grows", "shrinks"}
    assert made.kept["grows"].startswith("'big' reaches ")
    assert casts(made.model) == ["small__fp16/Cast", "y/Cast"]


def test_a_constant_that_would_become_zero_stays() -> None:
    nodes = [node("Add", ["x", "eps"], ["a"], name="guard"), node("Relu", ["a"], ["y"])]
    made = halved(net(nodes, weights={"eps": np.float32(1e-12)}))
    assert made.kept == {"guard": "constant 'eps' is 1e-12, which would become 0"}
    made = halved(net(nodes, weights={"eps": np.float32(1e-3)}))
    assert made.kept == {}


def test_a_constant_beyond_fp16_stays() -> None:
    nodes = [node("Min", ["x", "cap"], ["y"], name="limit")]
    made = halved(net(nodes, weights={"cap": np.float32(1e6)}))
    assert made.kept == {"limit": "weight 'cap' reaches 1e+06"}


def test_inputs_that_must_be_fp32_stay_so() -> None:
    nodes = [node("Resize", ["x", "", "scales"], ["y"], mode="nearest", name="up")]
    scales = {"scales": np.array([1, 1, 2, 2], np.float32)}
    made = halved(net(nodes, out=(1, 3, 8, 12), weights=scales))
    assert made.nodes == 1
    (kept,) = made.model.graph.initializer
    assert kept.data_type == TensorProto.FLOAT


def test_a_cast_that_the_file_has_goes_to_fp16_too() -> None:
    nodes = [
        node("Cast", ["x"], ["i"], to=TensorProto.INT32),
        node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        node("Sigmoid", ["f"], ["y"]),
    ]
    made = halved(net(nodes))
    to = {n.output[0]: n.attribute[0].i for n in made.model.graph.node if n.op_type == "Cast"}
    assert to["f"] == TensorProto.FLOAT16


def test_an_output_that_is_read_further_on_is_cast_once() -> None:
    model = net([node("Relu", ["x"], ["y"]), node("Sigmoid", ["y"], ["z"])])
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, DIMS))
    made = halved(model)
    assert sorted(casts(made.model)) == ["x__fp16/Cast", "y/Cast", "z/Cast"]


def test_subgraphs_stay_as_they_are_with_what_they_read() -> None:
    inner = helper.make_graph(
        [node("Sigmoid", ["r"], ["inner"])], "then", [], [helper.make_tensor_value_info("inner", 1, DIMS)]
    )
    other = helper.make_graph(
        [node("Relu", ["r"], ["else"])], "else", [], [helper.make_tensor_value_info("else", 1, DIMS)]
    )
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("If", ["yes"], ["c"], then_branch=inner, else_branch=other),
        node("Sigmoid", ["c"], ["y"]),
    ]
    made = halved(net(nodes, weights={"yes": np.bool_(True)}))
    assert made.nodes == 1


def test_no_cast_comes_between_dequantize_and_its_layer() -> None:
    made = cast(quantized())
    makers = {o: n for n in made.model.graph.node for o in n.output}
    (conv,) = (n for n in made.model.graph.node if n.op_type == "Conv")
    assert {makers[i].op_type for i in conv.input} == {"DequantizeLinear"}


def test_an_operator_that_onnx_does_not_know_stays() -> None:
    model = net([helper.make_node("Plugin", ["x"], ["p"], domain="own"), node("Relu", ["p"], ["y"])])
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.value_info.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, DIMS))
    made = cast(model)
    assert made.nodes == 1
    assert next(n for n in made.model.graph.node if n.op_type == "Plugin").input == ["x"]


def test_what_fp16_costs_is_seen_on_a_cpu() -> None:
    """ONNX Runtime runs the FP16 graph as if it were FP32; the rounded one shows that a sum has no bits left."""
    nodes = [node("Add", ["x", "big"], ["a"]), node("Sub", ["a", "big"], ["y"])]
    model = net(nodes, weights={"big": np.float32(30000)})
    (seen,) = agreement(model, rounded(model, decide(model, {})), feeds())
    assert seen.finite
    assert seen.difference > 1


UNARY = ("Relu", "Sigmoid", "Abs", "Neg", "Tanh", "Softplus", "Identity", "Floor")


@given(st.data())
@examples(25)
def test_any_chain_agrees_whatever_stays(data: st.DataObject) -> None:
    tensors, nodes = ["x"], []
    for i in range(data.draw(st.integers(1, 6))):
        op = data.draw(st.sampled_from([*UNARY[:-1], "Add", "Max", "Concat"]))
        ins = [data.draw(st.sampled_from(tensors)) for _ in range(1 if op in UNARY else 2)]
        if op == "Concat":
            nodes += [
                node("Concat", ins, [f"both{i}"], axis=1),
                node("Slice", [f"both{i}", "from", "to", "axis"], [f"t{i}"]),
            ]
        else:
            nodes.append(node(op, ins, [f"t{i}"]))
        tensors.append(f"t{i}")
    nodes.append(node("Identity", [tensors[-1]], ["y"]))
    whole = {"from": np.array([1]), "to": np.array([4]), "axis": np.array([1])}
    keep = data.draw(st.lists(st.sampled_from([n.name for n in nodes]), unique=True).map(tuple))
    made = halved(net(nodes, weights=whole), keep)
    assert set(made.kept) == set(keep)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_samples_have_the_values_that_model_toml_describes(layout: Any) -> None:
    picture = ImageInput("x", (6, 4), mean=(128.0,) * 3, std=(64.0,) * 3, layout=layout)
    shape = (2, *picture.shape()[1:])
    drawn = samples([TensorFacts("x", "float32", shape)], {"x": shape}, picture, None)
    values = np.stack([d["x"] for d in drawn])
    assert values.shape[1:] == shape
    assert values.dtype == np.float32
    assert values.min() == -2.0
    assert 1.9 < values.max() <= 127 / 64
    again = samples([TensorFacts("x", "float32", shape)], {"x": shape}, picture, None)
    np.testing.assert_array_equal(values, np.stack([d["x"] for d in again]))
