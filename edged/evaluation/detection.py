"""Mean average precision as COCO defines it: 101 recalls, IoU .50 to .95, all areas, 100 detections of a class.

The rules of ties and crowds are those of pycocotools' COCOeval (bbox, area "all"), which a test compares with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edged.evaluation.boxes import F64, Flags, Found, Truth, overlaps

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100


@dataclass(frozen=True, slots=True)
class _Matched:
    """A class in a picture: scores [d], best first; for each IoU threshold, which are right and which do not count.

    truths: objects to be found, crowds left out.
    """

    scores: F64
    right: Flags  # [10, d]
    ignored: Flags  # [10, d]
    truths: int


def _match(iou: F64, crowd: Flags) -> tuple[Flags, Flags]:
    """Which detections (rows of `iou`, best first) take an object (columns), which of these a crowd: [10, d] each.

    Each takes the free object that it overlaps most, of equal ones the last; a crowd only where no object is
    left to it.
    """
    taken_by = np.zeros((len(THRESHOLDS), len(iou)), np.bool_)
    ignored = np.zeros_like(taken_by)
    near = [np.flatnonzero(row >= THRESHOLDS[0]) for row in iou]
    for t, threshold in enumerate(THRESHOLDS):
        free = np.ones(iou.shape[1], np.bool_)
        for d, candidates in enumerate(near):
            best, chosen = min(float(threshold), 1 - 1e-10), -1
            # objects first, crowds after them
            for c in sorted(candidates.tolist(), key=crowd.__getitem__):
                if not free[c] and not crowd[c]:
                    continue
                if chosen >= 0 and not crowd[chosen] and crowd[c]:
                    break
                if iou[d, c] >= best:
                    best, chosen = float(iou[d, c]), c
            if chosen >= 0:
                free[chosen] = False
                taken_by[t, d], ignored[t, d] = True, crowd[chosen]
    return taken_by, ignored


def _matched(truth: Truth, found: Found, class_id: int) -> _Matched:
    wanted = truth.class_ids == class_id
    mine = np.flatnonzero(found.class_ids == class_id)
    mine = mine[np.argsort(-found.scores[mine], kind="stable")][:MAX_DETECTIONS]
    crowd = truth.crowd[wanted]
    iou = overlaps(found.boxes[mine], truth.boxes[wanted], crowd)
    taken, ignored = _match(iou, crowd)
    return _Matched(found.scores[mine], taken & ~ignored, ignored, int((~crowd).sum()))


def _average_precisions(pictures: Sequence[_Matched]) -> F64 | None:
    """Of one class at each IoU threshold: [10]. None where there is nothing to be found."""
    total = sum(p.truths for p in pictures)
    if not total:
        return None
    order = np.argsort(-np.concatenate([p.scores for p in pictures]), kind="stable")
    right = np.concatenate([p.right for p in pictures], axis=1)[:, order]
    ignored = np.concatenate([p.ignored for p in pictures], axis=1)[:, order]
    true = np.cumsum(right, axis=1)
    false = np.cumsum(~right & ~ignored, axis=1)
    precision = true / (true + false + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # the best at this recall or above
    values = np.empty(len(THRESHOLDS))
    for t, (recall, best) in enumerate(zip(true / total, precision, strict=True)):
        at = np.searchsorted(recall, RECALLS, side="left")
        values[t] = np.append(best, 0.0)[np.minimum(at, len(best))].mean()
    return values


@dataclass(frozen=True, slots=True)
class Precision:
    """mAP over IoU .50 to .95, at .50, and by class: class id -> (AP .50 to .95, AP .50, objects).

    NaN where nothing was to be found.
    """

    map: float
    map50: float
    classes: Mapping[int, tuple[float, float, int]]


class DetectionScore:
    """Collects pictures, then scores them. `threshold`: what a model publishes; for `precision` and `recall`."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._classes: dict[int, list[_Matched]] = {}
        self._right = self._published = 0

    def add(self, truth: Truth, found: Found) -> float | None:
        """One more picture. Returns its own mAP; None where it shows no object."""
        values: list[float] = []
        for class_id in sorted({*truth.class_ids.tolist(), *found.class_ids.tolist()}):
            matched = _matched(truth, found, class_id)
            self._classes.setdefault(class_id, []).append(matched)
            shown = matched.scores >= self.threshold
            self._right += int((matched.right[0] & shown).sum())
            self._published += int((shown & ~matched.ignored[0]).sum())
            alone = _average_precisions([matched])
            if alone is not None:
                values.extend(alone)
        return float(np.mean(values)) if values else None

    def precision(self) -> Precision:
        """Of all pictures so far."""
        classes: dict[int, tuple[float, float, int]] = {}
        for class_id, pictures in sorted(self._classes.items()):
            values = _average_precisions(pictures)
            if values is not None:
                classes[class_id] = float(values.mean()), float(values[0]), sum(p.truths for p in pictures)
        if not classes:
            return Precision(float("nan"), float("nan"), {})
        both = np.array([c[:2] for c in classes.values()]).mean(axis=0)
        return Precision(float(both[0]), float(both[1]), classes)

    @property
    def objects(self) -> int:
        return sum(p.truths for pictures in self._classes.values() for p in pictures)

    def published(self) -> tuple[float, float]:
        """Precision and recall of what has at least `threshold`, at IoU .50; 1 where there is nothing to divide by."""
        objects = self.objects
        return (
            self._right / self._published if self._published else 1.0,
            self._right / objects if objects else 1.0,
        )
