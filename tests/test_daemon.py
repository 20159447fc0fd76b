"""The whole daemon in this process: fakes at its edges, everything between is real."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import edged.daemon
import edged.escalation
import edged.instance
import edged.recovery
import edged.sources.unit
import edged.supervisor
from edged.assembly import REGISTERED
from edged.backoff import Backoff
from edged.config.schema import (
    Backend,
    Config,
    DeliverConfig,
    DeviceConfig,
    DewarpOptions,
    ModelConfig,
    PipelineConfig,
    RuntimeConfig,
    SyncConfig,
)
from edged.daemon import Daemon, Limits
from edged.devices import reference
from edged.engines.fake import Arrays, FakeEngine
from edged.errors import ConfigError, EdgedError, EngineError, ExitCode, SinkError, SourceError
from edged.frames import FrameSpec, PixelFormat
from edged.happenings import Tick
from edged.interfaces import Device, Engine, Sink, Source, Stream
from edged.memory import format_bytes
from edged.messages import Event, PipelineState, Result, State
from edged.metrics import Snapshot
from edged.models.model import Model
from edged.models.plans import PlanStore
from edged.sinks.fake import FakeSink
from edged.sources.fake import FakeOptions, FakeSource
from edged.sources.pattern import PatternOptions
from edged.sources.unit import SourceUnit
from edged.tensors import ImageInput, TensorSpec
from edged.views import positions
from tests import onnx_models

FOREVER = Limits()
F32 = np.dtype(np.float32)
X, Y = TensorSpec("x", (1, 3, 4, 6), F32), TensorSpec("y", (1, 3, 4, 6), F32)
WARM_UPS = {1: 2, 2: 3}  # inferences of a FakeEngine before the first frame, by in_flight: one a ticket


class World:
    """A configuration and the fakes that stand at its edges. Sinks are fakes, models relu on tiny pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources: dict[str, FakeSource] = {}
        self.sinks: dict[str, FakeSink] = {}
        self.engines: dict[str, FakeEngine] = {}
        # called for each frame with the engine's name and how many it did before; raises what it fails with
        self.compute: Callable[[str, int], None] = lambda engine, run: None
        self.load: Callable[[str], None] = lambda model: None  # called when an engine is loaded
        self.config = Config(device=DeviceConfig(id="robot-7"))
        self.makers = replace(REGISTERED, source=self._source, sink=self._sink, engine=self._engine)
        self.events: list[Event] = []
        self.on_event: Callable[[Event], None] = lambda event: None

    def _source(self, name: str, entry: Backend) -> Source:
        if entry.kind != "fake":
            return REGISTERED.source(name, entry)
        self.sources[name] = FakeSource(name, entry.options)
        return self.sources[name]

    def _sink(self, name: str, entry: Backend, identity: Any) -> Sink:
        return self.sinks[name]

    def _engine(
        self, model: Model, entry: ModelConfig, device: Device, stream: Stream, plans: PlanStore
    ) -> Engine:
        """Fakes are numbered within their model: m#0, m#1."""
        if entry.engine != "fake":
            return REGISTERED.engine(model, entry, device, stream, plans)
        self.load(model.version)
        name = f"{model.version}#{sum(n.startswith(model.version) for n in self.engines)}"
        runs = iter(range(-WARM_UPS[entry.in_flight or 1], sys.maxsize))

        def compute(inputs: Arrays) -> Arrays:
            run = next(runs)
            if run >= 0:
                self.compute(name, run)
            return {}

        self.engines[name] = FakeEngine([X], [Y], compute)
        return self.engines[name]

    def _put(self, group: str, name: str, value: Any) -> None:
        table = {**getattr(self.config, group), name: value}
        self.config = msgspec.structs.replace(self.config, **{group: table})

    def model(self, name: str = "m", *, engine: str = "fake", **keys: Any) -> None:
        directory = self.folder / name
        if not directory.exists():
            directory.mkdir()
            onnx_models.model_toml(
                directory, onnx_models.relu(directory / "m.onnx"), size=(6, 4), top=f'version = "{name}"'
            )
        self._put("models", name, ModelConfig(path=str(directory), engine=engine, **keys))

    def source(self, name: str, *script: Any, live: bool = False, **keys: Any) -> None:
        self._put(
            "sources", name, Backend(kind="fake", options=FakeOptions(script=script, live=live, **keys))
        )

    def pattern(self, name: str, **keys: Any) -> None:
        self._put("sources", name, Backend(kind="pattern", options=PatternOptions(size=(8, 8), **keys)))

    def sink(self, name: str = "bus") -> FakeSink:
        self.sinks[name] = FakeSink(name)
        deliver = DeliverConfig(result="queue", queue_size=10_000)
        self._put("sinks", name, Backend(kind="fake", options=None, deliver=deliver))
        return self.sinks[name]

    def pipeline(
        self, name: str, source: str, model: str = "m", sinks: Sequence[str] = ("bus",), **keys: Any
    ) -> None:
        self._put("pipelines", name, PipelineConfig(source=source, model=model, sinks=tuple(sinks), **keys))

    def sync_group(self, name: str, tolerance_ms: float) -> None:
        self._put("sync_groups", name, SyncConfig(tolerance_ms=tolerance_ms))

    def budget(self, nbytes: int) -> None:
        runtime = RuntimeConfig(memory_budget=nbytes)
        self.config = msgspec.structs.replace(self.config, runtime=runtime)

    def daemon(self, limits: Limits = FOREVER, **hooks: Any) -> Daemon:
        return Daemon(self.config, limits, on_event=self._event, makers=self.makers, **hooks)

    def _event(self, event: Event) -> None:
        self.events.append(event)
        self.on_event(event)

    def run(self, limits: Limits = FOREVER, **hooks: Any) -> tuple[ExitCode, Daemon]:
        daemon = self.daemon(limits, **hooks)
        code = daemon.run(signals=False)
        check_accounts(daemon)
        return code, daemon

    def results(self, pipeline: str, sink: str = "bus") -> list[Result]:
        bodies = (m.body for m in self.sinks[sink].messages)
        return [b for b in bodies if isinstance(b, Result) and b.pipeline == pipeline]

    def seqs(self, pipeline: str, sink: str = "bus") -> list[int]:
        return [r.frame_seq for r in self.results(pipeline, sink)]

    def told(self, unit: str) -> list[str]:
        """The states of a unit, as its events told them."""
        return [e.state for e in self.events if e.unit == unit]


