"""A plan's tensors: names, dtypes, shapes, and the optimization profile that the wanted shapes fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edged.engines.tensorrt_library import Library
from edged.errors import EngineError
from edged.tensors import TensorSpec

Shape = tuple[int, ...]

# TensorRT's element types that numpy has, by their names
_DTYPES: Mapping[str, str] = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}


@dataclass(frozen=True, slots=True)
class Declared:
    """A tensor as the plan has it; -1 in `dims`: chosen when it is loaded."""

    name: str
    dtype: np.dtype[Any]
    dims: Shape
    is_input: bool

    def __str__(self) -> str:
        return f"'{self.name}': {self.dtype}[{', '.join('?' if d < 0 else str(d) for d in self.dims)}]"


def read_tensors(who: str, library: Library, engine: Any) -> tuple[Declared, ...]:
    """Inputs and outputs, in the plan's order. EngineError for a kind that edged cannot feed or read."""
    trt = library.module
    found = []
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        kind = engine.get_tensor_dtype(name).name
        if kind not in _DTYPES:
            raise EngineError(
                f"{who}: tensor '{name}' has elements of {kind}, which edged cannot read",
                hint="export the model with float32 or float16 as inputs and outputs, and build it again",
            )
        if engine.get_tensor_location(name) == trt.TensorLocation.HOST:
            raise EngineError(
                f"{who}: tensor '{name}' is a shape that TensorRT reads on the host, which edged does not feed",
                hint="export the model with the shape as a constant, and build it again",
            )
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        dims = tuple(int(d) for d in engine.get_tensor_shape(name))
        found.append(Declared(name, np.dtype(_DTYPES[kind]), dims, is_input))
    return tuple(found)


def resolve(who: str, inputs: Sequence[Declared], asked: Mapping[str, Shape]) -> dict[str, Shape]:
    """The full shape of each input: what is asked for where the plan leaves it open, else the plan's own."""
    for name in asked:
        if name not in [t.name for t in inputs]:
            raise EngineError(
                f"{who}: the plan has no input '{name}'; it has {'; '.join(map(str, inputs))}",
                hint="correct [input] tensor or [shapes] in model.toml, or shapes under [models.X.options]",
            )
    return {t.name: _resolved(who, t, asked.get(t.name)) for t in inputs}


def _resolved(who: str, tensor: Declared, asked: Shape | None) -> Shape:
    if asked is None:
        if min(tensor.dims, default=1) < 0:
            raise EngineError(
                f"{who}: the shape of {tensor} is open",
                hint=f'write it under [shapes] in model.toml: "{tensor.name}" = [1, …]',
            )
        return tensor.dims
    dims = tensor.dims
    if len(dims) != len(asked) or any(d not in (-1, a) for d, a in zip(dims, asked, strict=True)):
        raise EngineError(
            f"{who}: {tensor} in the plan, model.toml makes it {list(asked)}",
            hint="correct size and layout under [input], or build a plan for this shape: edged model build DIR",
        )
    return asked


def choose_profile(
    who: str,
    engine: Any,
    inputs: Sequence[Declared],
    shapes: Mapping[str, Shape],
    wanted: int | None,
    model: str,
) -> int:
    """The number of the first profile that `shapes` fit, or `wanted` if they fit that. EngineError with all ranges."""
    count = engine.num_optimization_profiles
    if wanted is not None and wanted >= count:
        raise EngineError(
            f"{who}: the plan has no profile {wanted}; it has {count}, from 0 on",
            hint="correct profile under [models.X.options], or leave it out",
        )
    dynamic = [t.name for t in inputs if min(t.dims, default=1) < 0]
    misfits = []
    for number in range(count) if wanted is None else (wanted,):
        ranges = {name: _range(engine, name, number) for name in dynamic}
        bad = [n for n, (low, high) in ranges.items() if not _within(shapes[n], low, high)]
        if not bad:
            return number
        misfits += [f"profile {number}: '{n}' from {list(ranges[n][0])} to {list(ranges[n][1])}" for n in bad]
    listing = ", ".join(f"'{n}' {list(shapes[n])}" for n in dynamic)
    raise EngineError(
        f"{who}: the plan has no profile for {listing}; {'; '.join(misfits)}",
        hint=f"change the shape in model.toml, or build a plan that has it: edged model build {model}",
    )


def _range(engine: Any, name: str, profile: int) -> tuple[Shape, Shape]:
    low, _, high = engine.get_tensor_profile_shape(name, profile)
    return tuple(int(d) for d in low), tuple(int(d) for d in high)


def _within(shape: Shape, low: Shape, high: Shape) -> bool:
    return len(shape) == len(low) and all(a <= s <= b for a, s, b in zip(low, shape, high, strict=True))


def output_specs(who: str, context: Any, outputs: Sequence[Declared]) -> tuple[TensorSpec, ...]:
    """Of a context that knows the shapes of its inputs. EngineError where an output's shape follows the picture."""
    found = []
    for t in outputs:
        shape = tuple(int(d) for d in context.get_tensor_shape(t.name))
        if min(shape, default=1) < 1:
            raise EngineError(
                f"{who}: the shape of output {t} depends on the picture",
                hint="export the model without NMS inside, or with a fixed number of rows; edged does the NMS",
            )
        found.append(TensorSpec(t.name, shape, t.dtype))
    return tuple(found)
