"""How far two models, or two engines of one, say the same about a picture."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edged.evaluation.boxes import Found, overlaps
from edged.messages import Mask

SAME_IOU = 0.5  # two boxes of one class that overlap so much are one object
Outputs = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Detections that both have: IoU and difference of scores of each; and how many only one of them has."""

    ious: tuple[float, ...]
    score_differences: tuple[float, ...]
    lone: int

    @property
    def agreement(self) -> float:
        """Twice the pairs by all detections of both; 1 where neither has any."""
        total = 2 * len(self.ious) + self.lone
        return 2 * len(self.ious) / total if total else 1.0


def pair_up(a: Found, b: Found) -> Pairs:
    """One by one: of all boxes of one class that overlap by SAME_IOU, the two that overlap most."""
    iou = overlaps(a.boxes, b.boxes)
    iou[a.class_ids[:, None] != b.class_ids[None]] = 0
    ious: list[float] = []
    scores: list[float] = []
    while iou.size and np.max(iou) >= SAME_IOU:
        i, j = np.unravel_index(int(np.argmax(iou)), iou.shape)
        ious.append(float(iou[i, j]))
        scores.append(abs(float(a.scores[i] - b.scores[j])))
        iou[i], iou[:, j] = 0, 0
    return Pairs(tuple(ious), tuple(scores), len(a.scores) + len(b.scores) - 2 * len(ious))


def cosine(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Of two tensors as vectors, -1 to 1; two of zeros are the same. 0 where a value is not finite."""
    x, y = np.asarray(a, np.float64).reshape(-1), np.asarray(b, np.float64).reshape(-1)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return 0.0
    lengths = float(np.linalg.norm(x)), float(np.linalg.norm(y))
    if min(lengths) == 0.0:
        return float(max(lengths) == 0.0)
    return float(np.clip(np.dot(x / lengths[0], y / lengths[1]), -1, 1))


def cosines(a: Outputs, b: Outputs) -> dict[str, float]:
    """By name, of outputs that both have in one shape; where no name is the same, in their order."""
    pairs = [(name, name) for name in a if name in b] or list(zip(a, b, strict=False))
    return {n: cosine(a[n], b[m]) for n, m in pairs if a[n].shape == b[m].shape}


def same_pixels(a: Mask, b: Mask) -> float:
    """The part of the cells with one class in both; 0 where their grids differ."""
    if a.size != b.size:
        return 0.0
    x, y = (np.frombuffer(zlib.decompress(m.data), np.uint8) for m in (a, b))
    return float((x == y).mean()) if x.size else 1.0