def check(what: bool) -> None:
    assert what


def check_accounts(daemon: Daemon) -> Snapshot:
    """Every frame that was offered is accounted for, and all memory was given back."""
    snapshot = daemon.snapshot()
    for p in snapshot.pipelines.values():
        assert p.offered == p.inferred + p.dropped + p.failed
    for s in snapshot.sinks.values():
        assert s.offered == s.published + s.replaced + s.failed + s.held
    for source in daemon.sources.values():
        assert source.slots is None or source.slots.in_use == 0
    assert daemon.budget.held == 0
    return snapshot


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.model()
    made.sink()
    return made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages of the drain before the sinks' in a tenth of their time.

    The sinks keep theirs: those that do not hang are to end within it, on a busy machine, too.
    """
    *before, (sinks, until_s) = edged.supervisor.STAGES
    stages = [(kinds, s / 10) for kinds, s in before]
    stages.append((sinks, stages[-1][1] + until_s - before[-1][1]))
    monkeypatch.setattr(edged.supervisor, "STAGES", tuple(stages))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runners are restarted at once."""
    table = edged.escalation.FAULTS
    quick = replace(table["runner"], backoff=Backoff(0.01, 0.01))
    monkeypatch.setitem(table, "runner", quick)


@contextmanager
def running(daemon: Daemon) -> Iterator[list[ExitCode]]:
    """The daemon in a thread of its own; stopped at the end. The list holds the exit code then."""
    codes: list[ExitCode] = []
    thread = threading.Thread(target=lambda: codes.append(daemon.run(signals=False)))
    thread.start()
    try:
        yield codes
    finally:
        daemon.stop()
        thread.join(20)
        assert not thread.is_alive()


def test_a_file_gives_a_result_for_each_frame_and_then_the_end(world: World) -> None:
    world.source("a", *range(10))
    world.pipeline("front", "a")
    code, daemon = world.run()
    assert code is ExitCode.OK
    assert daemon.core.why == "every pipeline has ended"
    assert world.seqs("front") == list(range(10))
    assert [r.seq for r in world.results("front")] == list(range(10))
    assert world.told("pipeline front") == ["running", "stopped"]
    assert world.told("source a") == ["prepared", "running", "ended"]
    assert world.sources["a"].closes >= 1


def test_several_pipelines_and_models_at_once_on_a_real_engine(world: World) -> None:
    world.model("one", engine="onnxruntime", in_flight=2)
    world.model("two", engine="onnxruntime")
    for name in ("left", "right", "rear"):
        world.pattern(name, frames=30, seed=len(name))
    world.pipeline("left", "left", "one")
    world.pipeline("right", "right", "one")
    world.pipeline("rear", "rear", "two", ("bus", "other"))
    world.sink("other")
    code, daemon = world.run()
    assert code is ExitCode.OK
    for name in ("left", "right", "rear"):
        assert world.seqs(name) == list(range(30))
    assert world.seqs("rear", "other") == list(range(30))
    assert world.seqs("left", "other") == []
    assert set(daemon.runners) == {"model one", "model two"}, "a model that no pipeline uses is not loaded"
    regions = daemon.snapshot().regions
    assert set(regions) == {
        *("model one", "model two", "source left", "source right", "source rear"),
        *("pipeline left on model one", "pipeline right on model one", "pipeline rear on model two"),
    }
    for name, use in regions.items():
        assert 0 < use.used_bytes <= use.nbytes, name


def test_two_pipelines_on_one_source_open_it_once_and_see_the_same_frames(world: World) -> None:
    world.model("other")
    world.source("a", *range(12))
    world.pipeline("one", "a")
    world.pipeline("two", "a", "other")
    code, daemon = world.run()
    assert code is ExitCode.OK
    assert world.sources["a"].opens == 1
    assert world.seqs("one") == world.seqs("two") == list(range(12))
    first, second = world.results("one"), world.results("two")
    assert [r.captured_mono_ns for r in first] == [r.captured_mono_ns for r in second]
    slots = daemon.sources["source a"].slots
    assert slots is not None
    assert len(slots) == 1 + 3 + 3, "two in flight, as no source is live"


def test_of_two_pipelines_on_one_file_one_may_end_before_the_other(world: World) -> None:
    """The reader goes on for the one that still takes frames; both see every frame up to their limit."""
    world.model("slow")
    world.source("a", *range(40))
    world.pipeline("quick", "a")
    world.pipeline("late", "a", "slow")
    quick_is_over = threading.Event()

    def compute(engine: str, run: int) -> None:
        if engine == "slow#0" and run == 2:
            check(quick_is_over.wait(10))

    world.compute = compute
    world.on_event = lambda e: (
        quick_is_over.set() if (e.unit, e.state) == ("pipeline quick", "stopped") else None
    )
    code, _ = world.run(Limits(frames=3))
    assert code is ExitCode.OK
    assert world.seqs("quick") == world.seqs("late") == [0, 1, 2]


