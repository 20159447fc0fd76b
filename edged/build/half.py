"""An FP32 graph to FP16 by casting, with what FP16 cannot hold kept in FP32: for strongly typed networks.

Whether an operator takes FP16, and at which of its inputs, is read from ONNX's own schemas. A node stays in FP32 whole
or goes to FP16 whole; between the two stand casts. One whose outputs do not take their type from its inputs (Constant,
EyeLike with a dtype) stays. Inputs and outputs of the graph keep their types. The values of weights are rounded, never
clamped: onnxconverter-common's float16 clamps them to 1e4, which is why it is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

LARGEST = 65504.0
HEADROOM = 2.0  # other pictures have larger values than the samples
_TINY = 2.0**-25  # rounds to 0
_FEW = 16  # elements: an epsilon or a scale, whose flush to 0 changes everything


@dataclass(frozen=True, slots=True)
class Halves:
    """A node's FP32 tensors that become FP16."""

    inputs: set[str]
    outputs: set[str]


@dataclass(slots=True)
class Decision:
    """For each node of a graph, in its order: what becomes FP16, None where the node stays in FP32 whole.

    `kept`: of the nodes that stay for their values or by name, why.
    """

    halves: list[Halves | None]
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> int:
        """How many go to FP16."""
        return sum(h is not None for h in self.halves)


def decide(model: Any, largest: Mapping[str, float], keep: tuple[str, ...] = ()) -> Decision:
    """Which nodes of `model` (onnx.ModelProto) go to FP16.

    `largest`: tensor -> greatest absolute value seen; `keep`: patterns of names that stay.
    """
    plan = _Plan(model, largest, keep)
    return Decision([plan.halved(n) if plan.fits(n) else None for n in model.graph.node], plan.reasons)


def halve(model: Any, decided: Decision) -> Any:
    """The graph with those nodes in FP16, as a new onnx.ModelProto."""
    from onnx import TensorProto, helper

    model = copy_of(model)
    weights = {w.name: w for w in model.graph.initializer}
    home = {name for h in decided.halves if h is not None for name in h.outputs}
    fixed = {o.name for o in model.graph.output}
    nodes: list[Any] = []
    casts: dict[tuple[str, int], str] = {}
    made: list[Any] = []

    def as_type(name: str, wanted: int) -> str:
        """The name under which the FP32 tensor `name` of the old graph has the type `wanted`."""
        has = TensorProto.FLOAT16 if name in home else TensorProto.FLOAT
        if has == wanted:
            return f"{name}__fp16" if name in fixed and name in home else name
        if name in home and name in fixed:
            return name  # the graph's output is cast back anyway
        if (name, wanted) not in casts:
            casts[name, wanted] = to = f"{name}__{'fp16' if wanted == TensorProto.FLOAT16 else 'fp32'}"
            if name in weights:
                made.append(_half_tensor(weights[name], to))
            else:
                nodes.append(helper.make_node("Cast", [name], [to], name=f"{to}/Cast", to=wanted))
        return casts[name, wanted]

    for node, halves in zip(model.graph.node, decided.halves, strict=True):
        for i, name in enumerate(node.input):
            if halves is not None and name in halves.inputs:
                node.input[i] = as_type(name, TensorProto.FLOAT16)
            elif name in home:
                node.input[i] = as_type(name, TensorProto.FLOAT)
        if halves is not None and halves.outputs:
            _retype(node)
        nodes.append(node)
        for i, name in enumerate(node.output):
            if name in home and name in fixed:
                node.output[i] = half = f"{name}__fp16"
                nodes.append(
                    helper.make_node("Cast", [half], [name], name=f"{name}/Cast", to=TensorProto.FLOAT)
                )
    _replace(model, nodes, made)
    return model


