"""A pipeline: one source through one model to its sinks. Its mailbox, order, filters and counts live here.

    source's thread                runners' threads
    begin, offer, … close ─► mailbox ─► take_locked … complete ─► in order ─► filters ─► sinks

Several runners (instances of a model) may finish a pipeline's frames out of order; the pipeline hands
results on in the order in which frames were taken. It ends when no frame can come any more and the last
one taken is handed on. It starts no thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from edged.config.schema import PipelineConfig
from edged.frames import F32, Frame
from edged.freshness import GOOD, Verdict, judge
from edged.mailbox import Bell, Mailbox
from edged.messages import Classification, Detection, Identity, Message, ModelId, Result, topic
from edged.metrics import Histogram, PipelineCounts
from edged.parsers.base import Parsed
from edged.tracking.tracker import Tracker
from edged.units import Report

SMOOTH = 0.2  # weight of the newest of the gaps between results
Offer = Callable[[Message], None]
Ending = Literal["ended", "faulted"]
STAGES = ("wait", "preprocess", "engine", "infer", "parse", "age")
# Jobs given out and not handed on. Results that wait for an older one are held, so there must be a bound; it is
# above what 16 instances with two in flight and one in parse have at once.
MAX_AHEAD = 64


@dataclass(slots=True, eq=False)
class Job:
    """One frame on its way through a runner. `order` counts the frames that its pipeline gave out.

    Times are CLOCK_MONOTONIC in ns; `dropped` is the mailbox's count when the frame was taken. The frame's
    lease is its runner's until the device has read it; after that only its facts are used.
    """

    pipeline: Pipeline
    frame: Frame
    order: int
    dropped: int
    taken_ns: int
    launched_ns: int = 0
    done_ns: int = 0
    parsed_ns: int = 0
    preprocess_ms: float = 0.0
    engine_ms: float = 0.0


class Pipeline:
    """See the module. `live`: as its source is. `limit`: give out at most this many frames (edged run --frames)."""

    def __init__(
        self,
        name: str,
        config: PipelineConfig,
        identity: Identity,
        model: ModelId,
        labels: Sequence[str],
        offers: Sequence[Offer],
        bell: Bell,
        post: Callable[[Report], None],
        *,
        live: bool,
        limit: int | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.mailbox = Mailbox(bell, live=live)
        self.state: Literal["starting", "running", "ended", "faulted"] = "starting"
        self.on_result: Callable[[Job, Result], None] | None = None  # for measurements
        self._identity = identity
        self._model = model
        self._labels = tuple(labels)
        self._keep = _class_ids(config.classes, self._labels)
        self._offers = tuple(offers)
        self._post = post
        self._topic = topic(identity.device, "result", name)
        self._limit = limit
        self._given = 0  # guarded by the bell's condition
        self._last_seq = -1  # of the source's thread
        self.lost = 0  # of the source's thread
        self._lock = threading.Lock()  # guards all below; taken before the bell's condition
        self._ending: Ending = "ended"
        self._next = 0
        self._waiting: dict[int, tuple[Job, Parsed | None]] = {}
        self._tracker = None if config.track is None else Tracker(config.track)
        self._told_dropped = 0
        self._started_ns = 0
        self._last_ns = 0
        self.last_result: tuple[int, Verdict] | None = None  # CLOCK_MONOTONIC ns, and what was thought of it
        self._resumed = True  # no result yet since frames began to come
        self.usual_gap_s: float | None = None  # between two results, smoothed; None: not known yet
        self.inferred = 0
        self.failed = 0
        self.rejected = 0
        self.detections = 0
        self.times = {stage: Histogram() for stage in STAGES}

    # In the source's thread.

    def begin(self) -> None:
        """Frames will come, for the first time or after a fault of the source: a picture of a new stream is next.

        Objects are new, and so is the count of frames.
        """
        with self._lock:
            self._last_seq = -1
            self._resumed = True
            if self._tracker is not None:
                self._tracker.reset()

    def offer(self, frame: Frame, timeout_s: float) -> bool:
        """Put a frame into the mailbox (see Mailbox.put); gaps in `seq` are what the source lost."""
        if not self.mailbox.put(frame, timeout_s):
            return False
        self.lost += max(0, frame.seq - self._last_seq - 1)
        self._last_seq = frame.seq
        return True

    # In any thread.

    def close(self, how: Ending = "ended") -> None:
        """No frame comes any more; what was accepted is still finished, and then the pipeline has ended so."""
        with self._lock:
            if how == "faulted":
                self._ending = how
            self.mailbox.close()
            self._end_if_over()

    def drop(self) -> None:
        """Close, and drop the frame that waits, counted."""
        with self._lock:
            self.mailbox.close()
            self.mailbox.drain()
            self._end_if_over()

    # In a runner's thread, the bell's condition held.

    def ready_locked(self) -> bool:
        """Whether `take_locked` would give a job."""
        return self.mailbox.peek_locked() is not None and self._given - self._next < MAX_AHEAD

    def take_locked(self) -> Job | None:
        """The next job, or None. The frame's lease goes with it."""
        frame = self.mailbox.take_locked() if self.ready_locked() else None
        if frame is None:
            return None
        job = Job(self, frame, self._given, self.mailbox.dropped, time.monotonic_ns())
        self._given += 1
        if self._given == self._limit:
            self.mailbox.close_locked()
        return job

    # In a runner's thread.

    def complete(self, job: Job, parsed: Parsed | None) -> None:
        """Take a finished job (None: its inference failed) and hand on what is now in order."""
        job.parsed_ns = time.monotonic_ns()
        with self._lock:
            was_full = self._given - self._next >= MAX_AHEAD
            self._waiting[job.order] = (job, parsed)
            while self._next in self._waiting:
                self._hand_on(*self._waiting.pop(self._next))
                self._next += 1
            self._end_if_over()
        if was_full:
            self.mailbox.bell.ring()

    # With the lock held.

    def _say(self, state: Literal["running", "ended", "faulted"]) -> None:
        self.state = state
        self._post(Report(f"pipeline {self.name}", state))

    def _end_if_over(self) -> None:
        box = self.mailbox
        with box.bell.condition:
            over = box.closed and box.peek_locked() is None and self._given == self._next
        if over and self.state not in ("ended", "faulted"):
            self._say(self._ending)

    def _hand_on(self, job: Job, parsed: Parsed | None) -> None:
        if parsed is None:
            self.failed += 1
            return
        look = job.frame.tags.get("look")
        verdict = GOOD if look is None else judge(look, self.config.health)
        self._note(time.monotonic_ns(), verdict)
        if self._tracker is not None and verdict.shows:
            self._track(self._tracker, parsed, job.frame)
        result = self._result(job, parsed, verdict)
        self._told_dropped = job.dropped
        message = Message(self._topic, "result", (result.session_id, self.name, result.seq), result)
        for offer in self._offers:
            offer(message)
        self.inferred += 1
        self.rejected += parsed.rejected
        self.detections += len(result.detections or ())
        self._count_times(job, time.monotonic_ns())
        if self.on_result is not None:
            self.on_result(job, result)

    def _note(self, now: int, verdict: Verdict) -> None:
        """For whoever judges the pipeline's health."""
        if self.last_result is None:
            self._say("running")
        elif not self._resumed:
            gap_s, usual = (now - self.last_result[0]) / 1e9, self.usual_gap_s
            if usual is None:
                self.usual_gap_s = gap_s
            else:  # a long one is a stall, not a habit
                self.usual_gap_s = usual + SMOOTH * (min(gap_s, 4 * usual) - usual)
        self._resumed = False
        self.last_result = (now, verdict)

    def _count_times(self, job: Job, now: int) -> None:
        captured = job.frame.captured_mono_ns
        self._started_ns = self._started_ns or job.taken_ns
        self._last_ns = now
        t = self.times
        t["wait"].record((job.taken_ns - captured) / 1e9)
        t["preprocess"].record(job.preprocess_ms / 1e3)
        t["engine"].record(job.engine_ms / 1e3)
        t["infer"].record((job.done_ns - job.launched_ns) / 1e9)
        t["parse"].record((job.parsed_ns - job.done_ns) / 1e9)
        t["age"].record((now - captured) / 1e9)

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
        least = self.config.min_score or 0.0
        return [
            Classification(self._label(i), i, s)
            for i, s in zip(p.classes[0].tolist(), _numbers(p.classes[1], 4), strict=True)
            if s >= least and (self._keep is None or i in self._keep)
        ]

    # In any thread.

    def counts(self) -> PipelineCounts:
        """All counts at one moment; quantiles are read after it, without holding up a runner."""
        with self._lock, self.mailbox.bell.condition:
            span_s = (self._last_ns - self._started_ns) / 1e9
            counts = PipelineCounts(
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
                fps=round(self.inferred / span_s, 2) if span_s > 0 else 0.0,
                stages={},
            )
        return msgspec.structs.replace(counts, stages={k: h.quantiles() for k, h in self.times.items()})


def _numbers(a: F32, decimals: int) -> list[Any]:
    """Python numbers without digits that no detector gives: they would double a JSON message."""
    numbers: list[Any] = np.round(a.astype(np.float64), decimals).tolist()
    return numbers


def _class_ids(names: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """Class ids to keep; None: all. Names were checked against the labels when the pipeline was built."""
    return [labels.index(n) for n in names] if names else None
