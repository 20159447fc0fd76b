"""What outlives a pipeline that is replaced by another of its name: numbers, counts and times go on within a session.

Each generation counts from nothing, and shows the sum of its own counts and those of the ones before it.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from edged.frames import Frame
from edged.metrics import AGES_S, Histogram, PipelineCounts

STAGES = ("wait", "preprocess", "engine", "infer", "parse", "age", "host")
# what counts up; the rest of PipelineCounts is how things are
_SUMS = (
    "offered",
    "dropped",
    "dropped_at_start",
    "inferred",
    "failed",
    "lost",
    "skipped",
    "late",
    "rejected",
    "detections",
)


class Timed(Protocol):
    """A job whose result is out (pipeline.Job); times are CLOCK_MONOTONIC in ns."""

    frame: Frame
    taken_ns: int
    launched_ns: int
    done_ns: int
    parsed_ns: int
    device_ms: tuple[float, float] | None
    host_ns: int


class Lineage:
    """Shared by the generations of one name. Results are handed on by one of them at a time, under its lock: the next
    begins when the one before has ended, or is disowned.

    `paused`: why no frame of it is taken, "": they are; set by the main thread, read by the source's.
    """

    def __init__(self) -> None:
        self.paused: str = ""
        self.seq = 0  # of the next result
        self._started_ns = 0  # when the first frame was taken, CLOCK_MONOTONIC
        self._last_ns = 0  # when the last result was handed on
        self._times = {stage: Histogram() for stage in STAGES}

    def record(self, job: Timed, now: int) -> None:
        captured = job.frame.captured_mono_ns
        self._started_ns = self._started_ns or job.taken_ns
        self._last_ns = now
        t = self._times
        t["wait"].record((job.taken_ns - captured) / 1e9)
        if job.device_ms is not None:
            t["preprocess"].record(job.device_ms[0] / 1e3)
            t["engine"].record(job.device_ms[1] / 1e3)
        t["infer"].record((job.done_ns - job.launched_ns) / 1e9)
        t["parse"].record((job.parsed_ns - job.done_ns) / 1e9)
        t["age"].record((now - captured) / 1e9)
        t["host"].record(job.host_ns / 1e9)

    def timed(self, totals: PipelineCounts) -> PipelineCounts:
        """The counts of all generations, with their rate and times."""
        span_s = (self._last_ns - self._started_ns) / 1e9
        return msgspec.structs.replace(
            totals,
            fps=round(totals.inferred / span_s, 2) if span_s > 0 else 0.0,
            stages={k: h.quantiles() for k, h in self._times.items()},
            ages=self._times["age"].cumulative(AGES_S),
        )


def added(one: PipelineCounts, other: PipelineCounts | None) -> PipelineCounts:
    """`one`, with all that counts up as the sum of both."""
    if other is None:
        return one
    sums = {name: getattr(one, name) + getattr(other, name) for name in _SUMS}
    copied = {stage: n + other.copied.get(stage, 0) for stage, n in one.copied.items()}
    return msgspec.structs.replace(one, **sums, copied=copied)