def rounded(model: Any, decided: Decision) -> Any:
    """The graph in FP32 with every value rounded that would be FP16: what to compare with, as a new onnx.ModelProto.

    ONNX Runtime has few FP16 kernels for the CPU: it computes runs of FP16 nodes in FP32 without rounding between
    them, and so hides what FP16 costs.
    """
    from onnx import TensorProto, helper, numpy_helper

    model = copy_of(model)
    weights = {w.name: w for w in model.graph.initializer}
    home = {name for h in decided.halves if h is not None for name in h.outputs}
    nodes: list[Any] = []
    made: dict[str, Any] = {}
    known: dict[str, str] = {}

    def through_half(name: str, to: str) -> list[Any]:
        half = f"{to}__half"
        return [
            helper.make_node("Cast", [name], [half], to=TensorProto.FLOAT16),
            helper.make_node("Cast", [half], [to], to=TensorProto.FLOAT),
        ]

    def as_half(name: str) -> str:
        if name in home:
            return name
        if name not in known:
            known[name] = to = f"{name}__rounded"
            if name in weights:
                with np.errstate(over="ignore"):
                    value = numpy_helper.to_array(weights[name]).astype(np.float16).astype(np.float32)
                made[to] = numpy_helper.from_array(value, to)
            else:
                nodes.extend(through_half(name, to))
        return known[name]

    for node, halves in zip(model.graph.node, decided.halves, strict=True):
        if halves is not None:
            for i, name in enumerate(node.input):
                if name in halves.inputs:
                    node.input[i] = as_half(name)
        nodes.append(node)
        for i, name in enumerate(node.output):
            if name in home:
                node.output[i] = f"{name}__whole"
                nodes.extend(through_half(f"{name}__whole", name))
    _replace(model, nodes, list(made.values()))
    return model


def copy_of(model: Any) -> Any:
    """Another onnx.ModelProto with the same contents."""
    return type(model).FromString(model.SerializeToString())


class _Plan:
    """Which tensors are FP32 in the graph, and which nodes may leave FP32."""

    def __init__(self, model: Any, largest: Mapping[str, float], keep: tuple[str, ...]) -> None:
        from onnx import TensorProto, shape_inference

        self._largest, self._keep = largest, keep
        self._opsets = {o.domain or "ai.onnx": o.version for o in model.opset_import}
        self.weights = {w.name: w for w in model.graph.initializer}
        self.weights |= {
            n.output[0]: a.t
            for n in model.graph.node
            for a in n.attribute
            if n.op_type == "Constant" and a.HasField("t")
        }
        known = shape_inference.infer_shapes(model).graph
        self.floats = {
            v.name
            for v in (*known.input, *known.output, *known.value_info)
            if v.type.tensor_type.elem_type == TensorProto.FLOAT
        } | {n for n, w in self.weights.items() if w.data_type == TensorProto.FLOAT}
        self.reasons: dict[str, str] = {}
        # a subgraph reads tensors of the graph around it by name: those stay as they are
        self._captured = {name for n in model.graph.node for g in _subgraphs(n) for name in _names(g)}
        self._unquantized: set[str] = set()

    def fits(self, node: Any) -> bool:
        """Whether `node` goes to FP16. To be asked in the graph's order."""
        tensors = [t for t in (*node.input, *node.output) if t in self.floats]
        halved = self.halved(node)
        takes = halved.inputs or halved.outputs
        if node.op_type == "DequantizeLinear" and not takes:
            self._unquantized.update(node.output)
        if not takes or any(True for _ in _subgraphs(node)) or any(a.type == 4 for a in node.attribute):
            return False  # an attribute of type 4 is a tensor, which has a type of its own
        if self._unquantized & set(node.input):
            return False  # a cast between would hide the pair from TensorRT
        if self._captured & set(node.output):
            return False
        if any(fnmatchcase(node.name, pattern) for pattern in self._keep):
            self.reasons[node.name] = "asked for"
            return False
        for name in tensors:
            reason = self._too_much(name)
            if reason:
                self.reasons[node.name] = reason
                return False
        return True

    def halved(self, node: Any) -> Halves:
        """The node's tensors which are FP32 here and may be FP16, says the operator's schema."""
        from onnx import defs

        domain = node.domain or "ai.onnx"
        try:
            schema = defs.get_schema(
                node.op_type, self._opsets.get(domain, 1), "" if domain == "ai.onnx" else domain
            )
        except defs.SchemaError:  # a plugin or a function of the file
            return Halves(set(), set())
        allowed = {t.type_param_str: t.allowed_type_strs for t in schema.type_constraints}
        halvable = {p for p, types in allowed.items() if "tensor(float16)" in types}
        inputs, outputs = _parameters(node.input, schema.inputs), _parameters(node.output, schema.outputs)
        # all tensors of one parameter have one type; where that is not known of one, none may change
        bound = {p for _, p in inputs} & halvable - {p for name, p in inputs if name not in self.floats}
        made = {(name, p) for name, p in outputs if p in halvable and name in self.floats}
        if any(p not in bound for _, p in made) and not (bound and _follows(node)) and node.op_type != "Cast":
            return Halves(set(), set())  # an attribute or a default says their type
        return Halves({name for name, p in inputs if p in bound}, {name for name, _ in made})

    def _too_much(self, name: str) -> str:
        """Why FP16 cannot hold the tensor, or nothing."""
        weight = self.weights.get(name)
        if weight is None:
            seen = self._largest.get(name, 0.0)
            return f"'{name}' reaches {seen:.3g}" if seen * HEADROOM > LARGEST else ""
        from onnx import numpy_helper

        values = np.abs(numpy_helper.to_array(weight))
        finite = values[np.isfinite(values)]
        if finite.size and finite.max() > LARGEST:
            return f"weight '{name}' reaches {finite.max():.3g}"
        lost = finite[(finite > 0) & (finite < _TINY)]
        if finite.size <= _FEW and lost.size:
            return f"constant '{name}' is {lost.min():.3g}, which would become 0"
        return ""


