"""Changes to an ONNX file that leave its numbers alone: input shapes, weights inside, weights as constants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edged.errors import EdgedError, MissingPackage, ModelError

_WEIGHTS_APART = 4  # from this IR version on, weights need not be listed as inputs


def rewrite(source: Path, target: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write `source` to `target` with the input `shapes`, as one file, weights no longer listed as inputs.

    Shapes stored for outputs and between are opened: they follow from the inputs. A weight that is listed as an
    input could be replaced at run time, so ONNX Runtime folds nothing into it. Raises ModelError.
    """
    try:
        import onnx
    except ImportError as e:
        raise MissingPackage("onnx", needed_by="changing an ONNX file", extra="ort") from e
    try:
        model = onnx.load(str(source))
        graph = model.graph
        weights = {w.name for w in graph.initializer}
        fed = [i for i in graph.input if i.name not in weights]
        del graph.input[:]
        graph.input.extend(fed)
        model.ir_version = max(model.ir_version, _WEIGHTS_APART)
        for value in graph.input:
            if value.name in shapes:
                _fix(source, value, shapes[value.name])
        if shapes:
            del graph.value_info[:]
            for value in graph.output:
                _open(value)
        onnx.save(model, str(target))
    except EdgedError:
        raise
    except Exception as e:  # protobuf, onnx and file errors have no common base
        said = " ".join(str(e).split())
        raise ModelError(
            f"{source}: cannot be rewritten: {said}",
            hint="are its weight files beside it, and is it a whole ONNX file?",
        ) from e


def _fix(source: Path, value: Any, shape: tuple[int, ...]) -> None:
    """Store `shape` as the input's. The rank stays: a graph is made for it."""
    stored = value.type.tensor_type.shape.dim
    if len(stored) not in (0, len(shape)):
        raise ModelError(
            f"{source}: input {value.name} has {len(stored)} dimensions, --shape gives {len(shape)}",
            hint=f"--shape {value.name}={','.join(['N'] * len(stored))}",
        )
    while len(stored) < len(shape):
        stored.add()
    for dim, size in zip(stored, shape, strict=True):
        dim.dim_value = size


def _open(value: Any) -> None:
    for i, dim in enumerate(value.type.tensor_type.shape.dim):
        dim.Clear()
        dim.dim_param = f"{value.name}_{i}"
