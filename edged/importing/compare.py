"""An import is believed once ONNX Runtime gives what the framework gives, on several random inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edged.engines.onnxruntime import package as onnxruntime_package
from edged.errors import ModelError
from edged.importing.original import Array, Original, failed
from edged.tensors import TensorSpec

TOLERANCE = 1e-4
# what inputs are drawn from: pictures reach a model as they are, in parts of 255, or normalized
DRAWS = ("normal", "normal again", "0 to 1", "0 to 255")


@dataclass(frozen=True, slots=True)
class Difference:
    """The greatest difference in one output on one draw, in parts of the original's greatest value (at least 1)."""

    draw: str
    output: str
    value: float


def compare(original: Original, file: Path, tolerance: float) -> tuple[Difference, ...]:
    """How far the ONNX `file` is from the original, worst first.

    ModelError with the figures where a difference is above `tolerance`, a shape differs, or only one has NaN.
    """
    session = _session(file)
    names = [o.name for o in session.get_outputs()]
    found: list[Difference] = []
    for number, draw in enumerate(DRAWS):
        feeds = {t.name: _drawn(t, draw, np.random.default_rng(number)) for t in original.inputs}
        theirs = original.run(feeds)
        ours = dict(zip(names, _run(session, names, _by_name(session, original, feeds)), strict=True))
        found += _differences(draw, theirs, ours)
    found.sort(key=lambda d: (-d.value, d.draw, d.output))
    if not found or found[0].value > tolerance:
        lines = [f"{d.output} on {d.draw}: {d.value:.3g}" for d in found if d.value > tolerance]
        raise ModelError(
            f"the ONNX file does not compute what {original.framework} computes: "
            + "; ".join(lines[:6] or ["no outputs"]),
            hint=f"{tolerance:g} is allowed, in parts of the greatest value; --tolerance allows more",
        )
    return tuple(found)


def _session(file: Path) -> Any:
    """Without rewriting the graph: what is compared is the file."""
    ort = onnxruntime_package()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # ONNX Runtime's errors have no base class of their own
        raise failed(
            f"ONNX Runtime {ort.__version__} cannot load the export", e, "try another version of it"
        ) from e


def _run(session: Any, names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
    try:
        found: Sequence[Array] = session.run(names, feeds)
    except Exception as e:  # ONNX Runtime's errors have no base class of their own
        shapes = ", ".join(f"{n} {list(a.shape)}" for n, a in feeds.items())
        raise failed(f"the ONNX file does not run on {shapes}", e, "say another --size or --shape") from e
    return found


def _by_name(session: Any, original: Original, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Feeds under the file's names of inputs, which are in the original's order where an exporter renamed them."""
    names = [i.name for i in session.get_inputs()]
    if len(names) != len(original.inputs):
        raise ModelError(
            f"the ONNX file has {len(names)} inputs ({', '.join(names)}), the model {len(original.inputs)}",
            hint="leave out inputs that change nothing",
        )
    own = [t.name for t in original.inputs]
    return dict(zip(names if set(names) != set(own) else own, (feeds[n] for n in own), strict=True))


def _drawn(tensor: TensorSpec, draw: str, rng: np.random.Generator) -> Array:
    if tensor.dtype.kind in "iu":
        return rng.integers(0, 128, tensor.shape).astype(tensor.dtype)
    if draw.startswith("normal"):
        return rng.standard_normal(tensor.shape).astype(tensor.dtype)
    return rng.uniform(0, float(draw.split()[-1]), tensor.shape).astype(tensor.dtype)


def _differences(draw: str, theirs: Sequence[Array], ours: Mapping[str, Array]) -> list[Difference]:
    if len(theirs) != len(ours):
        raise ModelError(
            f"the model gives {len(theirs)} tensors, the ONNX file {len(ours)} ({', '.join(ours)})",
            hint="return tensors alone, each of them once",
        )
    return [Difference(draw, n, _difference(n, a, b)) for a, (n, b) in zip(theirs, ours.items(), strict=True)]


def _difference(name: str, theirs: Array, ours: Array) -> float:
    if theirs.shape != ours.shape:
        raise ModelError(
            f"output '{name}' is {list(ours.shape)} in the ONNX file, {list(theirs.shape)} in the model",
            hint="say the shape of the input: --shape",
        )
    a, b = np.asarray(theirs, np.float64), np.asarray(ours, np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    with np.errstate(invalid="ignore"):
        apart: Any = np.abs(a - b)[np.isfinite(a)]
    scale = max(1.0, float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0)))
    return float(np.max(apart, initial=0.0)) / scale
