"""The layers of an ONNX file with their shapes, parameters and multiply-adds. Runs nothing; reads no large weight."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.errors import EdgedError, MissingPackage, ModelError
from edged.inspecting.count import multiply_adds
from edged.models.inspect import ELEMENT_TYPES, dtype_of, read_graph

Shape = tuple[int, ...]
_SMALL = 1024  # bytes of a weight: shapes and indices, which decide the shapes of what follows
_BITS = {"bfloat16": 16}


@dataclass(frozen=True, slots=True)
class Tensor:
    """What is known of a tensor; `shape` None: it depends on the contents of the input, or on an open size."""

    element: str
    shape: Shape | None

    @property
    def nbytes(self) -> int | None:
        """None where the shape or the size of an element is not known (text)."""
        dtype = dtype_of(self.element)
        bits = _BITS.get(self.element, 0) if dtype is None else dtype.itemsize * 8
        return None if self.shape is None or not bits else math.prod(self.shape) * bits // 8


@dataclass(frozen=True, slots=True)
class Layer:
    """One node. `parameters`: of weights that no node before uses; `multiply_adds` None: a shape is unknown."""

    name: str
    op: str
    precision: str  # of its first output
    output: Shape | None
    parameters: int
    weight_bytes: int
    multiply_adds: int | None


@dataclass(frozen=True, slots=True)
class Graph:
    """`activation_bytes`: tensors that exist at once at most, in the file's order, with nothing fused or in place.

    None, where a shape is unknown. `uncounted`: operators that multiply and are not in the count.
    """

    file: str
    opset: int
    producer: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    layers: tuple[Layer, ...]
    weight_bytes: Mapping[str, int]  # by element type
    activation_bytes: int | None
    uncounted: Mapping[str, int]


def read_layers(path: Path, shapes: Mapping[str, Shape]) -> Graph:
    """`shapes` of inputs, where the file leaves them open or others are wanted. ModelError for what is no ONNX file."""
    read_graph(path)  # says what a whole file has; onnx reads an empty one without complaint
    try:
        import onnx
    except ImportError as e:
        raise MissingPackage("onnx", needed_by="edged inspect", extra="ort") from e
    try:
        model = onnx.load(str(path), load_external_data=False)
        _fix_inputs(path, model, shapes)
        for weight in model.graph.initializer:  # a copy of all weights would be made for nothing
            if len(weight.raw_data) > _SMALL:
                weight.ClearField("raw_data")
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except EdgedError:
        raise
    except Exception as e:  # protobuf, onnx and file errors have no common base
        said = " ".join(str(e).split())
        raise ModelError(f"{path}: cannot be inspected: {said}", hint="is it a whole ONNX file?") from e
    return _Reader(path, model).graph()


def _fix_inputs(path: Path, model: Any, shapes: Mapping[str, Shape]) -> None:
    """Put `shapes` into the inputs; what is stored for tensors behind them is found anew."""
    weights = {w.name for w in model.graph.initializer}
    inputs = {i.name: i for i in model.graph.input if i.name not in weights}
    for name, shape in shapes.items():
        value = inputs.get(name)
        if value is None:
            raise ModelError(
                f"{path}: has no input '{name}'", hint=f"--shape takes one of: {', '.join(inputs)}"
            )
        dims = value.type.tensor_type.shape.dim
        stored = [d.dim_value or None for d in dims]
        if stored == list(shape):
            continue
        if dims and len(dims) != len(shape):
            raise ModelError(
                f"{path}: input '{name}' has {len(dims)} dimensions, --shape gives {len(shape)}",
                hint=f"--shape {name}={','.join(str(d or 'N') for d in stored)}",
            )
        del dims[:]
        for size in shape:
            dims.add().dim_value = size
        del model.graph.value_info[:]
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")


class _Reader:
    """One pass over the nodes of a model whose shapes were inferred."""

    def __init__(self, path: Path, model: Any) -> None:
        self._path, self._model, g = path, model, model.graph
        self.weights = {w.name: _of_weight(w) for w in g.initializer}
        for node in g.node:
            if node.op_type == "Constant":
                for a in node.attribute:
                    if a.name == "value":
                        self.weights[node.output[0]] = _of_weight(a.t)
        named = (*g.value_info, *g.output, *g.input)
        self.tensors = {v.name: _of_value(v) for v in named if v.name not in self.weights}

    def graph(self) -> Graph:
        g, model = self._model.graph, self._model
        layers = tuple(self._layers())
        by_type: Counter[str] = Counter()
        for w in self.weights.values():
            by_type[w.element] += w.nbytes or 0
        unknown = Counter(la.op for la in layers if la.multiply_adds is None)
        return Graph(
            file=str(self._path),
            opset=next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0),
            producer=" ".join(w for w in (model.producer_name, model.producer_version) if w),
            inputs={i.name: self.tensors[i.name] for i in g.input if i.name not in self.weights},
            outputs={o.name: self._tensor(o.name) for o in g.output},
            layers=layers,
            weight_bytes=dict(by_type.most_common()),
            activation_bytes=self._peak(),
            uncounted=dict(unknown),
        )

    def _tensor(self, name: str) -> Tensor:
        return self.weights.get(name) or self.tensors.get(name) or Tensor("unknown", None)

    def _layers(self) -> Iterator[Layer]:
        counted: set[str] = set()
        for n, node in enumerate(self._nodes()):
            own = [w for w in dict.fromkeys(node.input) if w in self.weights and w not in counted]
            counted.update(own)
            inputs = [self._tensor(i).shape if i else () for i in node.input]
            first = self._tensor(node.output[0]) if node.output else Tensor("unknown", None)
            yield Layer(
                name=node.name or f"#{n}",
                op=f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type,
                precision=first.element,
                output=first.shape,
                parameters=sum(math.prod(self.weights[w].shape or ()) for w in own),
                weight_bytes=sum(self.weights[w].nbytes or 0 for w in own),
                multiply_adds=multiply_adds(node.op_type, inputs, first.shape, _flag(node, "transA")),
            )

    def _nodes(self) -> list[Any]:
        return [n for n in self._model.graph.node if n.op_type != "Constant"]

    def _peak(self) -> int | None:
        """Each tensor lives from the node that makes it to the last that reads it; outputs to the end."""
        nodes, g = self._nodes(), self._model.graph
        last = {name: n for n, node in enumerate(nodes) for name in node.input}
        last |= {o.name: len(nodes) for o in g.output}
        sizes = {name: t.nbytes for name, t in self.tensors.items()}
        alive = {i.name for i in g.input if i.name in self.tensors}
        peak = 0
        for n, node in enumerate(nodes):
            alive |= {o for o in node.output if o in last}
            now = [sizes.get(name) for name in alive]
            if any(size is None for size in now):
                return None
            peak = max(peak, sum(size or 0 for size in now))
            alive = {name for name in alive if last.get(name, -1) > n}
        return peak


def _of_weight(w: Any) -> Tensor:
    return Tensor(ELEMENT_TYPES.get(w.data_type, f"type {w.data_type}"), tuple(w.dims))


def _of_value(value: Any) -> Tensor:
    """A ValueInfoProto."""
    kind = value.type.tensor_type
    element = ELEMENT_TYPES.get(kind.elem_type, f"type {kind.elem_type}")
    if not kind.HasField("shape"):
        return Tensor(element, None)
    dims = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    known = tuple(d for d in dims if d is not None and d >= 0)
    return Tensor(element, known if len(known) == len(dims) else None)


def _flag(node: Any, name: str) -> bool:
    return any(a.name == name and a.i for a in node.attribute)