def test_two_sources_share_one_runner(world: World) -> None:
    world.source("a", *range(10), size=(4, 2))
    world.source("b", *range(15), size=(8, 6))
    world.pipeline("front", "a")
    world.pipeline("rear", "b")
    code, daemon = world.run()
    assert code is ExitCode.OK
    assert list(daemon.runners) == ["model m"]
    assert list(world.engines) == ["m#0"]
    assert world.seqs("front") == list(range(10))
    assert world.seqs("rear") == list(range(15))
    assert {r.frame for r in world.results("front")} == {(4, 2)}
    assert {r.frame for r in world.results("rear")} == {(8, 6)}


def test_results_of_two_instances_leave_in_order(world: World) -> None:
    """The first frame is held until the other instance has done five."""
    world.model(instances=2)
    world.source("a", *range(20))
    world.pipeline("front", "a")
    overtaken, lock = threading.Event(), threading.Lock()
    began: list[str] = []

    def compute(engine: str, run: int) -> None:
        with lock:
            began.append(engine)
            first = len(began) == 1
        if first:
            check(overtaken.wait(10))
        elif run == 4:
            overtaken.set()

    world.compute = compute
    code, daemon = world.run()
    assert code is ExitCode.OK
    assert list(daemon.runners) == ["model m#0", "model m#1"]
    assert set(began) == {"m#0", "m#1"}
    assert world.seqs("front") == list(range(20))


def test_offered_twice_the_capacity_every_frame_is_accounted_for(world: World) -> None:
    """The engine takes a frame for every two that were offered; the source never waits."""
    count = 400
    world.source("a", *(n % 256 for n in range(count)), live=True)
    world.pipeline("front", "a")
    daemon = world.daemon()
    box = daemon.pipelines["front"].mailbox

    def compute(engine: str, run: int) -> None:
        with box.bell.condition:
            box.bell.condition.wait_for(lambda: box.offered >= 2 * run or box.closed, 10)

    world.compute = compute
    assert daemon.run(signals=False) is ExitCode.OK
    p = check_accounts(daemon).pipelines["front"]
    assert p.offered == count
    assert p.lost == 0, "the slots that were planned are enough"
    assert p.dropped > 0
    assert p.inferred <= count // 2 + 2
    results = world.results("front")
    assert sum(r.dropped for r in results) == p.dropped
    assert results[-1].frame_seq == count - 1, "the newest frame is not lost"
    before = -1
    for r in results:
        assert r.frame_seq - before - 1 == r.dropped
        before = r.frame_seq


class TestSeveralCameras:
    def test_every_nth_of_a_file_and_all_of_it_from_one_source(self, world: World) -> None:
        world.source("a", *range(10))
        world.pipeline("all", "a")
        world.pipeline("some", "a", every=4)
        _, daemon = world.run()
        assert (world.seqs("all"), world.seqs("some")) == (list(range(10)), [0, 4, 8])
        p = daemon.snapshot().pipelines["some"]
        assert (p.offered, p.skipped, p.dropped, p.lost) == (3, 7, 0, 0)
        assert [r.dropped for r in world.results("some")] == [0, 0, 0]

    def test_max_fps_of_a_live_source(self, world: World) -> None:
        world.pattern("a", rate=200.0, frames=100)
        world.pipeline("front", "a", max_fps=50.0)
        _, daemon = world.run()
        p = daemon.snapshot().pipelines["front"]
        assert p.offered + p.skipped + p.lost == 100
        assert 15 <= p.offered <= 40, "half a second, and what the machine was held up for"

    def test_an_overloaded_model_gives_unequal_cameras_equal_shares(self, world: World) -> None:
        world.model(instances=2)
        rates = {"a": 1000.0, "b": 500.0, "c": 250.0}
        for name, rate in rates.items():
            world.pattern(name, rate=rate)
            world.pipeline(name, name)
        world.compute = lambda engine, run: time.sleep(0.02)  # 100 a second in all
        _, daemon = world.run(Limits(seconds=1.0))
        got = [p.inferred for p in daemon.snapshot().pipelines.values()]
        assert min(got) > 5
        assert min(got) >= 0.7 * max(got), (
            "exact in test_fairness.py; here the sources' threads may be held up"
        )

    def test_two_cameras_share_frame_sets_and_under_overload_what_is_begun_is_completed(
        self, world: World
    ) -> None:
        """Offered three times what the model can do: each inference takes one and a half frame intervals."""
        for name in ("left", "right"):
            world.pattern(name, rate=50.0, seed=len(name))
            world.pipeline(name, name, sync_group="rig")
        world.sync_group("rig", 12.0)  # above half the interval: they may begin at any moment of it
        world.compute = lambda engine, run: time.sleep(0.03)
        _, daemon = world.run(Limits(seconds=1.5))
        left, right = (
            {r.frame_set: r.captured_mono_ns for r in world.results(name)} for name in ("left", "right")
        )
        both = left.keys() & right.keys()
        assert None not in left
        assert all(abs(left[i] - right[i]) <= 12e6 for i in both)
        g = daemon.snapshot().sync_groups["rig"]
        assert g.taken == g.complete + g.partial + g.unseen + g.open
        assert g.complete == len(both)
        assert g.complete >= 0.5 * len(left.keys() | right.keys()), "newest-wins alone completes next to none"

    @pytest.mark.parametrize("instances", [1, 3])
    def test_regions_of_all_cameras_and_instances_add_up(self, world: World, instances: int) -> None:
        """Admitted to the byte, refused one below it, each owner with its figure."""
        world.model("one", instances=instances)
        world.model("two")
        for i, name in enumerate("abcd"):
            world.source(name, 1, size=(64 * (i + 1), 48), live=True)
            world.pipeline(name, name, "two" if name == "d" else "one")
        world.pipeline("also", "a", "two")
        _, daemon = world.run()
        regions = daemon.snapshot().regions
        names = [f"model one#{i}" for i in range(instances)] if instances > 1 else ["model one"]
        ways = {f"pipeline {p} on {m}" for p in "abc" for m in names}
        ways |= {f"pipeline {p} on model two" for p in ("d", "also")}
        assert set(regions) == {*names, *ways, "model two", *(f"source {n}" for n in "abcd")}
        a = daemon.sources["source a"].slots
        assert a is not None
        assert len(a) == 1 + (1 + instances) + (1 + 1), "both pipelines of the source"
        needed = sum(r.nbytes for r in regions.values())
        world.budget(needed)
        assert world.run()[0] is ExitCode.OK
        world.budget(needed - 1)
        code, daemon = world.run()
        assert code is ExitCode.MEMORY
        (error,) = daemon.errors
        rows = {line[14:]: line[:14].strip() for line in error.message.splitlines()[1:]}
        assert rows == {name: format_bytes(r.nbytes) for name, r in regions.items()}
        assert daemon.snapshot().regions == {}


