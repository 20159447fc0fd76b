"""COCO's main figure, mAP50-95, exactly as pycocotools computes it (area "all", maxDets 100, no crowds).

Labels are read in YOLO's format: one text file a picture, a line an object, `class cx cy w h` relative to
the picture's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100  # a picture and class, as pycocotools counts them


@dataclass(frozen=True)
class Labelled:
    """Boxes of one picture: float [n, 4] = x, y, w, h in pixels, and class_ids int [n].

    `scores` float [n] is empty for the truth.
    """

    boxes: F64
    class_ids: I64
    scores: F64


@dataclass(frozen=True)
class Picture:
    """A photograph, uint8 [h, w, 3] in BGR, and what is in it."""

    name: str
    pixels: npt.NDArray[np.uint8]
    truth: Labelled


def read_labels(file: Path, width: int, height: int) -> Labelled:
    """One label file; a picture without objects has an empty file or none."""
    text = file.read_text() if file.is_file() else ""
    rows = np.array([line.split() for line in text.splitlines() if line.strip()], np.float64).reshape(-1, 5)
    centre, size = rows[:, 1:3] * (width, height), rows[:, 3:5] * (width, height)
    boxes = np.concatenate([centre - size / 2, size], axis=1)
    return Labelled(boxes, rows[:, 0].astype(np.int64), np.empty(0))


def read_pictures(folder: Path) -> list[Picture]:
    """All of `folder`/images with their `folder`/labels, by name."""
    pictures = []
    for file in sorted((folder / "images").iterdir()):
        pixels = cv2.imread(str(file))
        assert pixels is not None, f"{file} cannot be read"
        height, width = pixels.shape[:2]
        truth = read_labels(folder / "labels" / f"{file.stem}.txt", width, height)
        pictures.append(Picture(file.stem, pixels, truth))
    return pictures


def overlaps(a: F64, b: F64) -> F64:
    """Intersection over union of boxes [n, 4] and [m, 4] (x, y, w, h): [n, m]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    return np.asarray(both / (a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None] - both))


def match(iou: F64, threshold: float) -> npt.NDArray[np.bool_]:
    """Which detections (rows, best first) take a truth (column) of their own at this threshold.

    Each takes the free truth it overlaps most; of equal ones the last, as pycocotools does.
    """
    hit = np.zeros(len(iou), np.bool_)
    taken = np.zeros(iou.shape[1], np.bool_)
    for d, row in enumerate(iou):
        best, chosen = min(threshold, 1 - 1e-10), -1
        for t, value in enumerate(row):
            if not taken[t] and value >= best:
                best, chosen = value, t
        if chosen >= 0:
            hit[d], taken[chosen] = True, True
    return hit


def average_precision(hit: npt.NDArray[np.bool_], truths: int) -> float:
    """Area under the interpolated precision at 101 recalls; `hit` is ordered by falling score."""
    true, false = np.cumsum(hit), np.cumsum(~hit)
    recall = true / truths
    precision = true / (true + false + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]  # the best at this recall or any above
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(precision, 0.0)[np.minimum(at, len(precision))].mean())


def mean_average_precision(truths: Sequence[Labelled], found: Sequence[Labelled]) -> float:
    """mAP50-95 over the classes that occur in `truths`; `found[i]` belongs to `truths[i]`."""
    assert len(truths) == len(found), f"{len(truths)} pictures, {len(found)} results"
    values: list[float] = []
    for class_id in sorted({int(c) for t in truths for c in t.class_ids}):
        total, scores = 0, []
        hits: list[list[npt.NDArray[np.bool_]]] = [[] for _ in THRESHOLDS]
        for t, f in zip(truths, found, strict=True):
            wanted = t.boxes[t.class_ids == class_id]
            total += len(wanted)
            mine = np.flatnonzero(f.class_ids == class_id)
            mine = mine[np.argsort(-f.scores[mine], kind="stable")][:MAX_DETECTIONS]
            scores.append(f.scores[mine])
            iou = overlaps(f.boxes[mine], wanted)
            for at, threshold in zip(hits, THRESHOLDS, strict=True):
                at.append(match(iou, float(threshold)))
        order = np.argsort(-np.concatenate(scores), kind="stable")
        values.extend(average_precision(np.concatenate(at)[order], total) for at in hits)
    return float(np.mean(values)) if values else float("nan")
