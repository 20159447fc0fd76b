"""What all parsers of boxes share: which rows to decode, which to refuse, and the way to source pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edged.config.schema import Positive, Table
from edged.frames import F32, Geometry
from edged.models.model import Model, Task
from edged.parsers.base import I32, Candidates, Head, Parsed
from edged.parsers.nms import Index, by_score, suppress

# A score is a probability; quantized models overshoot 1 by little. More than this is no score.
SCORE_LIMIT = 1.05
# A box or keypoint farther out than this many times the model's input is no detection.
FAR = 16


class BoxOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of [output] that all parsers of boxes have. `tensor` is the output's name ("": the only one).

    `max_candidates` bounds the rows that are suppressed: the best by score; the rest counts as rejected.
    """

    tensor: str = ""
    max_candidates: Positive = 1000


def strongest(scores: npt.NDArray[Any], threshold: float, limit: int) -> tuple[Index, int]:
    """Positions of scores [n] at or above `threshold`, in order, at most the best `limit`; and how many
    were refused: those that are no score (NaN, inf, above 1) and the surplus.
    """
    over = np.flatnonzero(~(scores < threshold))  # NaN stays in, to be counted
    values = scores[over]
    good = values <= SCORE_LIMIT
    rejected = len(over) - int(np.count_nonzero(good))
    if rejected:
        over, values = over[good], values[good]
    surplus = len(over) - limit
    if surplus > 0:
        over = over[np.sort(np.argpartition(values, surplus)[surplus:])]
        rejected += surplus
    return over, rejected


def corners(cx: F32, cy: F32, w: F32, h: F32) -> F32:
    """float32 [n, 4] = x1, y1, x2, y2 of boxes given by centre and size."""
    half_w, half_h = w * 0.5, h * 0.5
    return np.stack((cx - half_w, cy - half_h, cx + half_w, cy + half_h), axis=1)


class BoxParser:
    """Base of the parsers of boxes: checks of rows in `decode`, all of `finish`.

    `suppresses` False: the model's own boxes do not repeat (NMS-free).
    """

    task: Task = "detect"
    suppresses = True

    def __init__(self, model: Model, options: BoxOptions) -> None:
        self.model = model
        self.labels = model.output.labels
        self.score_threshold = model.output.score_threshold
        self.tensor = options.tensor
        self.max_candidates = options.max_candidates
        self._far = np.float32(FAR * max(model.input.size))

    def strongest(self, scores: npt.NDArray[Any]) -> tuple[Index, int]:
        """`strongest` with this model's threshold and bound. Call with numpy's warnings off."""
        return strongest(scores, self.score_threshold, self.max_candidates)

    def candidates(
        self,
        boxes: F32,
        scores: F32,
        class_ids: npt.NDArray[Any],
        rejected: int,
        keypoints: F32 | None = None,
    ) -> Candidates:
        """Rows that can be boxes; the others are added to `rejected`. Call with numpy's warnings off."""
        good = np.abs(boxes).max(axis=1, initial=0) <= self._far  # False for NaN
        good &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        if keypoints is not None:
            good &= np.abs(keypoints).max(axis=(1, 2), initial=0) <= self._far
        if not good.all():
            rejected += len(good) - int(np.count_nonzero(good))
            boxes, scores, class_ids = boxes[good], scores[good], class_ids[good]
            keypoints = None if keypoints is None else keypoints[good]
        return Candidates(
            boxes, np.minimum(scores, np.float32(1)), class_ids.astype(np.int32), keypoints, rejected
        )

    def head(self) -> Head | None:
        """How a device may do the first half of `decode`; None: it cannot."""
        return None

    def make_head(self, layout: Any, **more: Any) -> Head:
        return Head(layout, self.tensor, self.score_threshold, SCORE_LIMIT, self.model.input.size, **more)

    def narrow(self, c: Candidates) -> Candidates:
        """The second half of `decode`, from every row that a device found above the threshold, in order.

        A class_id below 0 is none. `decode` of the same outputs gives the same, up to the device's exp().
        """
        with np.errstate(all="ignore"):
            best, rejected = self.strongest(c.scores)
            classed = best[c.class_ids[best] >= 0]
            rejected += c.rejected + len(best) - len(classed)
            points = None if c.keypoints is None else c.keypoints[classed]
            return self.candidates(
                c.boxes[classed], c.scores[classed], c.class_ids[classed], rejected, points
            )

    def finish(self, c: Candidates, g: Geometry) -> Parsed:
        """Suppress, map to source pixels, clip; boxes outside what was shown are dropped. Keypoints are not clipped."""
        spec = self.model.output
        if self.suppresses:
            kept = suppress(c.boxes, c.scores, c.class_ids, spec.iou_threshold, spec.max_detections)
        else:
            kept = by_score(c.scores)[: spec.max_detections]
        boxes = to_frame(c.boxes[kept], g)
        inside = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
        if not inside.all():
            boxes, kept = boxes[inside], kept[inside]
        keypoints = None if c.keypoints is None else g.points_to_source(c.keypoints[kept])
        class_ids: I32 = c.class_ids[kept]
        return Parsed(boxes, c.scores[kept], class_ids, keypoints, rejected=c.rejected)


def to_frame(boxes: F32, g: Geometry) -> F32:
    """Corners [n, 4] in model-input pixels to x, y, w, h in source pixels, clipped to what was shown.

    w or h 0: outside.
    """
    points = g.points_to_source(boxes.reshape(-1, 2, 2))
    x, y, w, h = g.shown
    np.clip(points, np.array([x, y], np.float32), np.array([x + w, y + h], np.float32), out=points)
    points[:, 1] -= points[:, 0]
    return points.reshape(-1, 4)
