"""From what a parser found to what is published: labels, filters, numbers of a sensible length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edged.config.schema import PipelineConfig
from edged.frames import F32, Frame
from edged.framesets import TAG, FrameSet, SyncGroup
from edged.freshness import Verdict
from edged.messages import Classification, Detection, Identity, ModelId, Result
from edged.parsers.base import Parsed
from edged.tracking.tracker import Tracker


class ResultMaker:
    """Makes the results of one pipeline. Used under the pipeline's lock; what it makes is nobody else's.

    `sync`: the group whose frame sets the pipeline's frames are in.
    """

    def __init__(
        self,
        name: str,
        config: PipelineConfig,
        identity: Identity,
        model: ModelId,
        labels: Sequence[str],
        sync: SyncGroup | None,
    ) -> None:
        self._name, self._config, self._identity, self._model = name, config, identity, model
        self._labels = tuple(labels)
        self._keep = _class_ids(config.classes, self._labels)
        self._sync = sync

    def track(self, tracker: Tracker, p: Parsed, frame: Frame) -> None:
        """Fill in `track_ids`. Classes that are not kept take no tracks; scores are the tracker's to judge."""
        if p.boxes is None or p.scores is None or p.class_ids is None:
            return
        scores = p.scores
        if self._keep is not None:
            scores = np.where(np.isin(p.class_ids, self._keep), scores, np.float32(-1))
        p.track_ids = tracker.update(p.boxes, scores, p.class_ids, frame.captured_mono_ns)

    def result(self, frame: Frame, seq: int, dropped: int, parsed: Parsed, verdict: Verdict) -> Result:
        """`dropped`: frames that gave way since the result before."""
        dewarp = self._config.dewarp
        frame_set: FrameSet | None = frame.tags.get(TAG) if self._sync is not None else None
        return Result(
            device=self._identity.device,
            pipeline=self._name,
            source=self._config.source,
            session_id=self._identity.session_id,
            seq=seq,
            frame_seq=frame.seq,
            sync_group=None if self._sync is None else self._sync.name,
            frame_set=None if frame_set is None else frame_set.id,
            captured_at=frame.captured_at_ns,
            captured_mono_ns=frame.captured_mono_ns,
            timestamp_source=frame.timestamp_source,
            deadline_ms=self._config.deadline_ms,
            valid=verdict.valid,
            invalid_reason=verdict.reason,
            dropped=dropped,
            rejected=parsed.rejected,
            model=self._model,
            frame=(frame.spec.width, frame.spec.height) if dewarp is None else dewarp.size,
            roi=self._config.roi,
            dewarped=dewarp is not None,
            detections=None if parsed.boxes is None else self._detections(parsed),
            classes=None if parsed.classes is None else self._classes(parsed),
            mask=parsed.mask,
            tensors=parsed.tensors,
        )

    def _label(self, class_id: int) -> str:
        return self._labels[class_id] if 0 <= class_id < len(self._labels) else str(class_id)

    def _detections(self, p: Parsed) -> list[Detection]:
        assert p.boxes is not None
        assert p.scores is not None
        assert p.class_ids is not None
        keep = np.ones(len(p.boxes), bool)
        if self._keep is not None:
            keep &= np.isin(p.class_ids, self._keep)
        if self._config.min_score is not None:
            keep &= p.scores >= self._config.min_score
        if self._config.min_size is not None:
            keep &= (p.boxes[:, 2:] >= self._config.min_size).all(axis=1)
        rows = np.flatnonzero(keep)
        boxes, scores, ids = (
            _numbers(p.boxes[rows], 2),
            _numbers(p.scores[rows], 4),
            p.class_ids[rows].tolist(),
        )
        points = None if p.keypoints is None else _numbers(p.keypoints[rows], 2)
        tracks = None if p.track_ids is None else p.track_ids[rows].tolist()
        return [
            Detection(
                self._label(ids[i]),
                ids[i],
                scores[i],
                tuple(boxes[i]),
                None if tracks is None or tracks[i] < 0 else tracks[i],
                None if points is None else [(x, y) for x, y in points[i]],
            )
            for i in range(len(rows))
        ]

    def _classes(self, p: Parsed) -> list[Classification]:
        assert p.classes is not None
        least = self._config.min_score or 0.0
        return [
            Classification(self._label(i), i, s)
            for i, s in zip(p.classes[0].tolist(), _numbers(p.classes[1], 4), strict=True)
            if s >= least and (self._keep is None or i in self._keep)
        ]


def _numbers(a: F32, decimals: int) -> list[Any]:
    """Python numbers without digits that no detector gives: they would double a JSON message."""
    numbers: list[Any] = np.round(a.astype(np.float64), decimals).tolist()
    return numbers


def _class_ids(names: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """Class ids to keep; None: all. Names were checked against the labels when the pipeline was built."""
    return [labels.index(n) for n in names] if names else None
