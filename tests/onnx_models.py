"""Small ONNX files, made where a test needs them. IR version 8 suits every onnxruntime that edged supports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from edged.models.files import sha256_of
from edged.models.model import Model, OutputSpec
from edged.tensors import ImageInput

ELEMENT = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
    "int64": TensorProto.INT64,
}
Dims = Sequence[int | str | None] | None
Make = Callable[[Path], Path]


def value(name: str, dims: Dims, dtype: str = "float32") -> Any:
    return helper.make_tensor_value_info(name, ELEMENT[dtype], dims)


def graph(
    nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], weights: Sequence[Any] = ()
) -> Any:
    """A model of opset 17."""
    made = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(weights))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(path: Path, model: Any, metadata: dict[str, str] | None = None) -> Path:
    helper.set_model_props(model, metadata or {})
    save(model, str(path))
    return path


def relu(path: Path, dims: Dims = (1, 3, 4, 6), out: Dims = (1, 3, 4, 6), dtype: str = "float32") -> Path:
    """Y = max(x, 0)."""
    return write(
        path,
        graph([helper.make_node("Relu", ["x"], ["y"])], [value("x", dims, dtype)], [value("y", out, dtype)]),
    )


def identity(path: Path, dtype: str, dims: Dims = (1, 3, 4, 6)) -> Path:
    """Y = x, of any type."""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    return write(path, graph(nodes, [value("x", dims, dtype)], [value("y", dims, dtype)]))


def mean_classes(path: Path, dims: Dims = (1, 3, 8, 8), metadata: dict[str, str] | None = None) -> Path:
    """Scores [1, 3]: the mean of each channel; looks like a classifier of three classes."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["scores"]),
    ]
    return write(path, graph(nodes, [value("x", dims)], [value("scores", (1, 3))]), metadata)


def nonzero(path: Path) -> Path:
    """An output with as many columns as the picture has values above 0."""
    nodes = [helper.make_node("NonZero", ["x"], ["found"])]
    return write(path, graph(nodes, [value("x", (1, 3, 4, 6))], [value("found", (4, "n"), "int64")]))


def scaled(path: Path, *, weight_as_input: bool = False, dims: Dims = (10, 3, 4, 6)) -> Path:
    """Y = x * w with w = 2; `weight_as_input` lists w among the inputs, as old exporters did."""
    w = numpy_helper.from_array(np.full((1, 3, 1, 1), 2, np.float32), "w")
    inputs = [value("x", dims)] + ([value("w", (1, 3, 1, 1))] if weight_as_input else [])
    return write(path, graph([helper.make_node("Mul", ["x", "w"], ["y"])], inputs, [value("y", dims)], [w]))


def external(path: Path) -> Path:
    """`scaled` with its weight in weights.bin beside it."""
    from onnx import load

    model = load(str(scaled(path, dims=(1, 3, 4, 6))))
    save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def two_inputs(path: Path) -> Path:
    """Total = a + b."""
    dims = (1, 3, 4, 6)
    nodes = [helper.make_node("Add", ["a", "b"], ["total"])]
    return write(path, graph(nodes, [value("a", dims), value("b", dims)], [value("total", dims)]))


def unknown_op(path: Path) -> Path:
    dims = (1, 3, 4, 6)
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"])]
    return write(path, graph(nodes, [value("x", dims)], [value("y", dims)]))


def fails_at_run(path: Path) -> Path:
    """A reshape to a size that fits 1x3x4x6 only; the stored shapes are open."""
    shape = numpy_helper.from_array(np.array([1, 72], np.int64), "s")
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    return write(path, graph(nodes, [value("x", (1, 3, "h", "w"))], [value("y", (1, 72))], [shape]))


def model_of(file: Path, tensor: str = "x", size: tuple[int, int] = (6, 4), **more: Any) -> Model:
    """A Model around `file` that no model.toml described; `size` is (w, h)."""
    return Model(
        path=file.parent,
        name="tiny",
        version="1",
        task="raw",
        file=file,
        sha256=sha256_of(file),
        input=ImageInput(tensor, size),
        output=OutputSpec("raw"),
        **more,
    )


def model_toml(directory: Path, file: Path, *, size: tuple[int, int], tensor: str = "x", **keys: str) -> Path:
    """The least model.toml for `file`, which lies in `directory`; `keys`: lines for the top, input and output."""
    path = directory / "model.toml"
    top, image, end = (keys.get(k, "") for k in ("top", "input", "end"))
    output = keys.get("output", 'parser = "raw"')
    path.write_text(
        f'name = "tiny"\nfile = "{file.name}"\nsha256 = "{sha256_of(file)}"\n{top}\n'
        f'[input]\ntensor = "{tensor}"\nsize = [{size[0]}, {size[1]}]\n{image}\n'
        f"[output]\n{output}\n{end}\n"
    )
    return path
