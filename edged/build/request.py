"""What is to be built, checked as far as the ONNX file says, before a builder is started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edged.config.quantities import format_size
from edged.errors import EngineError
from edged.models.inspect import GraphFacts, TensorFacts, read_graph
from edged.models.model import Model
from edged.models.reader import suggestion
from edged.models.sidecar import Flavour, Precision, Profile, Range, Shape
from edged.tensors import ImageInput

WORKSPACE, LEAST_WORKSPACE = 1 << 30, 1 << 20
LEVELS = range(6)
_OPTIONS = ("workspace", "level", "sparse", "dla", "simplify", "keep_fp32", "samples")


class BuildError(EngineError):
    """A plan cannot be built."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One build, as the builder's process is told it. Sizes in bytes.

    model: the directory, for messages. capabilities: GPUs to build for (TensorRT-RTX, none named: all from 8.0 on;
    TensorRT: the GPU at hand).
    profiles: input -> (min, opt, max), each with every open input. workspace: what a layer may use on the GPU while it
    runs. level: the builder's optimization level, None: its own. dla: a core of the deep learning accelerator.
    keep_fp32: nodes (names, * for any text) that are not cast. samples: a folder of pictures to look for overflows
    with. memory: what the builder's process may use; None: no cap.
    """

    model: str
    onnx: str
    onnx_sha256: str
    picture: ImageInput
    engine: Flavour
    precision: Precision
    profiles: tuple[Profile, ...]
    capabilities: tuple[str, ...] = ()
    workspace: int = WORKSPACE
    level: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    sparse: bool = False
    dla: int | None = None
    simplify: bool = True
    keep_fp32: tuple[str, ...] = ()
    samples: str | None = None
    memory: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What makes another plan of the same file, as the sidecar keeps it: only what differs from the default."""
        defaults = {f.name: f.default for f in msgspec.structs.fields(type(self))}
        said = {n: getattr(self, n) for n in _OPTIONS if getattr(self, n) != defaults[n]}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in said.items()}


def make_request(model: Model, profiles: Sequence[Mapping[str, Range]] = (), **options: Any) -> Request:
    """The request to build a plan of `model`. `profiles`: what was said, which may leave inputs out.

    BuildError lists everything that the file or the engine does not allow; ModelError: the file cannot be read.
    """
    graph = read_graph(model.file)
    request = Request(
        model=str(model.path),
        onnx=str(model.file.resolve()),
        onnx_sha256=model.sha256,
        picture=model.input,
        profiles=tuple(_complete(graph, model, p) for p in profiles or ({},)),
        **options,
    )
    problems = [*_engine_problems(request), *_shape_problems(request, graph, model)]
    if problems:
        raise BuildError(
            "\n".join(f"{model.path}: {p}" for p in problems), hint="edged model build --help has all options"
        )
    return request


def _complete(graph: GraphFacts, model: Model, said: Mapping[str, Range]) -> dict[str, Range]:
    """The profile with the shapes that model.toml has for open inputs; inputs of fixed shape need none."""
    known = {
        t.name: (model.shapes[t.name],) * 3
        for t in graph.inputs
        if t.fixed is None and t.name in model.shapes and t.name not in said
    }
    return {**said, **known}


def _engine_problems(request: Request) -> Iterator[str]:
    r = request
    if r.engine == "tensorrt-rtx":
        if r.version_compatible or r.hardware_compatible:
            yield "TensorRT-RTX has no version- or hardware-compatible plans: name the GPUs with --capability"
        if r.dla is not None:
            yield "TensorRT-RTX has no DLA: use --engine tensorrt"
    elif r.capabilities:
        yield "TensorRT builds for the GPU at hand: --capability is for --engine tensorrt-rtx"
    if r.dla is not None and r.precision == "fp32":
        yield "a DLA computes in FP16: use --precision fp16"
    if r.keep_fp32 and r.precision == "fp32":
        yield "nothing is cast to FP16: --keep-fp32 is for --precision fp16"
    if r.workspace < LEAST_WORKSPACE:
        yield f"a workspace of {format_size(r.workspace)} leaves layers no memory to run in: --workspace '1 GiB'"
    if r.level is not None and r.level not in LEVELS:
        yield f"optimization level {r.level} is not from {LEVELS[0]} to {LEVELS[-1]}"
    if r.samples is not None and not Path(r.samples).is_dir():
        yield f"'{r.samples}' is no folder of pictures"


def _shape_problems(request: Request, graph: GraphFacts, model: Model) -> Iterator[str]:
    names = [t.name for t in graph.inputs]
    for number, profile in enumerate(request.profiles):
        where = f"profile {number}: " if len(request.profiles) > 1 else ""
        for name in profile.keys() - set(names):
            yield f"{where}'{name}' is no input of the file; {suggestion(name, names)}"
        for tensor in graph.inputs:
            if tensor.name in profile:
                yield from (f"{where}{p}" for p in _range_problems(tensor, profile[tensor.name]))
            elif tensor.fixed is None:
                example = ",".join(str(d) if isinstance(d, int) else d.upper() for d in tensor.dims or ("N",))
                yield f"{where}{tensor} leaves dimensions open: --profile {tensor.name}={example}"
        if request.dla is not None and any(low != high for low, _, high in profile.values()):
            yield f"{where}a DLA runs one shape only: give each input one"
    yield from _picture_problems(request, model)


def _range_problems(tensor: TensorFacts, shapes: Range) -> Iterator[str]:
    low, best, high = shapes
    text = f"{tensor.name}={':'.join(','.join(map(str, s)) for s in shapes)}"
    rank = len(tensor.dims) if tensor.dims is not None else len(low)
    if {len(s) for s in shapes} != {rank}:
        yield f"{text}: {tensor} has {rank} dimensions"
        return
    for i, (a, b, c) in enumerate(zip(low, best, high, strict=True)):
        if not 1 <= a <= b <= c:
            yield f"{text}: dimension {i} is {a}, {b}, {c}: it must be 1 <= min <= opt <= max"
        stored = tensor.dims[i] if tensor.dims is not None else None
        if isinstance(stored, int) and {a, b, c} != {stored}:
            yield (
                f"{text}: dimension {i} is fixed to {stored} in the file "
                f"(edged model new FILE NEW_DIRECTORY --shape changes it)"
            )


def _picture_problems(request: Request, model: Model) -> Iterator[str]:
    """The daemon runs the shape of model.toml: some profile must hold it."""
    tensor, shape = model.input.tensor, model.input.shape()
    ranges = [p[tensor] for p in request.profiles if tensor in p]
    if ranges and not any(_holds(r, shape) for r in ranges):
        yield f"no profile holds {tensor}={','.join(map(str, shape))}, which model.toml says and the daemon runs"


def _holds(shapes: Range, shape: Shape) -> bool:
    low, _, high = shapes
    return len(low) == len(shape) and all(a <= s <= b for a, s, b in zip(low, shape, high, strict=True))
