"""What a benchmark found, as frozen values: `edged bench --json` prints them, report.py shows them.

Times are in milliseconds unless a name says otherwise; rates are frames a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from edged.metrics import Quantiles


class Settings(msgspec.Struct, frozen=True):
    """What --tune tries: threads of one inference, runners of the model, busy waiting."""

    threads: int
    instances: int
    spinning: bool


class Counts(msgspec.Struct, frozen=True):
    """Of one whole run, warm-up and drain included. offered = inferred + dropped + failed.

    `received` are the results that a subscriber in this process got.
    """

    offered: int
    inferred: int
    dropped: int
    failed: int
    lost: int
    received: int


class Growth(msgspec.Struct, frozen=True):
    """What changed between the first and the last recorded frame of a run."""

    seconds: float
    rss_bytes: int
    region_bytes: int  # admitted or handed out: 0 is what is promised


class Run(msgspec.Struct, frozen=True):
    """The pipeline for some seconds. `stages` are exact quantiles over the recorded frames.

    `others`: processors that other processes kept busy meanwhile; far from 0, the figures are theirs, too.
    """

    fps: float
    frames: int
    cpu_ms: float  # of the whole process, a frame
    others: float
    busy: float  # share of the time that an engine was inferring, a runner
    stages: Mapping[str, Quantiles]
    counts: Counts
    growth: Growth


class EngineRun(msgspec.Struct, frozen=True):
    """The engine alone for some seconds; `infer` is one inference, `others` as in Run."""

    fps: float
    cpu_ms: float
    others: float
    infer: Quantiles


class Pair(msgspec.Struct, frozen=True):
    """The pipeline between two halves of the engine alone, so that both meet the same machine."""

    pipeline: Run
    alone: EngineRun
    ratio: float


class Live(msgspec.Struct, frozen=True):
    """The pipeline offered `rate` frames a second, `load` times the `capacity` measured just before.

    `limit_ms`: two frame intervals and the median inference, what the age's p99 stays below with
    in_flight = 1.
    """

    in_flight: int
    load: float
    capacity: float
    rate: float
    limit_ms: float
    run: Run


class Trial(msgspec.Struct, frozen=True):
    """One row of --tune. The best of the rounds: what disturbs a machine only ever adds."""

    settings: Settings
    fps: float
    age: Quantiles
    dropped: int


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured; `load` is the system's one-minute load average before."""

    cores: int
    cpu: str
    load: float
    versions: Mapping[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of one `edged bench`. `pairs` and `live` are empty with --tune, `trials` without."""

    file: str
    pipeline: str
    source: str
    model: str
    frame: tuple[int, int]
    settings: Settings
    in_flight: int  # at pace max
    notes: Sequence[str]
    machine: Machine
    read_ms: float  # median time to read one frame from the source, nothing else running
    pairs: Sequence[Pair] = ()
    ratio: float = 0.0  # median of the pairs' ratios
    live: Sequence[Live] = ()
    regions: Mapping[str, int] = {}
    trials: Sequence[Trial] = ()
    tune_rate: float = 0.0
    lowest_age: Settings | None = None
    highest_fps: Settings | None = None
