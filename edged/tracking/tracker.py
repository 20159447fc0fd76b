"""Stable ids for a pipeline's detections: ByteTrack's association on real time.

Zhang et al. 2022, "ByteTrack: multi-object tracking by associating every detection box", arXiv:2110.06864:
boxes of high score are matched first, with every track; those of low score then serve the tracks that are
left, as an object half hidden still gives a weak box; only boxes of high score begin tracks. What differs: time
is measured and not counted in frames, matching is within a class and gives the most overlap beyond the least
allowed, heights count twice (see `overlaps`), and there is a bound on tracks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edged.config.schema import TrackOptions
from edged.tracking.assignment import Index, assign
from edged.tracking.motion import F64, Motion

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

LARGEST = 1e6  # pixels: what lies further out is no box
LAST_ID = 2**31 - 1
TINY = 1e-9


class Tracker:
    """One pipeline's tracks; used by one thread at a time. Ids count from 1 and are never used twice.

    `refused` counts boxes that could begin no track because `max_tracks` were there.
    """

    def __init__(self, options: TrackOptions) -> None:
        self.options = options
        self.refused = 0
        self._last_id = 0
        self.reset()

    def reset(self) -> None:
        """Forget all tracks (the source was opened again); ids go on."""
        self._motion = Motion.none()
        self._ids = np.empty(0, np.int32)  # 0: not confirmed
        self._classes = np.empty(0, np.int32)
        self._hits = np.empty(0, np.int64)
        self._seen_ns = np.empty(0, np.int64)
        self._now_ns: int | None = None
        self._before_ns: int | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def update(self, boxes: F32, scores: F32, class_ids: I32, captured_mono_ns: int) -> I32:
        """Track ids int32 [n] of one frame's detections; -1: of no confirmed track.

        boxes float32 [n, 4] = x, y, w, h; scores float32 [n]; class_ids int32 [n]. Boxes that are not
        finite, empty or absurd get -1. A time before the last one counts as no time passed.
        """
        out = np.full(len(boxes), -1, np.int32)
        with np.errstate(invalid="ignore"):
            box, score = np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(scores, np.float64)
            usable = (np.abs(box) < LARGEST).all(axis=1) & (box[:, 2:] > 0).all(axis=1)
            high = np.flatnonzero(usable & (score >= self.options.high_score))
            low = np.flatnonzero(
                usable & (score >= self.options.low_score) & (score < self.options.high_score)
            )
        box = np.where(usable[:, None], box, 0.0)  # inf - inf further down would warn
        now = self._advance(captured_mono_ns)
        place = np.concatenate([box[:, :2] + box[:, 2:] / 2, box[:, 2:]], axis=1)
        track_of = np.full(len(box), -1, np.intp)
        seen = Seen(box, class_ids, track_of)

        confirmed = self._ids > 0
        rest = self._match(np.flatnonzero(confirmed), high, seen, self.options.min_iou)
        followed = rest[self._seen_ns[rest] == self._before_ns]
        self._match(followed, low, seen, self.options.low_min_iou)
        tentative = np.flatnonzero(~confirmed)
        gone = self._match(tentative, high[track_of[high] < 0], seen, self.options.min_iou)

        known = np.flatnonzero(track_of >= 0)
        self._motion.correct(track_of[known], place[known], np.minimum(score[known], 1.0))
        self._hits[track_of[known]] += 1
        self._seen_ns[track_of[known]] = now
        self._begin(high[track_of[high] < 0], place, score, seen, now)
        known = np.flatnonzero(track_of >= 0)
        self._confirm(track_of[known])
        out[known] = np.where(self._ids[track_of[known]] > 0, self._ids[track_of[known]], -1)
        self._forget(gone)
        return out

    def _advance(self, captured_mono_ns: int) -> int:
        """Forget what was not seen for too long and move the rest to this frame's time."""
        before = self._now_ns
        now = captured_mono_ns if before is None else max(captured_mono_ns, before)
        self._before_ns, self._now_ns = before, now
        self._forget(np.flatnonzero(now - self._seen_ns > self.options.lost_s * 1e9))
        if before is not None and len(self):
            lost = self._seen_ns != before
            self._motion.speed[lost, 2:] = 0  # of a box half hidden, width and height say nothing
            self._motion.predict((now - before) / 1e9)
        return now

    def _match(self, tracks: Index, boxes: Index, seen: Seen, least: float) -> Index:
        """Match these tracks with these boxes, into `seen.track_of`; returns the tracks left over."""
        if not len(tracks) or not len(boxes):
            return tracks
        overlap = overlaps(self._motion.corners()[tracks], seen.box[boxes])
        same = self._classes[tracks][:, None] == seen.class_ids[boxes]
        rows, columns = assign(np.where(same, overlap - least, 0.0))
        seen.track_of[boxes[columns]] = tracks[rows]
        return np.delete(tracks, rows)

    def _begin(self, boxes: Index, place: F64, score: F64, seen: Seen, now: int) -> None:
        room = self.options.max_tracks - len(self)
        if len(boxes) > room:
            self.refused += len(boxes) - room
            boxes = boxes[np.argsort(-score[boxes], kind="stable")][:room]
        if not len(boxes):
            return
        n = len(self)
        seen.track_of[boxes] = np.arange(n, n + len(boxes))
        self._motion.extend(place[boxes])
        self._ids = np.concatenate([self._ids, np.zeros(len(boxes), np.int32)])
        self._classes = np.concatenate([self._classes, seen.class_ids[boxes]])
        self._hits = np.concatenate([self._hits, np.ones(len(boxes), np.int64)])
        self._seen_ns = np.concatenate([self._seen_ns, np.full(len(boxes), now, np.int64)])

    def _confirm(self, tracks: Index) -> None:
        for row in tracks[(self._ids[tracks] == 0) & (self._hits[tracks] >= self.options.confirm)].tolist():
            self._last_id = self._last_id % LAST_ID + 1
            self._ids[row] = self._last_id

    def _forget(self, tracks: Index) -> None:
        if not len(tracks):
            return
        keep = np.ones(len(self), bool)
        keep[tracks] = False
        self._motion.keep(keep)
        self._ids, self._classes = self._ids[keep], self._classes[keep]
        self._hits, self._seen_ns = self._hits[keep], self._seen_ns[keep]


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame's boxes while they are matched: [n, 4] = x, y, w, h; `track_of` [n] the track's row, -1: none yet."""

    box: F64
    class_ids: I32
    track_of: Index


def overlaps(corners: F64, boxes: F64) -> F64:
    """Overlap of [n, 4] = x1, y1, x2, y2 with [m, 4] = x, y, w, h, from 0 to 1: [n, m].

    Intersection over union of the boxes times that of their heights (Yang et al. 2024, "Hybrid-SORT",
    arXiv:2308.00783): when two people cross, a detector draws one box around both, which is too tall for either.
    """
    x1, y1, x2, y2 = corners.T[:, :, None]
    left, top = boxes[:, 0], boxes[:, 1]
    right, bottom = left + boxes[:, 2], top + boxes[:, 3]
    w = np.maximum(np.minimum(x2, right) - np.maximum(x1, left), 0)
    h = np.maximum(np.minimum(y2, bottom) - np.maximum(y1, top), 0)
    both = w * h
    either = (x2 - x1) * (y2 - y1) + boxes[:, 2] * boxes[:, 3] - both
    tall = np.maximum(y2, bottom) - np.minimum(y1, top)
    return np.asarray(both / np.maximum(either, TINY) * (h / np.maximum(tall, TINY)), np.float64)
