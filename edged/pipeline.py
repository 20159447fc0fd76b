"""A pipeline: one source through one model to its sinks. Its mailbox, order, filters and counts live here.

    source's thread                runners' threads
    begin, offer, … close ─► mailbox ─► take_locked … complete ─► in order ─► filters ─► sinks

Several runners (instances of a model) may finish a pipeline's frames out of order; the pipeline hands
results on in the order in which frames were taken. It ends when no frame can come any more and the last
one taken is handed on. It starts no thread. One that is replaced while running has a successor of its name, which
gives out no frame before it has ended: results stay in order, and numbers go on (lineage.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from edged.config.schema import PipelineConfig
from edged.config.words import join
from edged.errors import EdgedError, RequestError
from edged.frames import Frame
from edged.framesets import TAG, SyncGroup
from edged.freshness import GOOD, Verdict, judge
from edged.lineage import Lineage, added
from edged.looks import Look
from edged.mailbox import Bell, Mailbox
from edged.messages import Identity, Message, ModelId, Result, topic
from edged.metrics import PipelineCounts
from edged.parsers.base import Parsed
from edged.rates import Rate
from edged.results import ResultMaker
from edged.tracking.tracker import Tracker
from edged.units import Report
from edged.views import View

SMOOTH = 0.2  # weight of the newest of the gaps between results
Offer = Callable[[Message], None]
Ending = Literal["ended", "faulted"]
# Jobs given out and not handed on. Results that wait for an older one are held, so there must be a bound; it is
# above what 16 instances with two in flight and one in parse have at once.
MAX_AHEAD = 64


@dataclass(slots=True, eq=False)
class Job:
    """One frame on its way through a runner. `order` counts the frames that its pipeline gave out.

    Times are CLOCK_MONOTONIC in ns; `dropped` is the mailbox's count of what was dropped before it. The frame's
    lease is its runner's until the device has read it; after that only its facts are used. `host_ns`: processor time of
    its runner's thread for it, besides parsing and handing on; `device_ms`: preprocessing and inference as the device
    timed them, of some jobs; `copied`: bytes of pixels that the CPU moved for it. `looks`: who wants to see it.
    """

    pipeline: Pipeline
    frame: Frame
    order: int
    dropped: int
    taken_ns: int
    launched_ns: int = 0
    done_ns: int = 0
    parsed_ns: int = 0
    device_ms: tuple[float, float] | None = None
    host_ns: int = 0
    copied: int = 0
    looks: tuple[Look, ...] = ()


class Pipeline:
    """See the module. `live`: as its source is. `limit`: give out at most this many frames (edged run --frames).

    `sync`: the group whose frame sets its frames are in. `after`: the one of its name that it replaces. `offers`: where
    results go; the main thread may put others in their place.
    """

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
        sync: SyncGroup | None = None,
        after: Pipeline | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.live = live
        self.view = View(config.roi, config.dewarp, join("pipelines", name))
        self.mailbox = Mailbox(bell, live=live, keeps=None if sync is None else sync.keeps)
        self.served = 0  # Bell.served when a runner last took a frame; guarded by the bell's condition
        self.state: Literal["starting", "running", "ended", "faulted"] = "starting"
        # why it gets no frames of its source as that is now; set by the source's thread
        self.refused: EdgedError | None = None
        self.on_result: Callable[[Job, Result], None] | None = None  # for measurements
        self._maker = ResultMaker(name, config, identity, model, labels, sync)
        self.offers = tuple(offers)
        self.lineage: Lineage = Lineage() if after is None else after.lineage
        self._after = after  # until it has ended; guarded by the bell's condition
        self._before: Pipeline | PipelineCounts | None = after  # whose counts go before ours
        self._successor: Pipeline | None = None  # once frames go there
        self._free_ns = 0  # since when nobody is waited for, CLOCK_MONOTONIC; 0: nobody was
        self._disowned = 0  # jobs of which nothing comes any more
        self._post = post
        self._topic = topic(identity.device, "result", name)
        self._limit = limit
        self._given = 0  # guarded by the bell's condition
        self._looks: tuple[Look, ...] = ()  # that wait for the next frame; guarded by the bell's condition
        self._sync = sync
        # of the source's thread; where the reader is made to wait, pictures come when they are wanted
        self._rate = Rate(config.every, config.max_fps if live else None)
        self._last_seq = -1
        self._wanted = True  # the frame of that number
        self._rested = False  # it was paused when the last frame came
        self.lost = 0
        self.skipped = 0
        self._lock = threading.Lock()  # guards all below; taken before the bell's condition
        self._ending: Ending = "ended"
        self._next = 0
        self._waiting: dict[int, tuple[Job, Parsed | None]] = {}
        self._tracker = None if config.track is None else Tracker(config.track)
        self._told_dropped = 0
        self._dropped_at_start = 0
        self.last_result: tuple[int, Verdict] | None = None  # CLOCK_MONOTONIC ns, and what was thought of it
        self._resumed = True  # no result yet since frames began to come
        self.usual_gap_s: float | None = None  # between two results, smoothed; None: not known yet
        self.inferred = 0
        self.failed = 0
        self.rejected = 0
        self.detections = 0
        self.late = 0
        self._copied_capture = 0
        self._copied_preprocess = 0

    # In the source's thread.

    def begin(self, seq: int = 0) -> None:
        """Frames will come, for the first time or after a fault of the source: a picture of a new stream is next.

        Objects are new, and so is the count of frames, which goes on from `seq`.
        """
        with self._lock:
            self._last_seq = seq - 1
            self._resumed = True
            self._rate.reset()
            if self._tracker is not None:
                self._tracker.reset()

    def offer(self, frame: Frame, timeout_s: float) -> bool:
        """Put a frame into the mailbox (see Mailbox.put), or skip it; gaps in `seq` are what the source lost.

        One that was refused for want of time may be offered again.
        """
        if self.mailbox.closed:
            return False
        if self.lineage.paused:
            return self._rest(frame)
        if self._rested:
            self._rested = False
            self.begin(frame.seq)
        if frame.seq != self._last_seq:
            self.lost += max(0, frame.seq - self._last_seq - 1)
            self._last_seq = frame.seq
            self._wanted = self._judge(frame)
            self.skipped += not self._wanted
        if self._wanted:
            return self.mailbox.put(frame, timeout_s)
        frame.release()
        return True

    def _rest(self, frame: Frame) -> bool:
        """Leave a frame out, as nobody wants any now."""
        self._rested = True
        self.skipped += 1
        frame.release()
        return True

    def _judge(self, frame: Frame) -> bool:
        seq, captured_ns = frame.seq, frame.captured_mono_ns
        wanted = self._rate.wants(seq, captured_ns)
        if self._sync is not None:
            s = self._sync.join(self.config.source, captured_ns, wanted)
            frame.tags = {**frame.tags, TAG: s}
            wanted = s.id is not None
        if wanted:
            self._rate.took(seq, captured_ns)
        return wanted

    # In any thread.

    @property
    def least_gap_s(self) -> float:
        """Between two results, as the configuration and what holds it back want it; 0: they say nothing."""
        return self._rate.gap_s

    def thin(self, n: int) -> None:
        """From now on, take each n-th only of the frames that it would take. Not where the reader is made to wait."""
        self._rate.thin = n if self.live else 1

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

    def look(self) -> Look:
        """A look at the next frame that is taken, here or in what replaces it; it may never come."""
        if self._successor is not None:
            return self._successor.look()
        look = Look(self.view)
        with self.mailbox.bell.condition:
            waiting = (other for other in self._looks if not other.closed)
            self._looks = (*waiting, look)
        if self.over:
            self._end_looks()
        return look

    # In a runner's thread, the bell's condition held.

    def ready_locked(self) -> bool:
        """Whether `take_locked` would give a job."""
        if self._after is not None:
            if not self._after.over:
                return False
            self._after = None
        return self.mailbox.peek_locked() is not None and self._given - self._next < MAX_AHEAD

    def take_locked(self) -> Job | None:
        """The next job, or None. The frame's lease goes with it."""
        if not self.ready_locked():
            return None
        box = self.mailbox
        dropped = box.dropped - box.passed  # before this frame
        frame = box.take_locked()
        if frame is None:
            return None
        if self._sync is not None:
            self._sync.start(frame)
        box.bell.served += 1
        self.served = box.bell.served
        job = Job(self, frame, self._given, dropped, time.monotonic_ns())
        self._given += 1
        if self._looks:
            job.looks, self._looks = tuple(look for look in self._looks if look.see(frame)), ()
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
                job, parsed = self._waiting.pop(self._next)
                if self._disowned:
                    self._show(job, self._error("was replaced while it looked at this frame"))
                else:
                    self._hand_on(job, parsed)
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
        if over and not self.over:
            successor = self._successor
            if successor is not None:
                successor._free_ns = time.monotonic_ns()
            self._say(self._ending)
            if successor is not None:  # it may begin
                successor.mailbox.bell.ring()
            self._end_looks()

    def _hand_on(self, job: Job, parsed: Parsed | None) -> None:
        if parsed is None:
            self.failed += 1
            self._show(job, self._error("the inference of this frame failed"))
            return
        seen = job.frame.tags.get("look")
        verdict = GOOD if seen is None else judge(seen, self.config.health)
        self._note(time.monotonic_ns(), verdict)
        if self._tracker is not None and verdict.shows:
            self._maker.track(self._tracker, parsed, job.frame)
        result = self._maker.result(
            job.frame, self.lineage.seq, job.dropped - self._told_dropped, parsed, verdict
        )
        self._told_dropped = job.dropped
        if not self.inferred:
            self._dropped_at_start = self.mailbox.dropped
        message = Message(self._topic, "result", (result.session_id, self.name, result.seq), result)
        for offer in self.offers:
            offer(message)
        self._show(job, result)
        if self._sync is not None:
            self._sync.give(self.name, job.frame.tags[TAG])
        self.inferred += 1
        self.lineage.seq += 1
        self.rejected += parsed.rejected
        self.detections += len(result.detections or ())
        self._copied_capture += job.frame.copied
        self._copied_preprocess += job.copied
        now, deadline_ms = time.monotonic_ns(), self.config.deadline_ms
        self.late += deadline_ms is not None and now - job.frame.captured_mono_ns > deadline_ms * 1e6
        self.lineage.record(job, now)
        if self.on_result is not None:
            self.on_result(job, result)

    def _error(self, what: str) -> EdgedError:
        return EdgedError(f"pipeline '{self.name}': {what}")

    def _show(self, job: Job, result: Result | EdgedError) -> None:
        for look in job.looks:
            look.tell(result)

    def _note(self, now: int, verdict: Verdict) -> None:
        """For whoever judges the pipeline's health."""
        if self._resumed:  # after a fault, too: nothing else tells that it looks once more
            self._say("running")
        elif self.last_result is not None:
            gap_s, usual = (now - self.last_result[0]) / 1e9, self.usual_gap_s
            if usual is None:
                self.usual_gap_s = gap_s
            else:  # a long one is a stall, not a habit
                self.usual_gap_s = usual + SMOOTH * (min(gap_s, 4 * usual) - usual)
        self._resumed = False
        self.last_result = (now, verdict)

    # In any thread.

    @property
    def over(self) -> bool:
        """Whether it has ended: all that it accepted is handed on."""
        return self.state in ("ended", "faulted")

    @property
    def waits_ns(self) -> int:
        """Since when a frame waits that a runner may take (CLOCK_MONOTONIC); 0: none does."""
        after, since_ns = self._after, self.mailbox.waits_ns
        waits = since_ns and (after is None or after.over)
        return max(since_ns, self._free_ns) if waits else 0

    def succeed(self) -> None:
        """Frames come here from now on, and no longer to the one before, which tells when it has ended.

        In the main thread, once it is certain that this one is to run.
        """
        before = self._before
        if not isinstance(before, Pipeline):
            return
        before._successor = self
        looks = before._taken_looks()
        for look in looks:
            look.view = self.view
        with self.mailbox.bell.condition:
            self._looks = (*looks, *self._looks)

    def _end_looks(self) -> None:
        for look in self._taken_looks():
            look.tell(RequestError(f"pipeline '{self.name}' has ended", hint="edged status says why"))

    def _taken_looks(self) -> tuple[Look, ...]:
        """Those that wait; they are another's from now on."""
        with self.mailbox.bell.condition:
            looks, self._looks = self._looks, ()
        return looks

    def disown(self) -> None:
        """Wait no longer for one that hangs: what it has not handed on by now counts as dropped, and never will be.

        In the main thread; results of its name are another's from now on.
        """
        self.drop()
        with self._lock:
            self._disowned = self._given - self._next

    def inherit(self) -> None:
        """The one before has ended, or is disowned: its counts are part of these from now on, and it may go.

        In the main thread.
        """
        if isinstance(self._before, Pipeline):
            self._before._successor = None  # else the first of its name would keep all that followed
            self._before = self._before.totals()
        with self.mailbox.bell.condition:
            if self._after is not None and not self._after.over:
                self._free_ns = time.monotonic_ns()
            self._after = None
            self.mailbox.bell.condition.notify_all()

    def counts(self) -> PipelineCounts:
        """All counts at one moment; quantiles are read after it, without holding up a runner."""
        return self.lineage.timed(self.totals())

    def totals(self) -> PipelineCounts:
        """Of this one and those that it has replaced; without times."""
        with self._lock, self.mailbox.bell.condition:
            counts = PipelineCounts(
                source=self.config.source,
                model=self.config.model,
                state=self.state,
                offered=self.mailbox.offered,
                dropped=self.mailbox.dropped + self._disowned,
                dropped_at_start=self._dropped_at_start if self.inferred else self.mailbox.dropped,
                inferred=self.inferred,
                failed=self.failed,
                lost=self.lost,
                skipped=self.skipped,
                late=self.late,
                rejected=self.rejected,
                detections=self.detections,
                fps=0.0,
                copied={"capture": self._copied_capture, "preprocess": self._copied_preprocess},
                stages={},
            )
        before = self._before
        return added(counts, before.totals() if isinstance(before, Pipeline) else before)
