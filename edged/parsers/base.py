"""What a parser is: built once from model.toml, pure numpy, no state between frames, never raises on numbers.

`decode` reads the outputs in model-input pixels; `finish` filters, suppresses and maps to source pixels.
The two are apart so that a GPU kernel can replace the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from edged.frames import F32, Geometry
from edged.messages import Mask, Tensor
from edged.tensors import TensorSpec

I32 = npt.NDArray[np.int32]
Outputs = Mapping[str, npt.NDArray[Any]]


def _no_boxes() -> F32:
    return np.empty((0, 4), np.float32)


@dataclass(slots=True)
class Candidates:
    """Rows above the score threshold, before suppression, in model-input pixels.

    boxes float32 [n, 4] = x1, y1, x2, y2; scores float32 [n]; class_ids int32 [n]; keypoints float32
    [n, k, 2] or None. `rejected` counts rows dropped for what no picture can give (NaN, inf, absurd sizes)
    and those over the bound on candidates. `other` carries what is no box (class scores, a mask, tensors).
    """

    boxes: F32 = field(default_factory=_no_boxes)
    scores: F32 = field(default_factory=lambda: np.empty(0, np.float32))
    class_ids: I32 = field(default_factory=lambda: np.empty(0, np.int32))
    keypoints: F32 | None = None
    rejected: int = 0
    other: Any = None


@dataclass(slots=True)
class Parsed:
    """What a frame gave, in source pixels; owned by the caller. One group is set, as the task says.

    detect: boxes float32 [n, 4] = x, y, w, h (top-left corner), clipped to what the model saw; scores float32
    [n], descending; class_ids int32 [n]; keypoints float32 [n, k, 2] or None; track_ids int32 [n] or None.
    classify: classes = (class_ids int32 [k], scores float32 [k]), best first. segment: mask. raw: tensors.
    """

    boxes: F32 | None = None
    scores: F32 | None = None
    class_ids: I32 | None = None
    keypoints: F32 | None = None
    track_ids: I32 | None = None
    classes: tuple[I32, F32] | None = None
    mask: Mask | None = None
    tensors: dict[str, Tensor] | None = None
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """How a device may read a detector's raw output for its parser: what kernels/decode_yolo.cu is told.

    layout: "rows" cx, cy, w, h, objectness, classes; "columns" across, without objectness, keypoints behind; "cells"
    rows relative to the cells of `strides`; "corners" x1, y1, x2, y2, score, class, times `scale`.
    `tensor` "": the only output. `size` is the model's input (w, h).
    """

    layout: Literal["rows", "columns", "cells", "corners"]
    tensor: str
    score_threshold: float
    score_limit: float
    size: tuple[int, int]
    strides: tuple[int, ...] = ()
    keypoints: int = 0
    keypoint_values: int = 0
    scale: tuple[float, float] = (1.0, 1.0)


class Parser(Protocol):
    """Thread: its runner's. `labels[class_id]` names a class; ids beyond the list are named by number."""

    @property
    def labels(self) -> tuple[str, ...]: ...
    def check(self, outputs: Sequence[TensorSpec]) -> None:
        """Once, at load, with the engine's outputs (batch dimension included). Raises ModelError."""
        ...

    def decode(self, outputs: Outputs) -> Candidates:
        """Outputs of one frame: name -> array with the batch dimension removed."""
        ...

    def finish(self, c: Candidates, g: Geometry) -> Parsed: ...


class HeadParser(Parser, Protocol):
    """One whose `decode` is, up to a device's rounding, `narrow` of what a device finds by `head`."""

    def head(self) -> Head | None: ...
    def narrow(self, c: Candidates) -> Candidates: ...


def head_of(parser: Parser) -> Head | None:
    """What a device may be told to do for this parser; None: nothing, it reads the outputs itself.

    A class that overrides `decode` and not `head` reads them its own way, whatever it inherits.
    """
    for kind in type(parser).__mro__:
        if "decode" in vars(kind):
            head = cast(HeadParser, parser).head if "head" in vars(kind) else None
            return None if head is None else head()
    return None
