"""The graph that TensorRT is given: simplified, and cast to FP16 where that was asked for. In the builder's process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from edged.build.half import copy_of, decide, halve, rounded
from edged.build.measure import LEAST_COSINE, Feeds, agreement, difference, largest_values, samples
from edged.build.request import BuildError, Request
from edged.errors import MissingPackage
from edged.models.inspect import TensorFacts, read_graph
from edged.models.sidecar import Profile, Shape

_NAMED = 5  # nodes in a note
_SAID = 200  # characters of a library's words


@dataclass(frozen=True, slots=True)
class Prepared:
    """The graph (onnx.ModelProto) and what a person should know of how it came about."""

    model: Any
    notes: tuple[str, ...]


def prepare(request: Request, half: bool, stage: Callable[[str], None]) -> Prepared:
    """Read the request's ONNX file; simplify it, and cast it if `half`. `stage` is told what begins.

    Raises BuildError, MissingPackage, and ModelError for a file that is none.
    """
    try:
        import onnx
    except ImportError as e:
        raise MissingPackage("onnx", needed_by="edged model build", extra="build") from e
    stage("simplify")
    model = onnx.load_model_from_string(_whole(Path(request.onnx), request.onnx_sha256))
    _name_nodes(model)
    notes: list[str] = []
    if request.simplify:
        model = _simplified(model, request, notes)
    if half:
        stage("cast")
        model = _cast(model, request, notes)
    elif request.keep_fp32:
        notes.append("--keep-fp32 changed nothing: TensorRT itself chooses each layer's precision")
    return Prepared(model, tuple(notes))


def _whole(file: Path, sha256: str) -> bytes:
    """The file's contents; BuildError unless they are those that the plan will be trusted for."""
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BuildError(f"{file}: was changed while the build began", hint="build again")
    return data


def _name_nodes(model: Any) -> None:
    """Give a name to nodes that have none, so that every message can name one: Conv_12 is node 12, a Conv."""
    taken = {n.name for n in model.graph.node}
    for i, node in enumerate(model.graph.node):
        if not node.name:
            name = f"{node.op_type}_{i}"
            node.name = name if name not in taken else f"{name}_of_{node.output[0]}"


def _simplified(model: Any, request: Request, notes: list[str]) -> Any:
    """The graph with less in it, if it still computes the same; else as it is, with a note."""
    try:
        import onnxslim
    except ImportError as e:
        raise MissingPackage(
            "onnxslim", needed_by="edged model build (or --no-simplify)", extra="build"
        ) from e
    before = len(model.graph.node)
    try:
        made = onnxslim.slim(copy_of(model))
    except Exception as e:  # whatever it meets: the graph as it is will do
        said = " ".join(str(e).split())[:_SAID]
        notes.append(f"not simplified: onnxslim says {type(e).__name__}: {said}")
        return model
    kept = ([i.name for i in made.graph.input], [o.name for o in made.graph.output])
    fed = {w.name for w in model.graph.initializer}
    wanted = ([i.name for i in model.graph.input if i.name not in fed], [o.name for o in model.graph.output])
    if kept != wanted:
        notes.append("not simplified: onnxslim changed the inputs or outputs")
        return model
    try:
        why = difference(model, made, [*_feeds(request), *_other_shapes(request)])
    except BuildError as e:
        why = e.message
    if why:
        notes.append(f"not simplified, for it must compute the same: {why}")
        return model
    _name_nodes(made)
    notes.append(f"simplified: {before} nodes, now {len(made.graph.node)}")
    return made


def _feeds(request: Request) -> list[Feeds]:
    """What to run the graph on, in the shapes that it is built best for."""
    inputs = read_graph(Path(request.onnx)).inputs
    shapes = _shapes(inputs, request.profiles[0], 1)
    return samples(inputs, shapes, request.picture, request.samples)


def _other_shapes(request: Request) -> Iterator[Feeds]:
    """One sample for each profile of several shapes: a smaller one, else a larger: no shape may have become fixed."""
    inputs = read_graph(Path(request.onnx)).inputs
    for profile in request.profiles:
        low, best, high = (_shapes(inputs, profile, i) for i in range(3))
        other = low if low != best else high
        if other != best:
            yield samples(inputs, other, request.picture, None)[0]


def _shapes(inputs: Sequence[TensorFacts], profile: Profile, which: int) -> dict[str, Shape]:
    return {t.name: profile[t.name][which] if t.name in profile else (t.fixed or ()) for t in inputs}


def _cast(model: Any, request: Request, notes: list[str]) -> Any:
    feeds = _feeds(request)
    _check_kept(model, request)
    decided = decide(model, largest_values(model, feeds), request.keep_fp32)
    notes.append(f"cast to FP16: {decided.nodes} nodes; {len(decided.kept)} stay in FP32 for their values")
    named = list(decided.kept.items())
    notes += [f"FP32: {name}: {reason}" for name, reason in named[:_NAMED]]
    if len(named) > _NAMED:
        notes.append(f"FP32: and {len(named) - _NAMED} more")
    for a in agreement(model, rounded(model, decided), feeds):
        notes.append(
            f"FP16 against FP32 on {len(feeds)} samples: '{a.output}' cosine {a.cosine:.6f}, "
            f"greatest difference {a.difference:.3g}"
        )
        if not a.finite or a.cosine < LEAST_COSINE:
            what = f"cosine {a.cosine:.4f}, below {LEAST_COSINE}" if a.finite else "it is not finite"
            raise BuildError(
                f"{request.model}: in FP16 output '{a.output}' is not what it is in FP32: {what}",
                hint="keep the nodes that matter with --keep-fp32 'NAME*', or build with --precision fp32",
            )
    made = halve(model, decided)
    if not _invalid(model) and (why := _invalid(made)):
        raise BuildError(
            f"{request.model}: the cast to FP16 made an invalid graph: {why}",
            hint="this is a fault of edged: please report it; meanwhile keep those nodes with --keep-fp32 'NAME*'",
        )
    return made


def _check_kept(model: Any, request: Request) -> None:
    """BuildError where a pattern of --keep-fp32 is of no node: it would keep nothing, unseen."""
    names = [n.name for n in model.graph.node]
    for pattern in request.keep_fp32:
        if not any(fnmatchcase(name, pattern) for name in names):
            close = [f"did you mean '{n}'?" for n in get_close_matches(pattern, names, 1)]
            gone = ["simplifying may have taken it: --no-simplify"] if request.simplify else []
            raise BuildError(
                f"{request.model}: --keep-fp32 '{pattern}' is the name of no node",
                hint="; ".join([*close, "edged inspect DIR --all lists those of the file", *gone]),
            )


def _invalid(model: Any) -> str:
    """What ONNX's checker has against a graph, which also infers all types; nothing of one that is whole.

    Operators that ONNX does not know count as something, and so does a graph above 2 GiB.
    """
    from onnx import checker, shape_inference

    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError, ValueError) as e:
        return " ".join(str(e).split())[:_SAID]
    return ""
