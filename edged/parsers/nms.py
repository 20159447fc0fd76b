"""Greedy non-maximum suppression within each class, vectorized over blocks of boxes.

The meaning is that of the plain loop (Felzenszwalb et al., 2010): walk the boxes from the best score down;
keep one unless a kept box of its class overlaps it by more than `iou`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edged.frames import F32
from edged.parsers.base import I32

Index = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

# Rows compared at once: bounds the matrices (128 x candidates) however many candidates come in.
BLOCK = 128


def by_score(scores: F32) -> Index:
    """Positions from the best score down; equal scores keep their order."""
    return np.argsort(-scores, kind="stable")


def suppress(boxes: F32, scores: F32, class_ids: I32, iou: float, limit: int) -> Index:
    """Positions of the boxes kept, best first, at most `limit`.

    boxes float32 [n, 4] = x1, y1, x2, y2, finite; scores float32 [n]; class_ids int32 [n]. Pure; any thread.
    """
    order = by_score(scores)
    corners = np.ascontiguousarray(boxes[order].T)
    ids = class_ids[order]
    waiting = np.arange(len(order))
    kept: list[Index] = []
    room = limit
    while len(waiting) and room > 0:
        block, waiting = waiting[:BLOCK], waiting[BLOCK:]
        block = block[_resolve(_hits(corners, ids, block, block, iou))][:room]
        kept.append(block)
        room -= len(block)
        if len(waiting) and room > 0:
            waiting = waiting[~_hits(corners, ids, block, waiting, iou).any(axis=0)]
    return order[np.concatenate(kept)] if kept else order


def _hits(corners: F32, ids: I32, a: Index, b: Index, iou: float) -> Bools:
    """[len(a), len(b)]: the boxes are of one class and overlap by more than `iou`."""
    ax1, ay1, ax2, ay2 = corners[:, a, None]
    bx1, by1, bx2, by2 = corners[:, b]
    with np.errstate(all="ignore"):
        w = _overlap(ax1, ax2, bx1, bx2)
        w *= _overlap(ay1, ay2, by1, by2)
        union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1)
        union -= w
        union *= np.float32(iou)
        hit: Bools = w > union
    hit &= ids[a, None] == ids[b]
    return hit


def _overlap(a1: Any, a2: Any, b1: Any, b2: Any) -> Any:
    """Lengths shared by the intervals a (a column) and b (a row); never negative."""
    shared = np.minimum(a2, b2)
    shared -= np.maximum(a1, b1)
    return np.maximum(shared, 0, out=shared)


def _resolve(hit: Bools) -> Bools:
    """Which rows of one block, best first, survive each other."""
    live = np.ones(len(hit), np.bool_)
    free = ~hit
    for i in range(len(hit)):
        if live[i]:
            live[i + 1 :] &= free[i, i + 1 :]
    return live
