"""Models and outputs to parse, made by hand; plain loops that say what parsers mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edged import registry
from edged.models.model import Model, OutputSpec
from edged.tensors import ImageInput, TensorSpec

Array = npt.NDArray[Any]


def make_model(parser: str, size: tuple[int, int] = (64, 64), options: Any = None, **output: Any) -> Model:
    """A model of `size` (w, h); `options` as a dict of the parser's own keys."""
    if isinstance(options, dict):
        options = registry.load("parsers", parser).Options(**options)
    spec = OutputSpec(parser, options=options, **output)
    image = ImageInput("images", size)
    return Model(Path("/m"), parser, "1", "detect", Path("/m/model.onnx"), "0" * 64, image, spec)


def make_parser(parser: str, size: tuple[int, int] = (64, 64), options: Any = None, **output: Any) -> Any:
    return registry.load("parsers", parser)(make_model(parser, size, options, **output))


def specs(outputs: dict[str, Array]) -> list[TensorSpec]:
    """What an engine would say of these outputs, batch dimension included."""
    return [TensorSpec(n, (1, *a.shape), a.dtype) for n, a in outputs.items()]


def overlap(a: Array, b: Array) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return float(w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h))


def plain_suppress(boxes: Array, scores: Array, class_ids: Array, iou: float) -> list[int]:
    """Positions that greedy suppression within each class keeps, best first."""
    boxes = boxes.astype(np.float64)
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -float(scores[i])):
        if all(class_ids[k] != class_ids[i] or overlap(boxes[k], boxes[i]) <= iou for k in kept):
            kept.append(i)
    return kept


def plain_yolox(rows: Array, size: tuple[int, int], score: float) -> tuple[Array, Array, Array]:
    """Boxes x1, y1, x2, y2, scores and classes of rows at or above `score`, in order."""
    boxes, scores, class_ids, row = [], [], [], 0
    for stride in (8, 16, 32):
        for y in range(size[1] // stride):
            for x in range(size[0] // stride):
                v = rows[row].astype(np.float64)
                row += 1
                best = int(v[5:].argmax())
                if np.float32(rows[row - 1, 4] * rows[row - 1, 5 + best]) >= np.float32(score):
                    cx, cy, w, h = (
                        (v[0] + x) * stride,
                        (v[1] + y) * stride,
                        np.exp(v[2]) * stride,
                        np.exp(v[3]) * stride,
                    )
                    boxes.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
                    scores.append(v[4] * v[5 + best])
                    class_ids.append(best)
    assert row == len(rows)
    return np.array(boxes).reshape(-1, 4), np.array(scores), np.array(class_ids, int)
