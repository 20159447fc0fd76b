"""Objects in pictures: what a dataset says is there, and what a model found. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Truth:
    """Objects that a picture shows: boxes float64 [n, 4] = x, y, w, h (top-left corner), class_ids int64 [n].

    In pixels of the picture, or with `relative` in parts of its width and height. crowd bool [n]: a region of many
    (COCO's iscrowd), in which any number of detections is neither right nor wrong.
    """

    boxes: F64
    class_ids: I64
    crowd: Flags
    relative: bool = False

    @staticmethod
    def of(rows: list[tuple[int, list[float], bool]], *, relative: bool = False) -> Truth:
        """From rows of class, box and crowd."""
        boxes = np.array([r[1] for r in rows], np.float64).reshape(-1, 4)
        class_ids = np.array([r[0] for r in rows], np.int64)
        return Truth(boxes, class_ids, np.array([r[2] for r in rows], np.bool_), relative)

    def in_pixels(self, width: int, height: int) -> Truth:
        """The same in pixels of a picture of this size."""
        if not self.relative:
            return self
        return Truth(self.boxes * (width, height, width, height), self.class_ids, self.crowd)


@dataclass(frozen=True, slots=True)
class Found:
    """What a model found: boxes float64 [n, 4] in pixels as of Truth, class_ids int64 [n], scores float64 [n]."""

    boxes: F64 = field(default_factory=lambda: np.empty((0, 4)))
    class_ids: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    scores: F64 = field(default_factory=lambda: np.empty(0))

    def above(self, score: float) -> Found:
        """Those with at least this score."""
        good = self.scores >= score
        return Found(self.boxes[good], self.class_ids[good], self.scores[good])


def overlaps(found: F64, truth: F64, crowd: Flags | None = None) -> F64:
    """Intersection over union of boxes [n, 4] and [m, 4] (x, y, w, h): [n, m].

    Of a crowd's column: the part of the found box that lies in it, as COCO defines it.
    """
    low = np.maximum(found[:, None, :2], truth[None, :, :2])
    high = np.minimum(found[:, None, :2] + found[:, None, 2:], truth[None, :, :2] + truth[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    area = found[:, 2:].prod(axis=1)[:, None]
    whole = area + truth[:, 2:].prod(axis=1)[None] - both
    if crowd is not None:
        whole = np.where(crowd[None], area, whole)
    return np.asarray(np.divide(both, whole, out=np.zeros_like(both), where=whole > 0))
