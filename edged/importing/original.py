"""A model of another framework, as far as an import needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edged.errors import ModelError
from edged.tensors import TensorSpec

Array = npt.NDArray[Any]
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user said of the input: full shapes by name, size (w, h) and channels of the picture."""

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    channels: int = 3


class Original(Protocol):
    """A loaded model. Errors of its framework are ModelErrors."""

    @property
    def framework(self) -> str:
        """With its version, for messages."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """With full shapes."""
        ...

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """The outputs, in the order in which the ONNX file has them."""
        ...

    def export(self, file: Path) -> None:
        """Write the ONNX file, its weights inside."""
        ...


def resolve(
    who: str, name: str, dims: Sequence[int | None] | None, dtype: np.dtype[Any], asked: Asked
) -> TensorSpec:
    """An input with its full shape: as said, else as the model has it with one picture of the size that was said.

    ModelError says which option is missing. Dimensions that the framework leaves open are None; `dims` None: all are.
    """
    said = asked.shapes.get(name)
    if said is not None:
        return TensorSpec(name, said, dtype)
    shape = list(dims) if dims is not None else [None] * 4
    if len(shape) == 4:
        last = shape[3] in (1, 3) and shape[1] not in (1, 3)  # channels last
        width, height = asked.size or (None, None)
        picture = (1, height, width, asked.channels) if last else (1, asked.channels, height, width)
        shape = [p if d is None else d for d, p in zip(shape, picture, strict=True)]
    full = tuple(d for d in shape if d is not None)
    if len(full) != len(shape):
        open_shape = ",".join("?" if d is None else str(d) for d in shape)
        raise ModelError(
            f"{who}: the shape of input '{name}' is open: {open_shape}",
            hint=f"say the picture's size: --size WIDTHxHEIGHT, or all of it: --shape {name}=1,3,HEIGHT,WIDTH",
        )
    return TensorSpec(name, full, dtype)


def failed(what: str, e: Exception, hint: str) -> ModelError:
    """A framework's exception in one line: of several that led to each other the first."""
    first: BaseException = e
    while first.__cause__ is not None:
        first = first.__cause__
    text = " ".join(_COLORS.sub("", str(first)).split())
    said = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return ModelError(f"{what}: {type(first).__name__}: {said}", hint=hint)
