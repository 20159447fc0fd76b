"""How well ids follow people: identity switches (CLEAR MOT) and IDF1, as the literature defines them.

Bernardin and Stiefelhagen 2008, "Evaluating multiple object tracking performance"; Ristani et al. 2016,
"Performance measures and a data set for multi-target, multi-camera tracking". The truth is
vtest_people.json: everyone in frames 80 to 179 of vtest.avi, x, y, w, h in whole pixels, also while hidden
by others. Boxes are YOLOX-nano's, linked and corrected by eye on enlarged frames, and interpolated where people cross.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edged.tracking.assignment import assign

FIRST, FRAMES = 80, 100
SAME = 0.5  # least overlap of a tracked box with the true one
Boxes = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Switch:
    """A person whose id changed."""

    frame: int
    person: str
    was: int
    now: int


@dataclass(frozen=True)
class Score:
    """`found`: share of true boxes that a tracked one covers."""

    switches: list[Switch]
    idf1: float
    found: float


def people() -> dict[int, dict[str, list[int]]]:
    """Frame -> name -> box."""
    file = Path(__file__).with_name("vtest_people.json")
    out: dict[int, dict[str, list[int]]] = {FIRST + i: {} for i in range(FRAMES)}
    for name, track in json.loads(file.read_text()).items():
        for i, box in enumerate(track["boxes"]):
            out[track["from"] + i][name] = box
    return out


def overlap(a: Boxes, b: Boxes) -> Boxes:
    """Intersection over union of [n, 4] with [m, 4], both x, y, w, h."""
    out = np.zeros((len(a), len(b)))
    for i, (x, y, w, h) in enumerate(a):
        for j, (u, v, p, q) in enumerate(b):
            both = max(0, min(x + w, u + p) - max(x, u)) * max(0, min(y + h, v + q) - max(y, v))
            out[i, j] = both / (w * h + p * q - both)
    return out


def score(tracked: dict[int, tuple[Boxes, npt.NDArray[np.int32]]]) -> Score:
    """`tracked`: frame -> boxes and their ids (only those that have one), for every frame of the truth."""
    last: dict[str, int] = {}
    switches: list[Switch] = []
    together: Counter[tuple[str, int]] = Counter()
    true_boxes = tracked_boxes = found = 0
    for frame, truth in people().items():
        boxes, ids = tracked[frame]
        names = list(truth)
        true_boxes, tracked_boxes = true_boxes + len(names), tracked_boxes + len(ids)
        near = overlap(np.array(list(truth.values()), np.float64), boxes)
        near[near < SAME] = 0
        together.update((names[i], int(ids[j])) for i, j in zip(*np.nonzero(near), strict=True))
        for i, name in enumerate(names):  # whoever keeps their id is matched first
            kept = np.flatnonzero((ids == last.get(name, -1)) & (near[i] > 0))
            if len(kept):
                near[i, :], near[:, kept[0]] = 0, 0
                near[i, kept[0]] = 1
        for i, j in zip(*assign(near), strict=True):
            name, now = names[i], int(ids[j])
            found += 1
            if last.get(name, now) != now:
                switches.append(Switch(frame, name, last[name], now))
            last[name] = now
    names, numbers = sorted({n for n, _ in together}), sorted({k for _, k in together})
    frames_together = np.array([[together[n, k] for k in numbers] for n in names], np.float64)
    same = frames_together[assign(frames_together)].sum()
    return Score(switches, 2 * same / (true_boxes + tracked_boxes), found / true_boxes)