class TestRefusals:
    def test_memory_is_refused_with_figures_before_anything_starts(self, world: World) -> None:
        world.source("a", 1, 2, size=(640, 480))
        world.pipeline("front", "a")
        world.budget(1 << 20)
        code, daemon = world.run()
        assert code is ExitCode.MEMORY
        (error,) = daemon.errors
        assert "3.5 MiB wanted, runtime.memory_budget is 1.0 MiB (2.5 MiB too much)" in error.message
        assert "source a" in error.message
        assert "model m" in error.message
        assert world.sources["a"].opens == 1
        assert world.sources["a"].starts == 0
        assert world.engines["m#0"].runs == 0, "it ran before its memory was admitted"
        assert daemon.snapshot().regions == {}
        assert world.results("front") == []

    def test_what_no_machine_has_is_refused_before_anything_starts(self, world: World) -> None:
        world.source("a", 1, size=(1 << 24, 1 << 24))
        world.pipeline("front", "a")
        code, daemon = world.run()
        assert code is ExitCode.MEMORY
        (error,) = daemon.errors
        assert "TiB wanted, the machine has" in error.message
        assert world.sources["a"].starts == 0
        assert daemon.snapshot().regions == {}

    def test_a_budget_that_just_fits_is_enough(self, world: World) -> None:
        world.source("a", 1)
        world.pipeline("front", "a")
        _, daemon = world.run()
        needed = sum(r.nbytes for r in daemon.snapshot().regions.values())
        world.budget(needed)
        assert world.run()[0] is ExitCode.OK
        world.budget(needed - 1)
        assert world.run()[0] is ExitCode.MEMORY

    def test_all_that_is_wrong_at_boot_is_told_at_once(self, world: World) -> None:
        world.source("a", open_script=(SourceError("source 'a' has gone"),))
        world.source("b", 1)
        world.pipeline("front", "a")
        world.pipeline("rear", "b")
        world.sinks["bus"].open_faults.append(SinkError("sink 'bus': address in use"))

        def load(model: str) -> None:
            raise EngineError("model tiny: unsupported operator")

        world.load = load
        code, daemon = world.run()
        assert code in (ExitCode.SOURCE, ExitCode.ENGINE, ExitCode.SINK), "that of the first"
        assert daemon.core.why == "it could not start"
        assert sorted(e.message for e in daemon.errors) == [
            "model tiny: unsupported operator",
            "sink 'bus': address in use",
            "source 'a' has gone",
        ]
        assert world.sources["b"].starts == 0

    def test_what_the_machine_lacks_is_found_before_anything_is_built(self, world: World) -> None:
        world.source("a", 1)
        world.pipeline("front", "a")
        (world.folder / "m" / "m.onnx").write_bytes(b"damaged")
        with pytest.raises(ConfigError, match=r"models\.m\.path"):
            world.daemon()
        assert world.sources == {}


