"""Counters and latency histograms of fixed size: nothing grows however long the daemon runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from edged.sensors.readings import Reading

_LOW_S = 1e-6
_PER_FACTOR = 1 / math.log(1.04)  # neighbouring buckets differ by 4%
_BUCKETS = int(math.log(1000 / _LOW_S) * _PER_FACTOR) + 2  # up to 1000 s


# of results' ages, in seconds, as PipelineCounts.ages counts them
AGES_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class Quantiles(msgspec.Struct, frozen=True):
    """A histogram's reading in milliseconds; quantiles are within 4%, mean, max and sum exact."""

    count: int = 0
    mean_ms: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    max_ms: float = 0.0
    sum_ms: float = 0.0


class Histogram:
    """Logarithmic buckets from 1 us to 1000 s. Written by one thread at a time, read by any."""

    __slots__ = ("_counts", "count", "max_s", "sum_s")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.sum_s = 0.0
        self.max_s = 0.0

    def record(self, seconds: float) -> None:
        index = int(math.log(seconds / _LOW_S) * _PER_FACTOR) + 1 if seconds > _LOW_S else 0
        self._counts[min(index, _BUCKETS - 1)] += 1
        self.count += 1
        self.sum_s += seconds
        if seconds > self.max_s:
            self.max_s = seconds

    def quantile(self, q: float) -> float:
        """Seconds below which a share `q` of the records lies (upper edge of its bucket)."""
        rank = math.ceil(q * self.count)
        if rank <= 0:
            return 0.0
        seen = 0
        for index, n in enumerate(self._counts):
            seen += n
            if seen >= rank:
                return float(min(_LOW_S * math.exp(index / _PER_FACTOR), self.max_s))
        return self.max_s

    def quantiles(self) -> Quantiles:
        if not self.count:
            return Quantiles()
        p50, p99, p999 = (round(self.quantile(q) * 1e3, 3) for q in (0.5, 0.99, 0.999))
        sum_ms = self.sum_s * 1e3
        mean = round(sum_ms / self.count, 3)
        return Quantiles(self.count, mean, p50, p99, p999, round(self.max_s * 1e3, 3), round(sum_ms, 3))

    def cumulative(self, bounds_s: Sequence[float]) -> tuple[int, ...]:
        """How many records are at most each bound (rising), by whole buckets: a bound is met within 4%."""
        counts = tuple(self._counts)
        ends = [int(math.log(b / _LOW_S) * _PER_FACTOR) + 1 for b in bounds_s]
        return tuple(sum(counts[:end]) for end in ends)


class PipelineCounts(msgspec.Struct, frozen=True, kw_only=True):
    """offered = inferred + dropped + failed, once the pipeline is drained. `state`, `reason`: see health.py.

    `dropped_at_start` of the `dropped` went before the first result, while the model was still warming up.
    `lost` are pictures the source missed before they were offered (no free slot, driver), `skipped` those that
    every, max_fps, a frame set or pressure left out: neither is offered nor dropped. `stages`:
    wait (capture to runner), infer (launch to completion: preprocess and engine), preprocess and engine
    on their own (on a GPU between events of its stream), parse, age (capture to hand-over to the sinks), host
    (processor time of the runner's thread, from the mailbox to the launch and from waking up to parsing).

    `copied`: bytes of pixels that the CPU moved for the frames inferred, by stage: 0 where the device reads what the
    camera wrote. `late`: results older than deadline_ms when they were handed to the sinks. `ages`: those of at most
    the ages AGES_S.
    """

    source: str
    model: str
    state: str
    reason: str = ""
    offered: int
    dropped: int
    dropped_at_start: int = 0
    inferred: int
    failed: int
    lost: int
    skipped: int = 0
    late: int = 0
    rejected: int
    detections: int
    fps: float
    copied: Mapping[str, int] = {}
    ages: tuple[int, ...] = ()
    stages: Mapping[str, Quantiles]


class SourceUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a source delivers and how it got there.

    state: of its unit. frame: "1280x720 NV12", "" until opened. faults: since the start. facts: what was negotiated
    and chosen, and why, in words.
    """

    state: str
    reason: str = ""
    frame: str = ""
    faults: int = 0
    facts: Mapping[str, str] = {}


class ModelUse(msgspec.Struct, frozen=True, kw_only=True):
    """A runner: `state` of its unit; `facts`: device, engine, and "graph" or "eager: why" under "work", in words."""

    state: str
    facts: Mapping[str, str] = {}


class SinkCounts(msgspec.Struct, frozen=True, kw_only=True):
    """offered = published + replaced + failed + held."""

    state: str
    offered: int
    published: int
    replaced: int
    failed: int
    held: int


class SyncCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Frame sets of a [sync_groups.X]: taken = complete + partial + unseen + open.

    complete: every pipeline of the group gave its result. partial: some did and the others never will (a camera
    missed it, or a frame gave way). unseen: none did. open: not decided yet.
    """

    taken: int
    complete: int
    partial: int
    unseen: int
    open: int


class RegionUse(msgspec.Struct, frozen=True):
    """An admitted region: bytes planned, bytes handed out (its high-water mark), slots in use at most."""

    nbytes: int
    used_bytes: int
    slots: int = 0
    slots_high_water: int = 0


class PressureUse(msgspec.Struct, frozen=True, kw_only=True):
    """How far pipelines are held back: `level` of `most` steps, and why the last one was taken (pressure.py).

    every: of how many frames each live pipeline takes one; 1: all that it wants.
    """

    level: int = 0
    most: int = 0
    reason: str = ""
    every: Mapping[str, int] = {}


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What is observed at one moment; the supervisor makes it, anyone may read it."""

    at: int
    wall_s: float
    pipelines: Mapping[str, PipelineCounts]
    sources: Mapping[str, SourceUse]
    sinks: Mapping[str, SinkCounts]
    regions: Mapping[str, RegionUse]
    models: Mapping[str, ModelUse] = {}
    sync_groups: Mapping[str, SyncCounts] = {}
    sensors: tuple[Reading, ...] = ()
    pressure: PressureUse = PressureUse()
    errors: tuple[str, ...] = ()
