"""Facts of an ONNX file: inputs, outputs, operators, metadata. Needs neither onnx nor onnxruntime.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Weights are
skipped where they lie; the file is mapped, not read.
"""

from __future__ import annotations

import mmap
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edged.errors import ModelError
from edged.models import protobuf as pb
from edged.models.files import open_file, unreadable

Dim = int | str  # a name (or "?") where the graph leaves the dimension open

# TensorProto.DataType -> the name that numpy has for it; bfloat16, float8 and the like have none
ELEMENT_TYPES: dict[int, str] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
PICTURE_TYPES = ("float32", "float16", "uint8")


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """An input or output as the file declares it; `dims` is None where no shape is stored."""

    name: str
    element: str
    dims: tuple[Dim, ...] | None

    @property
    def fixed(self) -> tuple[int, ...] | None:
        """The shape, if no dimension is open."""
        if self.dims is None or not all(isinstance(d, int) for d in self.dims):
            return None
        return tuple(int(d) for d in self.dims)

    def __str__(self) -> str:
        shape = "[…]" if self.dims is None else f"[{', '.join(str(d) for d in self.dims)}]"
        return f"{self.name}: {self.element}{shape}"


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What the file says about itself. `inputs` are those to be fed: weights listed as inputs are counted apart."""

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    ops: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    opset: int = 0
    ir_version: int = 0
    producer: str = ""
    nodes: int = 0
    weight_bytes: int = 0
    weights_as_inputs: int = 0
    external: tuple[str, ...] = ()  # files beside this one that hold weights

    def input(self, name: str) -> TensorFacts | None:
        return next((t for t in self.inputs if t.name == name), None)


def read_graph(path: Path) -> GraphFacts:
    """The facts of the ONNX file `path`. ModelError for anything that is no whole ONNX file."""
    try:
        with open_file(path) as f:
            if not os.fstat(f.fileno()).st_size:
                raise not_onnx(path, "the file is empty")
            mapped = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as e:
        raise unreadable(path, e) from e
    with mapped, memoryview(mapped) as data:
        facts = _model_or_reason(data)
    if isinstance(facts, str):
        raise not_onnx(path, facts)
    return facts


def _model_or_reason(data: memoryview) -> GraphFacts | str:
    """A string, not an exception: its traceback would hold views, and the mapping could not be closed."""
    try:
        return _model(data)
    except pb.WireError as e:
        return str(e)


def not_onnx(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path}: not a whole ONNX file: {reason}", hint="export or copy the file again; it may be cut short"
    )


def _model(data: memoryview) -> GraphFacts:
    """ModelProto: 1 ir_version, 2 producer_name, 3 producer_version, 7 graph, 8 opset_import, 14 metadata."""
    numbers: dict[int, int] = {}
    strings: dict[int, str] = {}
    metadata: dict[str, str] = {}
    opset, graph = 0, None
    for number, value in pb.fields(data):
        if number == 1:
            numbers[number] = pb.number(value)
        elif number in (2, 3):
            strings[number] = pb.text(value)
        elif number == 7:
            graph = pb.message(value)
        elif number == 8:
            domain, version = _strings(value), _numbers(value)
            if domain.get(1, "") in ("", "ai.onnx"):
                opset = version.get(2, 0)
        elif number == 14:
            entry = _strings(value)
            metadata[entry.get(1, "")] = entry.get(2, "")
    if graph is None:
        raise pb.WireError("it holds no graph")
    return _graph(
        graph,
        metadata=metadata,
        opset=opset,
        ir_version=numbers.get(1, 0),
        producer=" ".join(s for s in (strings.get(2), strings.get(3)) if s),
    )


def _graph(
    data: memoryview, *, metadata: Mapping[str, str], opset: int, ir_version: int, producer: str
) -> GraphFacts:
    """GraphProto: 1 node, 5 initializer, 11 input, 12 output."""
    ops: Counter[str] = Counter()
    inputs: list[TensorFacts] = []
    outputs: list[TensorFacts] = []
    weights: set[str] = set()
    external: dict[str, None] = {}
    weight_bytes = 0
    for number, value in pb.fields(data):
        if number == 1:
            node = _strings(value, (4, 7))  # op_type, domain
            ops[f"{node[7]}.{node.get(4, '')}" if node.get(7) else node.get(4, "")] += 1
        elif number == 5:
            weights.add(_initializer(pb.message(value), external))
            weight_bytes += len(pb.message(value))
        elif number == 11:
            inputs.append(_value_info(pb.message(value)))
        elif number == 12:
            outputs.append(_value_info(pb.message(value)))
    fed = tuple(t for t in inputs if t.name not in weights)
    return GraphFacts(
        inputs=fed,
        outputs=tuple(outputs),
        ops=dict(ops.most_common()),
        metadata=metadata,
        opset=opset,
        ir_version=ir_version,
        producer=producer,
        nodes=sum(ops.values()),
        weight_bytes=weight_bytes,
        weights_as_inputs=len(inputs) - len(fed),
        external=tuple(external),
    )


def _initializer(data: memoryview, external: dict[str, None]) -> str:
    """TensorProto: 8 name, 13 external_data (key "location"). Returns the name; notes its file."""
    name = ""
    for number, value in pb.fields(data):
        if number == 8:
            name = pb.text(value)
        elif number == 13:
            entry = _strings(value)
            if entry.get(1) == "location":
                external[entry.get(2, "")] = None
    return name


def _value_info(data: memoryview) -> TensorFacts:
    """ValueInfoProto: 1 name, 2 type. TypeProto: 1 tensor_type. TypeProto.Tensor: 1 elem_type, 2 shape."""
    name, element = "", "no tensor"
    dims: tuple[Dim, ...] | None = None
    for number, value in pb.fields(data):
        if number == 1:
            name = pb.text(value)
        elif number == 2:
            for kind, inner in pb.fields(pb.message(value)):
                if kind == 1:
                    element, dims = _tensor_type(pb.message(inner))
    return TensorFacts(name, element, dims)


def _tensor_type(data: memoryview) -> tuple[str, tuple[Dim, ...] | None]:
    element = "unknown"
    dims: tuple[Dim, ...] | None = None
    for number, value in pb.fields(data):
        if number == 1:
            element = ELEMENT_TYPES.get(pb.number(value), f"type {pb.number(value)}")
        elif number == 2:
            dims = tuple(_dim(pb.message(d)) for n, d in pb.fields(pb.message(value)) if n == 1)
    return element, dims


def _dim(data: memoryview) -> Dim:
    """TensorShapeProto.Dimension: 1 dim_value or 2 dim_param. Exporters write 0 or -1 for "open", too."""
    for number, value in pb.fields(data):
        if number == 1:
            size = pb.number(value)
            return size if size > 0 else "?"
        if number == 2:
            return pb.text(value) or "?"
    return "?"


def _strings(value: pb.Value, wanted: tuple[int, ...] = (1, 2)) -> dict[int, str]:
    """The string fields `wanted` of an embedded message."""
    found = pb.fields(pb.message(value))
    return {n: pb.text(v) for n, v in found if n in wanted and not isinstance(v, int)}


def _numbers(value: pb.Value) -> dict[int, int]:
    return {n: pb.number(v) for n, v in pb.fields(pb.message(value)) if isinstance(v, int)}


def dtype_of(element: str) -> np.dtype[np.generic] | None:
    """The numpy dtype of an element type; None for those that numpy lacks."""
    return np.dtype(element) if element in ELEMENT_TYPES.values() and element not in _NO_NUMPY else None


_NO_NUMPY = ("string", "bfloat16")
