"""What outputs look like: checks of a loaded model against its parser, and guesses for a new one.

Shapes here include the batch dimension, None where the graph leaves a dimension open.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edged import registry
from edged.config.schema import Table
from edged.errors import ModelError
from edged.models.model import Model
from edged.parsers.base import Outputs
from edged.tensors import TensorSpec

Shape = tuple[int | None, ...]
Shapes = Mapping[str, Shape]
STRIDES = ((8, 16, 32), (8, 16, 32, 64))  # of the usual detectors, and of their P6 variants

T = TypeVar("T", bound=Table)


def options_of(model: Model, kind: type[T]) -> T:
    """The parser's own keys of [output], or their defaults."""
    options: T = kind() if model.output.options is None else model.output.options
    return options


def tensor_of(outputs: Outputs, name: str) -> npt.NDArray[Any]:
    """The output called `name`, or the only one ("")."""
    return outputs[name] if name else next(iter(outputs.values()))


def grid_rows(size: tuple[int, int], strides: Sequence[int]) -> int:
    """Cells of all levels for an input `size` (w, h)."""
    return sum((size[0] // s) * (size[1] // s) for s in strides)


# --- checks at load


def refusal(model: Model, outputs: Sequence[TensorSpec], wanted: str, remedy: str = "") -> ModelError:
    """The error of a model whose outputs do not suit its parser: names, shapes and a remedy."""
    shapes = {o.name: o.shape for o in outputs}
    like = next((g["parser"] for g in guesses({model.input.tensor: model.input.shape()}, shapes, {})), None)
    if not remedy and like and like != model.output.parser:
        remedy = f'the outputs look like those of parser = "{like}"'
    return ModelError(
        f"model {model.name}: parser '{model.output.parser}' needs {wanted}; "
        f"the model gives {', '.join(map(str, outputs)) or 'no outputs'}",
        hint=remedy
        or 'set [output] parser in model.toml to the model\'s layout, or to "raw" for its tensors as they are',
    )


def find(model: Model, outputs: Sequence[TensorSpec], name: str, key: str, wanted: str) -> TensorSpec:
    """The output that [output] `key` = `name` means; "" is the only one. Raises ModelError."""
    found = [o for o in outputs if o.name == name] if name else list(outputs)
    if len(found) == 1:
        return found[0]
    names = ", ".join(o.name for o in outputs)
    what = f'the output {key} = "{name}"' if name else f"{wanted} as its only output"
    raise refusal(model, outputs, what, f"set {key} under [output] in model.toml to one of: {names}")


def find_float(
    model: Model, outputs: Sequence[TensorSpec], name: str, key: str, dims: int, wanted: str
) -> TensorSpec:
    """`find`, and the output is of floats and has `dims` dimensions."""
    spec = find(model, outputs, name, key, wanted)
    if spec.dtype.kind != "f" or len(spec.shape) != dims:
        raise refusal(model, outputs, wanted)
    return spec


def check_labels(model: Model, outputs: Sequence[TensorSpec], classes: int) -> None:
    """Labels, where given, name every class: a wrong count means wrong labels or a wrong layout."""
    labels = len(model.output.labels)
    if labels and labels != classes:
        raise refusal(
            model,
            outputs,
            f"as many classes as labels ({labels})",
            f"the output has {classes} classes: correct [output] labels or parser in model.toml, or leave labels out",
        )


# --- guesses for `edged model new`


def guesses(inputs: Shapes, outputs: Shapes, metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """[output] keys that the built-in parsers suggest for a graph; empty where none knows the layout."""
    kinds = (registry.load("parsers", kind) for kind in registry.BUILT_IN["parsers"])
    found = (kind.recognize(inputs, outputs, metadata) for kind in kinds)
    return [f for f in found if f is not None]


def image_size(inputs: Shapes) -> tuple[int, int] | None:
    """(w, h) of the only picture input, [b, 1|3, h, w] or [b, h, w, 1|3], where fixed."""
    if len(inputs) != 1:
        return None
    (shape,) = inputs.values()
    if len(shape) != 4:
        return None
    h, w = shape[2:] if shape[1] in (1, 3) else shape[1:3]
    return (w, h) if w and h else None


def is_grid(rows: int | None, inputs: Shapes, anchors: int) -> bool:
    """Whether `rows` is what a detector with `anchors` a cell has for this input."""
    size = image_size(inputs)
    return bool(rows and size) and any(rows == anchors * grid_rows(size, s) for s in STRIDES if size)


def metadata_value(metadata: Mapping[str, str], key: str) -> Any:
    """A value that the exporter wrote as a Python literal; None where absent or something else."""
    try:
        return ast.literal_eval(metadata[key])
    except (KeyError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def metadata_labels(metadata: Mapping[str, str]) -> list[str]:
    """Class names that ultralytics embeds: names = "{0: 'person', 1: 'bicycle'}" (or a list)."""
    names = metadata_value(metadata, "names")
    if isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names)))):
        names = [names.get(i, names.get(str(i))) for i in range(len(names))]
    return [str(n) for n in names] if isinstance(names, (list, tuple)) else []


def suggest(
    parser: str, classes: int | None, metadata: Mapping[str, str], **keys: Any
) -> dict[str, Any] | None:
    """The [output] keys, with embedded labels; None where these contradict the number of classes."""
    labels = metadata_labels(metadata)
    if labels and classes is not None and len(labels) != classes:
        return None
    return {"parser": parser, **keys, **({"labels": labels} if labels else {})}


def is_float(array: npt.NDArray[Any]) -> bool:
    return array.dtype.kind == "f"


def as_float32(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The array itself where it is float32 already."""
    return array.astype(np.float32, copy=False)