def _follows(node: Any) -> bool:
    """Of the operators whose outputs have a type of their own, those where it is an input's unless it is said."""
    return node.op_type == "DequantizeLinear" and not any(a.name == "output_dtype" for a in node.attribute)


def _parameters(names: Sequence[str], formal: Sequence[Any]) -> list[tuple[str, str]]:
    """Each tensor of a node with its type parameter. The last formal one may stand for any number of tensors."""
    return [
        (name, formal[min(i, len(formal) - 1)].type_str) for i, name in enumerate(names) if name and formal
    ]


def _retype(node: Any) -> None:
    """A Cast to FP32 that goes to FP16 says so itself."""
    from onnx import TensorProto

    for a in node.attribute:
        if node.op_type == "Cast" and a.name == "to" and a.i == TensorProto.FLOAT:
            a.i = TensorProto.FLOAT16


def _half_tensor(weight: Any, name: str) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), name)


def _replace(model: Any, nodes: list[Any], weights: list[Any]) -> None:
    """Put the nodes into the graph; drop weights that nothing uses, and types and shapes between, which changed."""
    graph = model.graph
    used = {name for n in nodes for name in n.input} | {o.name for o in graph.output}
    used |= {name for n in nodes for g in _subgraphs(n) for name in _names(g)}
    kept = [w for w in graph.initializer if w.name in used] + weights
    for items, field_ in ((nodes, graph.node), (kept, graph.initializer), ([], graph.value_info)):
        copies = [copy_of(i) for i in items]  # those of the field go with it
        del field_[:]
        field_.extend(copies)


def _subgraphs(node: Any) -> Iterator[Any]:
    for a in node.attribute:
        if a.HasField("g"):
            yield a.g
        yield from a.graphs


def _names(graph: Any) -> Iterator[str]:
    """All that the nodes of a subgraph read, its own subgraphs' too."""
    for node in graph.node:
        yield from node.input
        for inner in _subgraphs(node):
            yield from _names(inner)
