"""A pipeline: one source through one model to its sinks. Its mailbox, order, filters and counts live here.

Several runners (instances of a model) may finish a pipeline's frames out of order; the pipeline hands
results on in the order in which frames were taken. It starts no thread: `complete` runs in the runner's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edged.config.schema import PipelineConfig
from edged.frames import Frame
from edged.freshness import GOOD, Verdict, judge
from edged.mailbox import Bell, Mailbox
from edged.messages import Classification, Detection, Identity, Message, ModelId, Result, topic
from edged.metrics import Histogram, PipelineCounts
from edged.parsers.base import Parsed
from edged.tracking.tracker import Tracker

Offer = Callable[[Message], None]
STAGES = ("wait", "preprocess", "engine", "infer", "parse", "age")


@dataclass(slots=True, eq=False)
class Job:
    """One frame on its way through a runner. `order` counts the frames that its pipeline gave out.

    Times are CLOCK_MONOTONIC in ns; `dropped` is the mailbox's count when the frame was taken.
    """

    pipeline: Pipeline
    frame: Frame
    order: int
    dropped: int
    taken_ns: int
    launched_ns: int = 0
    done_ns: int = 0
    preprocess_ms: float = 0.0
    engine_ms: float = 0.0


class Pipeline:
    """See the module. `limit`: give out at most this many frames (edged run --frames)."""

    def __init__(
        self,
        name: str,
        config: PipelineConfig,
        identity: Identity,
        model: ModelId,
        labels: Sequence[str],
        offers: Sequence[Offer],
        bell: Bell,
        *,
        live: bool = True,
        limit: int | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.mailbox = Mailbox(bell, live=live)
        self.state = "starting"
        self.on_result: Callable[[Job, Result], None] | None = None  # for measurements
        self.on_end: Callable[[], None] = lambda: None  # the limit was reached
        self._identity = identity
        self._model = model
        self._labels = tuple(labels)
        self._keep = _class_ids(config.classes, self._labels)
        self._offers = tuple(offers)
        self._topic = topic(identity.device, "result", name)
        self._limit = limit
        self._given = 0
        self._lock = threading.Lock()  # guards all below
        self._next = 0
        self._waiting: dict[int, tuple[Job, Parsed | None]] = {}
        self._tracker = None if config.track is None else Tracker(config.track)
        self._told_dropped = 0
        self._last_seq: int | None = None
        self._started_ns = 0
        self._last_ns = 0
        self.last_result: tuple[int, Verdict] | None = None  # CLOCK_MONOTONIC ns, and what was thought of it
        self.inferred = 0
        self.failed = 0
        self.lost = 0
        self.rejected = 0
        self.detections = 0
        self.times = {stage: Histogram() for stage in STAGES}

    # In the runner's thread, the bell's condition held.

    def take_locked(self) -> Job | None:
        """The next job, or None. The frame's lease goes with it."""
        if self._limit is not None and self._given >= self._limit:
            return None
        frame = self.mailbox.take_locked()
        if frame is None:
            return None
        job = Job(self, frame, self._given, self.mailbox.dropped, time.monotonic_ns())
        self._given += 1
        return job

    @property
    def limit_reached(self) -> bool:
        return self._limit is not None and self._given >= self._limit

    # In the runner's thread.

    def complete(self, job: Job, parsed: Parsed | None) -> None:
        """Take a finished job (None: its inference failed) and hand on what is now in order."""
        with self._lock:
            self._waiting[job.order] = (job, parsed)
            while self._next in self._waiting:
                self._hand_on(*self._waiting.pop(self._next))
                self._next += 1
            over = self._limit is not None and self._next == self._limit
        if over:
            self.mailbox.close()
            self.mailbox.drain()
            self.on_end()

    def _hand_on(self, job: Job, parsed: Parsed | None) -> None:
        frame = job.frame
        if self._last_seq is not None:
            self.lost += max(0, frame.seq - self._last_seq - 1 - (job.dropped - self._told_dropped))
        self._last_seq = frame.seq
        if parsed is None:
            self.failed += 1
            return
        look = job.frame.tags.get("look")
        verdict = GOOD if look is None else judge(look, self.config.health)
        self.last_result = (time.monotonic_ns(), verdict)
        if self._tracker is not None and verdict.shows:
            self._track(self._tracker, parsed, job.frame)
        result = self._result(job, parsed, verdict)
        self._told_dropped = job.dropped
        message = Message(self._topic, "result", (result.session_id, self.name, result.seq), result)
        for offer in self._offers:
            offer(message)
        now = time.monotonic_ns()
        self.inferred += 1
        self.rejected += parsed.rejected
        self.detections += len(result.detections or ())
        self._started_ns = self._started_ns or job.taken_ns
        self._last_ns = now
        t = self.times
        t["wait"].record((job.taken_ns - frame.captured_mono_ns) / 1e9)
        t["preprocess"].record(job.preprocess_ms / 1e3)
        t["engine"].record(job.engine_ms / 1e3)
        t["infer"].record((job.done_ns - job.launched_ns) / 1e9)
        t["parse"].record((now - job.done_ns) / 1e9)
        t["age"].record((now - frame.captured_mono_ns) / 1e9)
        if self.on_result is not None:
            self.on_result(job, result)

    def _track(self, tracker: Tracker, p: Parsed, frame: Frame) -> None:
        """Fill in `track_ids`. Classes that are not kept take no tracks; scores are the tracker's to judge."""
        if p.boxes is None or p.scores is None or p.class_ids is None:
            return
        scores = p.scores
        if self._keep is not None:
            scores = np.where(np.isin(p.class_ids, self._keep), scores, np.float32(-1))
        p.track_ids = tracker.update(p.boxes, scores, p.class_ids, frame.captured_mono_ns)

    def _result(self, job: Job, parsed: Parsed, verdict: Verdict) -> Result:
        frame = job.frame
        return Result(
            device=self._identity.device,
            pipeline=self.name,
            source=self.config.source,
            session_id=self._identity.session_id,
            seq=self.inferred,
            frame_seq=frame.seq,
            captured_at=frame.captured_at_ns,
            captured_mono_ns=frame.captured_mono_ns,
            timestamp_source=frame.timestamp_source,
            deadline_ms=self.config.deadline_ms,
            valid=verdict.valid,
            invalid_reason=verdict.reason,
            dropped=job.dropped - self._told_dropped,
            rejected=parsed.rejected,
            model=self._model,
            frame=(frame.spec.width, frame.spec.height),
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
        if self.config.min_score is not None:
            keep &= p.scores >= self.config.min_score
        if self.config.min_size is not None:
            keep &= (p.boxes[:, 2:] >= self.config.min_size).all(axis=1)
        rows = np.flatnonzero(keep)
        boxes, scores, ids = p.boxes[rows].tolist(), p.scores[rows].tolist(), p.class_ids[rows].tolist()
        points = None if p.keypoints is None else p.keypoints[rows].tolist()
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
        least = self.config.min_score or 0.0
        return [
            Classification(self._label(i), i, s)
            for i, s in zip(p.classes[0].tolist(), p.classes[1].tolist(), strict=True)
            if s >= least and (self._keep is None or i in self._keep)
        ]

    # In any thread.

    def reset(self) -> None:
        """Its source was opened again: objects are new, and so is the count of frames."""
        with self._lock:
            self._last_seq = None
            if self._tracker is not None:
                self._tracker.reset()

    def counts(self) -> PipelineCounts:
        with self._lock:
            span = (self._last_ns - self._started_ns) / 1e9
            return PipelineCounts(
                source=self.config.source,
                model=self.config.model,
                state=self.state,
                offered=self.mailbox.offered,
                dropped=self.mailbox.dropped,
                inferred=self.inferred,
                failed=self.failed,
                lost=self.lost,
                rejected=self.rejected,
                detections=self.detections,
                fps=round(self.inferred / span, 2) if span > 0 else 0.0,
                stages={k: h.quantiles() for k, h in self.times.items()},
            )


def _class_ids(names: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """Class ids to keep; None: all. Names were checked against the labels when the pipeline was built."""
    return [labels.index(n) for n in names] if names else None
