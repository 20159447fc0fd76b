"""Layers of ONNX files: shapes, parameters, multiply-adds, memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edged.errors import ModelError
from edged.inspecting.count import multiply_adds
from edged.inspecting.graph import read_layers
from tests import onnx_models
from tests.onnx_models import value


def network(path: Path, height: int | str = 8) -> Path:
    """Conv 3 -> 4 (3x3) with a bias, Relu, mean, Gemm to 5; its weight is float16 where it is large."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.random((4, 3, 3, 3), np.float32), "w"),
        numpy_helper.from_array(rng.random(4, np.float32), "b"),
        numpy_helper.from_array(rng.random((4, 5), np.float32), "m"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "m"], ["y"], "gemm"),
    ]
    return onnx_models.write(
        path, onnx_models.graph(nodes, [value("x", (1, 3, height, 8))], [value("y", (1, 5))], weights)
    )


def test_layers(tmp_path: Path) -> None:
    found = read_layers(network(tmp_path / "n.onnx"), {})
    rows = [(la.name, la.op, la.output, la.parameters, la.multiply_adds) for la in found.layers]
    assert rows == [
        ("conv", "Conv", (1, 4, 8, 8), 4 * 27 + 4, 256 * 27),
        ("relu", "Relu", (1, 4, 8, 8), 0, 0),
        ("pool", "GlobalAveragePool", (1, 4, 1, 1), 0, 0),
        ("flat", "Flatten", (1, 4), 0, 0),
        ("gemm", "Gemm", (1, 5), 20, 20),
    ]
    assert found.weight_bytes == {"float32": 4 * (108 + 4 + 20)}
    assert found.opset == 17
    assert found.activation_bytes == 4 * 2 * 256  # the convolution's output and the Relu's
    assert found.uncounted == {}


def test_open_shapes_are_unknown_until_they_are_given(tmp_path: Path) -> None:
    file = network(tmp_path / "n.onnx", height="h")
    found = read_layers(file, {})
    assert found.layers[0].multiply_adds is None
    assert found.activation_bytes is None
    assert found.uncounted == {"Conv": 1}
    found = read_layers(file, {"x": (1, 3, 16, 8)})
    assert found.layers[0].multiply_adds == 512 * 27


def test_a_fixed_shape_is_changed_for_what_follows(tmp_path: Path) -> None:
    found = read_layers(network(tmp_path / "n.onnx"), {"x": (2, 3, 16, 8)})
    assert found.layers[0].output == (2, 4, 16, 8)
    assert found.outputs["y"].shape == (2, 5)


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    file = network(tmp_path / "n.onnx")
    with pytest.raises(ModelError, match="has no input 'z'"):
        read_layers(file, {"z": (1,)})
    with pytest.raises(ModelError, match="has 4 dimensions") as caught:
        read_layers(file, {"x": (1, 3)})
    assert caught.value.hint == "--shape x=1,3,8,8"


def test_what_is_no_onnx_file(tmp_path: Path) -> None:
    file = tmp_path / "n.onnx"
    file.write_bytes(b"\xff" * 50)
    with pytest.raises(ModelError, match="not a whole ONNX file"):
        read_layers(file, {})


def test_weights_beside_the_file_are_counted_and_not_read(tmp_path: Path) -> None:
    file = onnx_models.external(tmp_path / "n.onnx")
    (tmp_path / "weights.bin").unlink()
    assert read_layers(file, {}).layers[0].parameters == 3


def test_a_weight_that_two_nodes_use_is_counted_once(tmp_path: Path) -> None:
    w = numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "w")
    nodes = [helper.make_node("Mul", ["x", "w"], ["a"]), helper.make_node("Mul", ["a", "w"], ["y"])]
    dims = (1, 3, 4, 6)
    file = onnx_models.write(
        tmp_path / "n.onnx", onnx_models.graph(nodes, [value("x", dims)], [value("y", dims)], [w])
    )
    assert [la.parameters for la in read_layers(file, {}).layers] == [3, 0]


def test_yolox_nano(yolox: Path) -> None:
    found = read_layers(yolox, {})
    assert sum(la.parameters for la in found.layers) == 904_481
    # its authors say 1.08 GFLOPs at 416x416, by counting a multiply-add twice
    assert 0.51e9 < sum(la.multiply_adds or 0 for la in found.layers) < 0.54e9


@pytest.mark.parametrize(
    ("op", "inputs", "out", "transposed", "count"),
    [
        ("Conv", [(1, 8, 10, 10), (16, 1, 3, 3)], (1, 16, 10, 10), False, 1600 * 9),  # in groups
        ("ConvTranspose", [(1, 8, 5, 5), (8, 4, 2, 2)], (1, 4, 10, 10), False, 200 * 16),
        ("QLinearConv", [(1, 3, 4, 4), (), (), (2, 3, 1, 1)], (1, 2, 4, 4), False, 32 * 3),
        ("MatMul", [(2, 7, 3), (2, 3, 5)], (2, 7, 5), False, 70 * 3),
        ("Gemm", [(3, 7), (3, 5)], (7, 5), True, 35 * 3),
        ("LSTM", [(6, 2, 3), (1, 16, 3), (1, 16, 4)], (6, 1, 2, 4), False, 12 * (48 + 64)),
        ("Einsum", [(2, 3)], (2,), False, None),
        ("Conv", [(1, 8, 10, 10), None], (1, 16, 10, 10), False, None),
        ("Relu", [None], None, False, 0),
    ],
)
def test_multiply_adds(
    op: str,
    inputs: list[tuple[int, ...] | None],
    out: tuple[int, ...] | None,
    transposed: bool,
    count: int | None,
) -> None:
    assert multiply_adds(op, inputs, out, transposed) == count
