"""Runs of a graph with ONNX Runtime on samples: what values its tensors reach, and whether two graphs agree.

Used by the builder's process. Pictures are float or uint8 tensors as model.toml describes them; all else is drawn at
random, from a fixed seed: the same build finds the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edged.build.half import copy_of
from edged.build.request import BuildError
from edged.errors import MissingPackage
from edged.models.inspect import TensorFacts, dtype_of
from edged.tensors import ImageInput

Feeds = dict[str, npt.NDArray[Any]]

LEAST_COSINE = 0.99
# Two FP32 graphs are the same where all but a few values are as close as other orders of summing make them; an index of
# a class may flip where two classes are equally likely.
_RELATIVE, _OF_GREATEST, _FEW = 1e-3, 1e-5, 1e-3
_SEED = 20
_PICTURES = 16  # of a folder
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True, slots=True)
class Agreement:
    """An output of two graphs over all samples: cosine of the angle between them, greatest difference, all finite."""

    output: str
    cosine: float
    difference: float
    finite: bool


def samples(
    inputs: Sequence[TensorFacts],
    shapes: Mapping[str, tuple[int, ...]],
    picture: ImageInput,
    folder: str | None,
) -> list[Feeds]:
    """What to run the graph on: pictures of the folder where there is one, and drawn ones that go to the extremes."""
    rng = np.random.default_rng(_SEED)
    return [
        {
            t.name: _tensor(t, shapes[t.name], p if t.name == picture.tensor else None, picture, rng)
            for t in inputs
        }
        for p in [*_drawn(picture, rng), *_photographs(picture, folder)]
    ]


def _drawn(picture: ImageInput, rng: np.random.Generator) -> list[npt.NDArray[np.float32]]:
    """[h, w, c] in grey levels: noise, patches of even colour, and black and white."""
    w, h = picture.size
    size = (h, w, picture.channels)
    patches = rng.uniform(0, 255, (h // 32 + 1, w // 32 + 1, picture.channels))
    even = np.repeat(np.repeat(patches, 32, axis=0), 32, axis=1)[:h, :w]
    hard = np.where(np.repeat(np.repeat(patches, 32, axis=0), 32, axis=1)[:h, :w] > 127, 255.0, 0.0)
    return [p.astype(np.float32) for p in (rng.uniform(0, 255, size), even, hard)]


def _photographs(picture: ImageInput, folder: str | None) -> list[npt.NDArray[np.float32]]:
    """Pictures of a folder, stretched to the input's size: their values matter here, not their shape."""
    if folder is None:
        return []
    try:
        import cv2
    except ImportError as e:
        raise MissingPackage("cv2", needed_by="reading pictures", extra="ort") from e
    found = []
    for file in sorted(f for f in Path(folder).iterdir() if f.suffix.lower() in _SUFFIXES)[:_PICTURES]:
        read = cv2.imread(str(file))
        if read is None:
            continue
        bgr = cv2.resize(read, picture.size).astype(np.float32)
        if picture.color == "GREY":
            found.append(bgr.mean(axis=2, keepdims=True))
        else:
            found.append(bgr[:, :, ::-1] if picture.color == "RGB" else bgr)
    if not found:
        raise BuildError(
            f"{folder}: holds no picture that can be read",
            hint=f"give a folder with {', '.join(_SUFFIXES)} files",
        )
    return found


def _tensor(
    facts: TensorFacts,
    shape: tuple[int, ...],
    pixels: npt.NDArray[np.float32] | None,
    picture: ImageInput,
    rng: np.random.Generator,
) -> npt.NDArray[Any]:
    dtype = dtype_of(facts.element)
    if dtype is None:
        raise BuildError(
            f"input {facts} has a type that no sample can be drawn for", hint="use --precision fp32"
        )
    if pixels is None:
        kind = dtype.kind
        return np.asarray(rng.standard_normal(shape) if kind == "f" else np.ones(shape), dtype)
    value = (pixels - np.array(picture.mean, np.float32)) / np.array(picture.std, np.float32)
    if picture.layout == "NCHW":
        value = value.transpose(2, 0, 1)
    h, w = (2, 3) if picture.layout == "NCHW" else (1, 2)
    if (
        shape[h] != picture.size[1] or shape[w] != picture.size[0]
    ):  # a profile of another size: nearest pixels
        rows, columns = (
            np.linspace(0, s - 1, n).round().astype(int)
            for s, n in zip(picture.size[::-1], (shape[h], shape[w]), strict=True)
        )
        value = value.take(rows, axis=h - 1).take(columns, axis=w - 1)
    return np.ascontiguousarray(np.broadcast_to(value, shape)).astype(dtype)


