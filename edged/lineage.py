"""What outlives a pipeline that is replaced by another of its name: numbers, counts and times go on within a session.

Each generation counts from nothing, and shows the sum of its own counts and those of the ones before it.
"""

from __future__ import annotations

import msgspec

from edged.metrics import Histogram, PipelineCounts

STAGES = ("wait", "preprocess", "engine", "infer", "parse", "age", "host")
# what counts up; the rest of PipelineCounts is how things are
_SUMS = ("offered", "dropped", "inferred", "failed", "lost", "skipped", "late", "rejected", "detections")


class Lineage:
    """Shared by the generations of one name. Results are handed on by one of them at a time, under its lock.

    `paused`: why no frame of it is taken, "": they are; set by the main thread, read by the source's.
    """

    def __init__(self) -> None:
        self.paused: str = ""
        self.seq = 0  # of the next result
        self.started_ns = 0  # when the first frame was taken, CLOCK_MONOTONIC
        self.last_ns = 0  # when the last result was handed on
        self.times = {stage: Histogram() for stage in STAGES}


def added(one: PipelineCounts, other: PipelineCounts | None) -> PipelineCounts:
    """`one`, with all that counts up as the sum of both."""
    if other is None:
        return one
    sums = {name: getattr(one, name) + getattr(other, name) for name in _SUMS}
    copied = {stage: n + other.copied.get(stage, 0) for stage, n in one.copied.items()}
    return msgspec.structs.replace(one, **sums, copied=copied)
