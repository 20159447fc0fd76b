"""[input] and [shapes] of model.toml, checked against the graph: which tensor is the picture, and its shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated

from msgspec import Meta

from edged.config.schema import Size, Table
from edged.errors import Problem
from edged.frames import Fit
from edged.models.inspect import PICTURE_TYPES, GraphFacts, TensorFacts
from edged.models.reader import suggestion
from edged.tensors import Color, ImageInput, Layout


class InputTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[input], as written. `mean` and `std`: one value, or one a channel, in grey levels 0..255."""

    tensor: str
    size: Size
    color: Color = "RGB"
    resize: Fit = "letterbox"
    pad: Annotated[int, Meta(ge=0, le=255)] = 114
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    layout: Layout | None = None


def read_input(table: InputTable, graph: GraphFacts | None, problems: list[Problem]) -> ImageInput | None:
    """[input] with its defaults filled from the graph. None when problems were found."""
    before = len(problems)
    channels = 1 if table.color == "GREY" else 3
    mean = _per_channel(table.mean, "input.mean", channels, math.isfinite, "finite", problems)
    std = _per_channel(
        table.std, "input.std", channels, lambda v: math.isfinite(v) and v > 0, "above 0", problems
    )
    tensor = _tensor(table, graph, problems)
    dims = tensor.dims if tensor is not None else None
    spec = ImageInput(
        tensor=table.tensor,
        size=table.size,
        color=table.color,
        resize=table.resize,
        pad=table.pad,
        mean=mean,
        std=std,
        layout=table.layout or guess_layout(dims, channels),
    )
    if tensor is not None:
        problems += _contradictions(spec, tensor)
    return spec if len(problems) == before else None


def _per_channel(
    raw: float | tuple[float, ...],
    path: str,
    channels: int,
    good: Callable[[float], bool],
    what: str,
    problems: list[Problem],
) -> tuple[float, ...]:
    values = (raw,) * channels if isinstance(raw, float) else raw
    if len(values) != channels:
        problems.append(
            Problem(
                path,
                f"has {len(values)} values, the color has {channels} channels",
                "one value stands for all",
            )
        )
    elif not all(good(v) for v in values):
        problems.append(Problem(path, f"must be {what}, got {list(values)}"))
    return values


def _tensor(table: InputTable, graph: GraphFacts | None, problems: list[Problem]) -> TensorFacts | None:
    """The input that is the picture."""
    if graph is None:
        return None
    names = [t.name for t in graph.inputs]
    tensor = graph.input(table.tensor)
    if tensor is None:
        problems.append(
            Problem(
                "input.tensor", f"'{table.tensor}' is no input of the file", suggestion(table.tensor, names)
            )
        )
    elif len(names) > 1:
        problems.append(several_inputs("input.tensor", graph))
    elif tensor.element not in PICTURE_TYPES:
        problems.append(
            Problem("input.tensor", f"{tensor} is no picture", f"edged fills {', '.join(PICTURE_TYPES)}")
        )
    else:
        return tensor
    return None


def several_inputs(path: str, graph: GraphFacts) -> Problem:
    """The problem of a graph that wants more than a picture."""
    listing = ", ".join(str(t) for t in graph.inputs)
    return Problem(
        path,
        f"the file has {len(graph.inputs)} inputs ({listing}); edged feeds one picture",
        "export the model with the other inputs as constants",
    )


def guess_layout(dims: tuple[int | str, ...] | None, channels: int) -> Layout:
    """NHWC only where the shape says so."""
    if dims is None or len(dims) != 4:
        return "NCHW"
    return "NHWC" if dims[3] == channels and dims[1] != channels else "NCHW"


def _contradictions(spec: ImageInput, tensor: TensorFacts) -> list[Problem]:
    """Where size, color and layout differ from dimensions that the file fixes."""
    dims = tensor.dims
    if dims is None:
        return []
    if len(dims) != 4:
        return [Problem("input.tensor", f"{tensor} is no picture", "a picture has four dimensions")]
    wanted = spec.shape()
    if not any(isinstance(d, int) and d != w for d, w in zip(dims, wanted, strict=True)):
        return []
    axes = "NCHW" if spec.layout == "NCHW" else "NHWC"
    fixed = dict(zip(axes, dims, strict=True))
    asked = dict(zip(axes, wanted, strict=True))
    off = {a for a in axes if isinstance(fixed[a], int) and fixed[a] != asked[a]}
    if "C" in off:
        return [Problem("input.color", f"{spec.color} has {asked['C']} channels; {tensor} has {fixed['C']}")]
    if off & {"H", "W"}:
        size = list(spec.size)
        remedy = f"write size = [{fixed['W']}, {fixed['H']}]"
        if "N" in off:
            remedy = _reshape(tensor, wanted)
        return [Problem("input.size", f"{size} contradicts the file: {tensor} is fixed", remedy)]
    return [
        Problem(
            "input.tensor", f"{tensor} is fixed to {fixed['N']} pictures at once", _reshape(tensor, wanted)
        )
    ]


def _reshape(tensor: TensorFacts, wanted: tuple[int, ...]) -> str:
    shape = ",".join(str(w) for w in wanted)
    return f"edged model new FILE.onnx NEW_DIRECTORY --shape {tensor.name}={shape} changes it"


def read_shapes(
    written: Mapping[str, tuple[int, ...]],
    spec: ImageInput,
    graph: GraphFacts | None,
    problems: list[Problem],
) -> dict[str, tuple[int, ...]]:
    """[shapes] with the picture's own shape added; what is said twice must agree."""
    shapes = dict(written)
    for name, shape in shapes.items():
        path = f"shapes.{name}"
        tensor = graph.input(name) if graph is not None else None
        if graph is not None and tensor is None:
            known = suggestion(name, [t.name for t in graph.inputs])
            problems.append(Problem(path, "is no input of the file", known))
        elif name == spec.tensor and shape != spec.shape():
            problems.append(
                Problem(path, f"{list(shape)} contradicts [input], which makes it {list(spec.shape())}")
            )
    return {**shapes, spec.tensor: spec.shape()}