def _session(model: bytes | str) -> Any:
    try:
        import onnxruntime as ort
    except ImportError as e:
        raise MissingPackage("onnxruntime", needed_by="edged model build", extra="build") from e
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # the pipelines have the other cores
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # its exceptions have no common base
        raise _not_run("load", e) from e


def _run(session: Any, feed: Feeds) -> list[npt.NDArray[Any]]:
    try:
        found: list[npt.NDArray[Any]] = session.run(None, feed)
    except Exception as e:  # its exceptions have no common base
        raise _not_run("run", e) from e
    return found


def _not_run(what: str, e: Exception) -> BuildError:
    return BuildError(
        f"ONNX Runtime cannot {what} the graph: {' '.join(str(e).split())[:300]}",
        hint="to cast it, it must run there: build it with --precision fp32",
    )


def largest_values(model: Any, feeds: Sequence[Feeds]) -> dict[str, float]:
    """Tensor -> greatest absolute value over all samples, of every FP32 tensor between nodes.

    `model` (onnx.ModelProto) stays as it is. The extremes are taken inside the graph, so that no tensor is kept.
    """
    from onnx import TensorProto, helper, shape_inference

    copy = copy_of(model)
    inferred = shape_inference.infer_shapes(copy).graph
    floats = {
        v.name
        for v in (*inferred.value_info, *inferred.output)
        if v.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    made = [o for n in copy.graph.node for o in n.output if o in floats]
    del copy.graph.output[:]
    for i, name in enumerate(made):
        copy.graph.node.append(helper.make_node("Abs", [name], [f"abs__{i}"]))
        copy.graph.node.append(helper.make_node("ReduceMax", [f"abs__{i}"], [f"max__{i}"], keepdims=0))
        copy.graph.output.append(helper.make_tensor_value_info(f"max__{i}", TensorProto.FLOAT, []))
    found = dict.fromkeys(made, 0.0)
    session = _session(copy.SerializeToString()) if made else None
    for feed in feeds:
        for name, seen in zip(made, _run(session, feed) if session else (), strict=True):
            found[name] = max(found[name], float(seen))
        for name, value in feed.items():
            found[name] = max(found.get(name, 0.0), float(np.abs(value.astype(np.float64)).max(initial=0.0)))
    return found


def agreement(one: Any, other: Any, feeds: Sequence[Feeds]) -> list[Agreement]:
    """How the float outputs of two graphs (onnx.ModelProto) agree."""
    first, second = _session(one.SerializeToString()), _session(other.SerializeToString())
    names = [o.name for o in first.get_outputs()]
    runs = [(_run(first, f), _run(second, f)) for f in feeds]
    found = []
    for i, name in enumerate(names):
        a, b = (np.concatenate([np.ravel(r[k][i]) for r in runs]).astype(np.float64) for k in (0, 1))
        if a.shape != b.shape:  # as many rows as something was found
            continue
        both = np.linalg.norm(a) * np.linalg.norm(b)
        finite = bool(np.isfinite(b).all() or not np.isfinite(a).all())
        cosine = float(a @ b / both) if both else float(np.array_equal(a, b))
        found.append(Agreement(name, cosine, float(np.abs(a - b).max(initial=0.0)), finite))
    return found


def difference(one: Any, other: Any, feeds: Sequence[Feeds]) -> str:
    """How the outputs of two FP32 graphs (onnx.ModelProto) differ by more than rounding; nothing where they do not.

    BuildError where ONNX Runtime cannot run one of them.
    """
    first, second = _session(one.SerializeToString()), _session(other.SerializeToString())
    names = [o.name for o in first.get_outputs()]
    for feed in feeds:
        for name, a, b in zip(names, _run(first, feed), _run(second, feed), strict=True):
            if why := _unlike(np.asarray(a), np.asarray(b)):
                return f"output '{name}' {why}"
    return ""


def _unlike(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> str:
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return f"is {a.dtype}{list(a.shape)} and becomes {b.dtype}{list(b.shape)}"
    if a.dtype.kind in "fiu":
        one, other = b.astype(np.float64), a.astype(np.float64)
        greatest = np.abs(other[np.isfinite(other)]).max(initial=0.0)
        same = np.isclose(one, other, _RELATIVE, _OF_GREATEST * greatest, equal_nan=True)
    else:
        same = a == b
    off = 1.0 - float(np.mean(same)) if same.size else 0.0
    return f"has other values, {off:.1%} of them" if off > _FEW else ""
