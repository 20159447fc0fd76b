"""The plan of a benchmark: pairs of pipeline and engine alone, then live rates with one and two in flight."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from edged.bench.alone import Alone
from edged.bench.pipeline import Bench
from edged.bench.prepare import cores, in_flight_of, make_source, narrow, settings_of, unpaced, with_in_flight
from edged.bench.recorder import make_rows
from edged.bench.replay import Clip, record
from edged.bench.results import Live, Machine, Pair, Report, Run
from edged.config.machine import inspect_machine
from edged.config.schema import Config
from edged.errors import ConfigError
from edged.models.model import Model

Say = Callable[[str], None]
LOADS = (0.8, 2.0)  # of the capacity: what a pipeline is sized for, and what it must survive
_PACKAGES = ("edged", "numpy", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "pycuda")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long: pairs of `seconds` each side, live runs of `live_s`."""

    pairs: int = 7
    seconds: float = 3.0
    live_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: one pipeline of a configuration, and some frames of its source in memory.

    `unpaced` is None for a source with a pace of its own (a camera): then the clip is played unpaced.
    """

    name: str
    config: Config
    unpaced: Config | None
    model: Model
    clip: Clip

    @property
    def fastest(self) -> tuple[Config, Clip | None]:
        """The configuration at pace max, and the clip when its own source cannot do that."""
        return (self.config, self.clip) if self.unpaced is None else (self.unpaced, None)


def prepare(config: Config, pipeline: str) -> Subject:
    """Check the machine's side of it and record the clip."""
    own = narrow(config, pipeline)
    found = inspect_machine(own)
    if found.problems:
        raise ConfigError(config.file, found.problems)
    fast = unpaced(own)
    (model,) = found.models.values()
    clip = record(own.pipelines[pipeline].source, make_source(fast or own))
    return Subject(pipeline, own, fast, model, clip)


def describe(subject: Subject) -> Report:
    """A report without figures yet."""
    p = subject.config.pipelines[subject.name]
    notes = []
    if subject.unpaced is None:
        n = len(subject.clip.frames)
        notes.append(f"the source has a pace of its own: {n} of its frames are played from memory instead")
    return Report(
        file=subject.config.file,
        pipeline=subject.name,
        source=p.source,
        model=p.model,
        frame=(subject.clip.spec.width, subject.clip.spec.height),
        settings=settings_of(subject.config),
        in_flight=in_flight_of(subject.config),
        notes=notes,
        machine=machine(),
        read_ms=subject.clip.read_ms,
    )


def machine() -> Machine:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # another build of it, or not needed
            continue
    return Machine(cores(), _cpu(), round(os.getloadavg()[0], 2), versions)


def _cpu() -> str:
    """The processor's name as Linux has it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def measure_pairs(subject: Subject, bench: Bench, plan: Plan, say: Say) -> list[Pair]:
    """The engine alone before and after each run of the pipeline, so that a drift of the machine favours neither."""
    pairs = []
    config, clip = subject.fastest
    with Alone(config, subject.model, subject.clip) as alone:
        for i in range(plan.pairs):
            limit, run = alone.run_around(plan.seconds, partial(bench.run, config, plan.seconds, clip))
            pair = Pair(run, limit, round(run.fps / limit.fps, 4))
            pairs.append(pair)
            say(
                f"pair {i + 1} of {plan.pairs}: pipeline {run.fps:.1f}, engine alone {limit.fps:.1f} "
                f"frames/s, ratio {pair.ratio:.3f}"
            )
    return pairs


def measure_live(subject: Subject, bench: Bench, plan: Plan, say: Say) -> list[Live]:
    """Ages at shares of the capacity; the capacity is measured just before, with the same frames from memory."""
    out = []
    for in_flight in (1, 2):
        config = with_in_flight(subject.config, in_flight)
        for load in LOADS:
            capacity = bench.run(config, plan.live_s / 4, subject.clip).fps
            rate = round(capacity * load, 2)
            run = bench.run(config, plan.live_s, subject.clip, rate)
            limit_ms = round(2e3 / rate + run.stages["infer"].p50_ms, 3)
            out.append(Live(in_flight, load, capacity, rate, limit_ms, run))
            age = run.stages["age"]
            say(
                f"in_flight {in_flight}, {rate:.1f} frames/s offered ({load:.0%} of capacity): "
                f"age p50 {age.p50_ms:.1f}, p99 {age.p99_ms:.1f} ms"
            )
    return out


def runs_of(report: Report) -> list[Run]:
    return [*(p.pipeline for p in report.pairs), *(x.run for x in report.live)]


def ratio(pairs: list[Pair]) -> float:
    return round(median(p.ratio for p in pairs), 4)


def new_bench() -> Bench:
    return Bench(make_rows())