class TestFaults:
    def test_a_lost_source_costs_only_its_own_pipeline_and_shows_in_the_exit_status(
        self, world: World
    ) -> None:
        lost = threading.Event()
        world.model("other")
        world.source("a", 1, 2, SourceError("source 'a' was unplugged", hint="plug it in"))
        world.source("b", *range(10))
        world.pipeline("front", "a")
        world.pipeline("rear", "b", "other")
        world.compute = lambda engine, run: check(lost.wait(10)) if engine == "other#0" and run == 3 else None
        world.on_event = lambda e: lost.set() if (e.unit, e.state) == ("pipeline front", "faulted") else None
        code, _ = world.run()
        assert code is ExitCode.SOURCE
        assert world.seqs("front") == [0, 1], "what came before the fault is finished"
        assert world.seqs("rear") == list(range(10))
        (fault,) = (e for e in world.events if e.unit == "source a" and e.state == "faulted")
        assert fault.reason == "source 'a' was unplugged"
        assert world.told("pipeline front") == ["running", "faulted"]
        assert world.told("pipeline rear") == ["running", "stopped"]

    def test_an_engine_that_fails_again_and_again_ends_all_with_its_status_and_exact_counts(
        self, world: World, impatient: None
    ) -> None:
        world.source("a", *range(100))
        world.pipeline("front", "a")

        def compute(engine: str, run: int) -> None:
            if run == 4:
                raise EngineError("model tiny: inference failed")

        world.compute = compute
        code, daemon = world.run()
        assert code is ExitCode.ENGINE
        assert daemon.core.why == "model m failed"
        assert len(world.engines) == 4, "three restarts"
        assert len(world.results("front")) == 4 * 4
        assert world.seqs("front")[:4] == [0, 1, 2, 3]
        assert daemon.snapshot().pipelines["front"].failed >= 4
        assert [
            e.reason.partition("; ")[2] for e in world.events if (e.unit, e.state) == ("model m", "faulted")
        ] == [
            *(f"restart {n} of 3" for n in (1, 2, 3)),
            "3 restarts did not help",
        ]

    def test_an_engine_that_fails_once_is_made_anew_and_costs_the_frames_it_had(
        self, world: World, impatient: None
    ) -> None:
        world.model("other")
        world.source("a", *range(20))
        world.source("b", *range(20))
        world.pipeline("front", "a")
        world.pipeline("rear", "b", "other")

        def compute(engine: str, run: int) -> None:
            if (engine, run) == ("m#0", 4):
                raise EngineError("model tiny: inference failed")

        world.compute = compute
        code, daemon = world.run()
        assert code is ExitCode.OK
        p = daemon.snapshot().pipelines["front"]
        assert p.inferred + p.failed == 20
        assert p.failed in (1, 2), "two in flight"
        assert world.seqs("rear") == list(range(20)), "the other model has nothing to do with it"
        assert world.engines["m#0"].closed
        assert world.told("model m") == ["prepared", "running", "faulted", "running", "ended"]
        assert "faulted" in world.told("pipeline front")

    def test_a_sink_that_fails_never_stops_inference(self, world: World) -> None:
        bad = world.sink("bad")
        bad.publish_faults.extend(SinkError(f"sink 'bad': disk full ({i})") for i in range(5))
        world.source("a", *range(30))
        world.pipeline("front", "a", sinks=("bus", "bad"))
        code, daemon = world.run()
        assert code is ExitCode.OK
        assert world.seqs("front", "bus") == list(range(30))
        assert world.told("sink bad")[:2] == ["running", "faulted"]
        assert "disk full (0)" in daemon.errors[0].message

    def test_a_sink_that_hangs_is_named_and_costs_the_others_nothing(self, world: World, hasty: None) -> None:
        stuck = world.sink("stuck")
        stuck.gate.clear()
        world.source("a", *range(30))
        world.pipeline("front", "a", sinks=("bus", "stuck"))
        try:
            daemon = world.daemon()
            assert daemon.run(signals=False) is ExitCode.DRAIN_TIMEOUT
            assert daemon.hanging == ("sink stuck",)
            assert daemon.errors[-1].message == "sink stuck did not stop in time"
            assert world.seqs("front", "bus") == list(range(30))
        finally:
            stuck.gate.set()

    def test_an_engine_that_hangs_is_named_and_what_was_done_is_published(
        self, world: World, hasty: None
    ) -> None:
        hang, hung = threading.Event(), threading.Event()
        world.source("a", *range(10))
        world.pipeline("front", "a")

        def compute(engine: str, run: int) -> None:
            if run == 3:
                hung.set()
                hang.wait()

        world.compute = compute
        daemon = world.daemon()
        try:
            with running(daemon) as codes:
                assert hung.wait(10)
            assert codes == [ExitCode.DRAIN_TIMEOUT]
            assert "model m" in daemon.hanging
            assert "sink bus" not in daemon.hanging
            assert world.seqs("front") == [0, 1, 2]
            last = world.sinks["bus"].messages[-1].body
            assert isinstance(last, State)
            assert last.state == "offline"
        finally:
            hang.set()
            for unit in daemon.units.values():
                assert unit.join(10)
        check_accounts(daemon)

    def test_a_source_whose_open_hangs_does_not_outlive_a_signal(self, world: World, hasty: None) -> None:
        hang, opening = threading.Event(), threading.Event()

        class Hanging(FakeSource):
            def _open(self) -> Any:
                opening.set()
                hang.wait()
                return super()._open()

        world.source("a", 1)
        world.pipeline("front", "a")
        world.makers = replace(world.makers, source=lambda name, entry: Hanging(name, entry.options))
        daemon = world.daemon()
        try:
            with running(daemon) as codes:
                assert opening.wait(10)
            assert codes == [ExitCode.DRAIN_TIMEOUT]
            assert daemon.hanging == ("source a",)
        finally:
            hang.set()
            for unit in daemon.units.values():
                assert unit.join(10)

    def test_boot_says_what_it_waits_for(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(edged.daemon, "PATIENCE_S", 0.0)
        told = threading.Event()

        class Slow(FakeSource):
            def _open(self) -> Any:
                told.wait(10)
                return super()._open()

        class Listener(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                waits = record.getMessage()
                if waits.startswith("still waiting for ") and "source a" in waits:
                    told.set()

        world.source("a", 1)
        world.pipeline("front", "a")
        world.makers = replace(world.makers, source=lambda name, entry: Slow(name, entry.options))
        listener = Listener()
        edged.daemon.log.addHandler(listener)
        try:
            assert world.run()[0] is ExitCode.OK
        finally:
            edged.daemon.log.removeHandler(listener)
        assert told.is_set()

    def test_a_model_slower_than_any_deadline_is_no_fault_at_the_end_of_a_file(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(edged.sources.unit, "LEASE_S", 0.0)
        ended = threading.Event()
        world.source("a", 1, 2, 3)
        world.pipeline("front", "a")
        world.compute = lambda engine, run: check(ended.wait(10)) if run == 2 else None
        code, _ = world.run(on_tick=lambda d: ended.set() if d.pipelines["front"].mailbox.closed else None)
        assert code is ExitCode.OK
        assert world.seqs("front") == [0, 1, 2]

    def test_a_defect_of_the_main_loop_leaves_nobody_running(self, world: World) -> None:
        world.pattern("a")
        world.pipeline("front", "a")

        def defect(daemon: Daemon) -> None:
            if daemon.pipelines["front"].counts().inferred:
                raise ZeroDivisionError("in a hook")

        daemon = world.daemon(on_tick=defect)
        with pytest.raises(ZeroDivisionError):
            daemon.run(signals=False)
        for unit in daemon.units.values():
            assert unit.join(10)

    def test_a_unit_never_waits_for_a_main_loop_that_does_not_read(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.source("a", 1)
        world.pipeline("front", "a")
        daemon = world.daemon()
        for _ in range(edged.instance.INBOX + 1):
            daemon.post(Tick())
        assert "does not read its inbox" in caplog.text


def corner(x: int, y: int) -> Any:
    """A picture of 8x6 whose pixel at x, y alone is white."""
    made = np.zeros((6, 8, 3), np.uint8)
    made[y, x] = 255
    return made


class TestViews:
    """The model gives back what it is shown: relu of the picture, 6x4."""

    AROUND = DewarpOptions(lens="equirectangular", size=(12, 8), yaw=30)

    def _shown(self, r: Result) -> Any:
        assert r.tensors is not None
        return np.frombuffer(r.tensors["y"].data, np.float32).reshape(3, 4, 6)

    def test_a_region_is_all_that_the_model_sees(self, world: World) -> None:
        world.model("relu", engine="onnxruntime")
        world.source("a", corner(2, 1), corner(1, 1), corner(7, 4), size=(8, 6))
        world.pipeline("part", "a", "relu", roi=(2, 1, 6, 4))
        world.pipeline("all", "a")
        code, daemon = world.run()
        assert code is ExitCode.OK
        first, second, third = world.results("part")
        assert (self._shown(first)[:, 0, 0] == 255).all()
        assert self._shown(first).sum() == 3 * 255
        assert self._shown(second).sum() == 0, "one pixel to the left of it"
        assert (self._shown(third)[:, 3, 5] == 255).all()
        assert {(r.frame, r.roi, r.dewarped) for r in (first, second, third)} == {
            ((8, 6), (2, 1, 6, 4), False)
        }
        assert {(r.frame, r.roi) for r in world.results("all")} == {((8, 6), None)}
        copied = daemon.snapshot().pipelines["part"].copied["preprocess"]
        assert copied == 3 * 6 * 4 * 3, "only its pixels are read"

    def test_a_dewarped_view_is_computed_and_its_results_say_so(self, world: World) -> None:
        world.model("relu", engine="onnxruntime")
        rng = np.random.default_rng(2)
        pictures = rng.integers(0, 256, (4, 48, 96, 3), np.uint8)
        world.source("a", *pictures, size=(96, 48))
        world.pipeline("front", "a", "relu", dewarp=self.AROUND)
        assert world.run()[0] is ExitCode.OK
        src, image = FrameSpec(96, 48, PixelFormat.BGR), ImageInput("x", (6, 4))
        table = positions(self.AROUND, src, image)
        for r, data in zip(world.results("front"), pictures, strict=True):
            want = reference.dewarped_levels(src, (data,), image, self.AROUND.size, table)
            assert np.abs(self._shown(r).transpose(1, 2, 0) - np.rint(want)).max() <= 1
            assert (r.frame, r.roi, r.dewarped) == ((12, 8), None, True)

    def test_a_region_that_a_file_lacks_is_refused_before_anything_starts(self, world: World) -> None:
        world.source("a", 1, size=(8, 6))
        world.pipeline("front", "a", roi=(4, 3, 4, 4))
        code, daemon = world.run()
        assert code is ExitCode.CONFIG
        (error,) = daemon.errors
        assert str(error).startswith(
            "source a: pipelines.front.roi: [4, 3, 4, 4] is not inside the picture of 8x6; "
        )

    def test_a_cameras_only_pipeline_waits_for_a_picture_that_fits(self, world: World) -> None:
        world.source("a", 1, 2, size=(8, 6), sizes=((4, 2), (4, 2), (8, 6)), backoff=(0.01, 0.02))
        world.pipeline("front", "a", roi=(4, 2, 4, 4))
        code, daemon = world.run()
        assert code is ExitCode.OK
        assert world.seqs("front") == [0, 1]
        assert [e.message.partition(": [")[0] for e in daemon.errors] == ["source a: pipelines.front.roi"]
        assert world.told("source a")[0] == "faulted"


class TestRecovery:
    """Cameras that come and go. These fakes wait for their readers, so that every frame counts."""

    AGAIN = (0.01, 0.02)

    def test_a_camera_that_is_absent_at_boot_joins_later_and_keeps_nobody_waiting(self, world: World) -> None:
        gone = SourceError("source 'a': no such device /dev/video9", hint="check the cable")
        world.source("a", 1, 2, backoff=self.AGAIN, open_script=(gone, gone))
        world.source("b", *range(5))
        world.pipeline("front", "a")
        world.pipeline("rear", "b")
        code, daemon = world.run()
        assert code is ExitCode.OK
        assert world.seqs("front") == [0, 1]
        assert world.seqs("rear") == list(range(5))
        assert world.told("source a") == ["faulted", "running", "ended"]
        assert [e.message for e in daemon.errors] == [gone.message], "told once, however often it is tried"
        use = daemon.snapshot().sources["a"]
        assert (use.faults, use.frame) == (2, "4x2 BGR")

    def test_a_camera_that_comes_back_with_another_size(self, world: World) -> None:
        world.source(
            *("a", 1, 2, SourceError("source 'a' was unplugged"), 3, 4),
            backoff=self.AGAIN,
            resume=True,
            sizes=((4, 2), (8, 6)),
        )
        world.pattern("b", frames=40)
        world.pipeline("front", "a")
        world.pipeline("rear", "b")
        assert world.run()[0] is ExitCode.OK
        results = world.results("front")
        assert [r.frame for r in results] == [(4, 2), (4, 2), (8, 6), (8, 6)]
        assert [r.frame_seq for r in results] == [0, 1, 0, 1], "the camera counts anew"
        assert [r.seq for r in results] == [0, 1, 2, 3], "edged does not"
        assert world.seqs("rear") == list(range(40)), "the other loses nothing"
        assert world.told("source a") == ["prepared", "running", "faulted", "running", "ended"]
        told = world.told("pipeline front")
        assert "faulted" in told
        assert told[-2:] == ["running", "stopped"]
        back = next(e for e in world.events if e.unit == "source a" and e.was == "faulted")
        assert "1 try" in back.reason

    def test_one_that_comes_back_too_small_for_a_region_faults_that_pipeline_alone(
        self, world: World
    ) -> None:
        world.source(
            *("a", 1, 2, SourceError("source 'a' was unplugged"), 3, 4, 5),
            backoff=self.AGAIN,
            resume=True,
            sizes=((8, 6), (4, 2)),
        )
        world.pipeline("all", "a")
        world.pipeline("part", "a", roi=(4, 2, 4, 4))
        code, daemon = world.run()
        assert code is ExitCode.OK
        assert [r.frame for r in world.results("all")] == [(8, 6)] * 2 + [(4, 2)] * 3
        assert [(r.frame, r.roi) for r in world.results("part")] == [((8, 6), (4, 2, 4, 4))] * 2
        reasons = [
            m.body.pipelines["part"].reason for m in world.sinks["bus"].messages if isinstance(m.body, State)
        ]
        words = "source a: pipelines.part.roi: [4, 2, 4, 4] is not inside the picture of 4x2; "
        assert any(r.startswith(words) for r in reasons)
        assert daemon.snapshot().pipelines["part"].offered == 2

    def test_while_it_is_away_its_pipeline_says_that_it_does_not_look(self, world: World) -> None:
        back = threading.Event()

        class Unplugged(FakeSource):
            def _open(self) -> Any:
                if self.opens:
                    check(back.wait(10))
                return super()._open()

        world.source("a", 1, SourceError("source 'a' was unplugged"), 2, backoff=self.AGAIN, resume=True)
        world.pipeline("front", "a")
        world.makers = replace(world.makers, source=lambda name, entry: Unplugged(name, entry.options))
        seen: list[tuple[str, str, str]] = []

        def look(event: Event) -> None:
            if (event.unit, event.state) == ("pipeline front", "faulted"):
                p, s = daemon.snapshot().pipelines["front"], daemon.snapshot().sources["a"]
                seen.append((p.state, p.reason, s.state))
                back.set()

        world.on_event = look
        daemon = world.daemon()
        assert daemon.run(signals=False) is ExitCode.OK
        assert seen == [("faulted", "source 'a' was unplugged", "faulted")]
        states = [m.body.pipelines["front"] for m in world.sinks["bus"].messages if isinstance(m.body, State)]
        assert PipelineState("faulted", "source 'a' was unplugged") in states
        assert [s.state for s in states[-2:]] == ["stopped", "stopped"]

    def test_a_camera_in_an_endless_loop_is_one_line_and_a_degraded_pipeline(self, world: World) -> None:
        falls = [x for n in range(12) for x in (n, SourceError("source 'a': brown-out"))]
        world.source("a", *falls, 12, backoff=self.AGAIN, resume=True)
        world.pipeline("front", "a")
        code, daemon = world.run()
        assert code is ExitCode.OK
        assert len(world.results("front")) == 13
        assert world.told("source a").count("looping") == 1
        assert world.told("source a").count("faulted") <= 5, "four falls, and that memory is made anew"
        assert daemon.errors[-1].message.startswith("source a comes and goes: 5 faults within 60 s")
        assert daemon.snapshot().sources["a"].faults == 12

    def test_a_loop_that_ends_with_the_camera_away_is_not_told_as_its_return(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(edged.recovery, "STABLE_S", 0.3)
        falls = [x for n in range(5) for x in (n, SourceError("source 'a': brown-out"))]
        gone = SourceError("source 'a': no such device")
        opens = (None,) * 5 + (gone,) * 999
        world.source("a", *falls, backoff=self.AGAIN, resume=True, open_script=opens)
        world.pipeline("front", "a")
        daemon = world.daemon()
        world.on_event = lambda e: daemon.stop() if e.was == "looping" else None
        assert daemon.run(signals=False) is ExitCode.OK
        assert world.told("source a")[-2:] == ["looping", "faulted"]
        assert caplog.messages[-1] == "source a: stays away: source 'a': no such device"

    def test_a_camera_that_is_away_costs_the_end_nothing(self, world: World) -> None:
        gone = SourceError("source 'a': no such device /dev/video9")
        world.source("a", 1, backoff=(60.0, 60.0), open_script=(gone,) * 9)
        world.pattern("b", rate=100.0)
        world.pipeline("front", "a")
        world.pipeline("rear", "b")
        daemon = world.daemon()
        with running(daemon) as codes:
            world.sinks["bus"].wait_for(5)
        assert codes == [ExitCode.OK]
        assert daemon.hanging == ()
        assert world.sources["a"].opens == 1
        check_accounts(daemon)


class TestLimits:
    @pytest.mark.parametrize("live", [True, False])
    @pytest.mark.parametrize("instances", [1, 2])
    def test_frames_are_exactly_as_many_as_asked_for_a_pipeline(
        self, world: World, live: bool, instances: int
    ) -> None:
        world.model(instances=instances, in_flight=2)
        world.pattern("a", rate=2000.0 if live else None)
        world.pattern("b")
        world.pipeline("front", "a")
        world.pipeline("rear", "b")
        code, daemon = world.run(Limits(frames=7))
        assert code is ExitCode.OK
        assert daemon.core.why == "every pipeline has ended"
        assert [r.seq for r in world.results("front")] == list(range(7))
        assert len(world.results("rear")) == 7
        p = daemon.snapshot().pipelines["front"]
        assert sum(r.dropped for r in world.results("front")) == p.dropped

    def test_a_file_that_is_shorter_ends_earlier(self, world: World) -> None:
        world.source("a", 1, 2)
        world.pipeline("front", "a")
        assert world.run(Limits(frames=5))[0] is ExitCode.OK
        assert world.seqs("front") == [0, 1]

    def test_seconds_count_from_when_the_units_were_let_go(self, world: World) -> None:
        world.pattern("a")
        world.pipeline("front", "a")
        code, daemon = world.run(Limits(seconds=0.3))
        assert code is ExitCode.OK
        assert daemon.core.why == "its seconds are over"
        assert 0.3 <= daemon.snapshot().wall_s < 5
        assert daemon.snapshot().wall_s == daemon.snapshot().wall_s, "the end is the end"

    def test_asking_to_stop_from_another_thread_drains(self, world: World) -> None:
        world.pattern("a")
        world.pipeline("front", "a")
        daemon = world.daemon()
        with running(daemon) as codes:
            world.sinks["bus"].wait_for(20)
        assert codes == [ExitCode.OK]
        assert daemon.core.why == "asked to stop"
        p = check_accounts(daemon).pipelines["front"]
        assert world.seqs("front") == list(range(p.inferred)), "every result was published"
        assert p.dropped == 0, "what was accepted is finished"


class TestAnnouncements:
    def test_states_and_events_frame_the_results(self, world: World) -> None:
        world.source("a", 1)
        world.pipeline("front", "a")
        world.run()
        bodies = [m.body for m in world.sinks["bus"].messages]
        states = [b for b in bodies if isinstance(b, State)]
        events = [b for b in bodies if isinstance(b, Event)]
        over = PipelineState("stopped", "no frame comes any more")
        assert [(s.state, s.pipelines) for s in states] == [
            ("online", {"front": PipelineState("starting", "source a is not open yet")}),
            ("online", {"front": PipelineState("running")}),
            ("online", {"front": over}),
            ("offline", {"front": over}),
        ]
        assert [e.seq for e in events] == list(range(1, len(events) + 1))
        assert events[0].was is None
        assert {e.unit for e in events} == {"source a", "model m", "sink bus", "pipeline front"}
        topics = {m.cls: m.topic for m in world.sinks["bus"].messages}
        assert topics["state"] == "edged/robot-7/state"
        assert topics["event"] == "edged/robot-7/event"
        sessions = {b.session_id for b in bodies}
        assert len(sessions) == 1

    def test_each_run_is_a_session_of_its_own(self, world: World) -> None:
        world.source("a", 1)
        world.pipeline("front", "a")
        one, two = world.daemon(), world.daemon()
        assert one.identity.session_id != two.identity.session_id
        assert one.identity.device == "robot-7"


def test_settings_of_the_process_are_put_back(world: World) -> None:
    world.source("a", 1)
    world.pipeline("front", "a")
    before = sys.getswitchinterval(), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    during: list[Any] = []

    def look(daemon: Daemon) -> None:
        during[:] = [
            sys.getswitchinterval(),
            signal.getsignal(signal.SIGTERM),
            signal.getsignal(signal.SIGINT),
        ]

    daemon = world.daemon(on_tick=look)
    assert daemon.run() is ExitCode.OK
    assert during[0] == pytest.approx(0.0005)
    assert during[1] != before[1]
    after = sys.getswitchinterval(), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert after == before
    assert gc.get_freeze_count() == 0


def test_the_first_signal_asks_and_the_next_is_the_systems_own(world: World) -> None:
    world.pattern("a")
    world.pipeline("front", "a")
    handlers: list[Any] = []

    def interrupt(daemon: Daemon) -> None:
        if not handlers and daemon.pipelines["front"].counts().inferred:
            signal.raise_signal(signal.SIGINT)
            handlers.extend(signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM))

    daemon = world.daemon(on_tick=interrupt)
    assert daemon.run() is ExitCode.OK
    assert daemon.core.why == "signal"
    assert handlers[:2] == [signal.SIG_DFL, signal.SIG_DFL], "a second one of either kind ends at once"


def test_a_defect_in_the_main_loop_is_the_end_before_anything_is_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pattern("a")
    world.pipeline("front", "a")
    said: list[bool] = []

    def tick(daemon: Daemon) -> None:
        if not daemon.ready():
            said.append(daemon.stopping)
            raise KeyError("stranger")

    daemon = world.daemon(on_tick=tick)
    source = daemon.sources["source a"]
    monkeypatch.setattr(source, "stop", lambda: said.append(daemon.stopping) or SourceUnit.stop(source))  # type: ignore[func-returns-value]
    with pytest.raises(KeyError, match="stranger"):
        daemon.run(signals=False)
    assert said == [False, True]
    assert daemon.core.phase == "running"
    assert all(unit.join(10) for unit in daemon.standing.units)


def test_errors_kept_are_bounded(world: World) -> None:
    world.source("a", 1)
    world.pipeline("front", "a")
    daemon = world.daemon()
    for i in range(300):
        daemon.telling.error(EdgedError(str(i)))
    assert [e.message for e in daemon.errors] == [str(i) for i in range(200, 300)]
