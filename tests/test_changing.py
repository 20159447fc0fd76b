"""A daemon that is changed while it runs: real threads, fakes at the edges. The phases alone: test_phases.py."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edged.changing
import edged.liveness
import edged.sinks.worker
from edged.config.machine import inspect_machine
from edged.config.schema import Backend, DeliverConfig, DeviceConfig
from edged.daemon import Daemon, Limits
from edged.engines.fake import Arrays, FakeEngine
from edged.errors import ConfigError, EngineError, ExitCode, MemoryRefused, SinkError, SourceError
from edged.interfaces import Sink, Source
from edged.messages import Result
from edged.sinks.fake import FakeSink
from edged.sources.fake import FakeSource
from edged.sources.unit import SourceUnit
from edged.steering import Busy, NoSuchThing
from tests.test_daemon import World, X, Y, check, check_accounts, impatient, running

__all__ = ["impatient"]  # a fixture
GREY = tuple(range(200)) * 500  # what a fake camera sees, for longer than any test


class Shared:
    """A camera that only one may have open."""

    def __init__(self) -> None:
        self.open_by: list[str] = []
        self.refuses: set[int] = set()  # sizes that it cannot deliver


class Camera(FakeSource):
    """Fails to open while another has it, as the kernel says EBUSY."""

    def __init__(self, name: str, entry: Backend, shared: Shared) -> None:
        super().__init__(name, entry.options)
        self._shared = shared
        self._has = False

    def _open(self) -> Any:
        if self._shared.open_by:
            raise SourceError(f"source '{self.name}' is busy")
        if self.options.size[0] in self._shared.refuses:
            raise MemoryRefused(f"source '{self.name}' has no memory for {self.options.size}")
        self._shared.open_by.append(self.name)
        self._has = True
        return super()._open()

    def _close(self) -> None:
        super()._close()
        if self._has:
            self._has = False
            self._shared.open_by.remove(self.name)


class Moving(World):
    """A world that runs while its configuration is changed. Each sink and camera is a new object."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.made: dict[str, list[FakeSink]] = defaultdict(list)
        self.open_faults: dict[str, list[Exception]] = defaultdict(list)  # of the next sink of that name
        self.arrived = threading.Condition()
        self.camera = Shared()
        self.daemon_: Daemon

    def _sink(self, name: str, entry: Backend, identity: Any) -> Sink:
        made = FakeSink(name)
        made._arrived = self.arrived  # one condition for all, so that a test can wait for any of them
        made.open_faults.extend(self.open_faults.pop(name, ()))
        self.made[name].append(made)
        return made

    def _source(self, name: str, entry: Backend) -> Source:
        if entry.kind == "fake" and entry.options.exclusive:
            self.sources[name] = Camera(name, entry, self.camera)
            return self.sources[name]
        return super()._source(name, entry)

    def can_hang(self, engine: str) -> tuple[threading.Event, threading.Event, threading.Event]:
        """Set the first, and the engine's next job hangs, which sets the second, until the third is set."""
        slow, hangs, gate = threading.Event(), threading.Event(), threading.Event()

        def compute(name: str, run: int) -> None:
            if name == engine and slow.is_set():
                slow.clear()
                hangs.set()
                check(gate.wait(10))

        self.compute = compute
        return slow, hangs, gate

    def deliver(self, name: str, queue_size: int) -> None:
        """Another entry of a sink."""
        deliver = DeliverConfig(result="queue", queue_size=queue_size)
        self._put("sinks", name, Backend(kind="fake", options=None, deliver=deliver))

    def watch(self, name: str = "a", width: int = 4, **keys: Any) -> None:
        """A camera that only one may have open."""
        self.source(name, *GREY, live=True, exclusive=True, size=(width, 2), backoff=(0.01, 0.02), **keys)

    def remove(self, group: str, name: str) -> None:
        table = {k: v for k, v in getattr(self.config, group).items() if k != name}
        self.config = msgspec.structs.replace(self.config, **{group: table})

    @contextmanager
    def running(self) -> Iterator[Daemon]:
        booted = threading.Event()
        self.daemon_ = self.daemon(on_tick=lambda d: booted.set() if not d.ready() else None)
        with running(self.daemon_) as codes:
            assert booted.wait(10), self.daemon_.ready()
            yield self.daemon_
        assert codes == [ExitCode.OK]
        check_accounts(self.daemon_)

    def ask(self) -> Future[tuple[str, ...]]:
        return self.daemon_.change(self.config, inspect_machine(self.config).models)

    def change(self) -> tuple[str, ...]:
        """Make the daemon run the configuration as it is now; the pipelines that this touched."""
        return self.ask().result(20)

    def refused(self) -> Exception:
        """Why it does not; the configuration is put back."""
        error = self.ask().exception(20)
        assert isinstance(error, Exception)
        self.config = self.daemon_.standing.parts.config
        return error

    def steer(self, name: str, verb: Any) -> str:
        return self.daemon_.pipeline(name, verb).result(20)

    def results(self, pipeline: str, sink: str = "bus") -> list[Result]:
        bodies = (m.body for made in self.made[sink] for m in list(made.messages))
        return [b for b in bodies if isinstance(b, Result) and b.pipeline == pipeline]

    def more(self, *pipelines: str, count: int = 3) -> None:
        """Wait for so many further results of each."""
        for name in pipelines:
            target = len(self.results(name)) + count
            with self.arrived:
                arrived = self.arrived.wait_for(lambda n=name, t=target: len(self.results(n)) >= t, 10)  # type: ignore[misc]
            assert arrived, f"{name}: {self.daemon_.healths()[name]}"

    def numbers(self, pipeline: str, sink: str = "bus") -> list[int]:
        return [r.seq for r in self.results(pipeline, sink)]

    def lost(self, pipeline: str) -> int:
        p = self.daemon_.snapshot().pipelines[pipeline]
        return p.lost + p.failed


def whole(numbers: Sequence[int], first: int = 0) -> bool:
    """From the first on no number is missing, none comes twice, and all are in order."""
    return list(numbers) == list(range(first, first + len(numbers)))


def eventually(world: Moving, holds: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, world.daemon_.healths()
        time.sleep(0.005)


@pytest.fixture
def world(tmp_path: Path) -> Moving:
    """One pipeline that nothing but the reader paces, so that each of its frames counts."""
    made = Moving(tmp_path)
    made.model()
    made.deliver("bus", 10_000)
    made.pattern("a")
    made.pipeline("front", "a")
    return made


class TestPipelines:
    def test_one_more_on_the_same_camera_and_model_costs_the_first_no_frame(self, world: Moving) -> None:
        with world.running() as daemon:
            before = daemon.pipelines["front"]
            world.more("front")
            world.pipeline("rear", "a")
            assert world.change() == ("rear",)
            world.more("rear", "front")
            assert daemon.pipelines["front"] is before
            assert set(daemon.healths()) == {"front", "rear"}
        assert whole(world.seqs("front"))
        assert whole(world.numbers("rear"))
        rear = world.seqs("rear")
        assert whole(rear, rear[0])
        assert world.lost("rear") == 0, "frames before it was there are none of its"

    def test_one_is_replaced_and_numbers_and_counts_go_on(self, world: Moving) -> None:
        with world.running() as daemon:
            world.more("front")
            world.pipeline("front", "a", min_score=0.5)
            assert world.change() == ("front",)
            world.more("front")
        assert whole(world.numbers("front"))
        assert whole(world.seqs("front")), "not a frame is lost between the two"
        p = daemon.snapshot().pipelines["front"]
        assert p.inferred == len(world.results("front"))
        assert p.stages["infer"].count == p.inferred

    def test_one_is_removed(self, world: Moving) -> None:
        world.pipeline("rear", "a")
        with world.running() as daemon:
            world.more("rear")
            rear = daemon.pipelines["rear"]
            world.remove("pipelines", "rear")
            assert world.change() == ()
            assert rear.over
            last = rear.counts()
            assert last.offered == last.inferred + last.dropped
            world.more("front", count=5)
            assert rear.counts() == last
            assert set(daemon.snapshot().pipelines) == set(daemon.healths()) == {"front"}
            assert not any("rear" in name for name in daemon.snapshot().regions)
        assert world.told("pipeline rear")[-1] == "stopped"
        assert whole(world.seqs("front"))

    def test_nothing_different_touches_nothing(self, world: Moving) -> None:
        with world.running() as daemon:
            before = dict(daemon.standing.parts.named())
            assert world.change() == ()
            assert dict(daemon.standing.parts.named()) == before

    def test_what_stood_on_one_camera_may_stand_on_another(self, world: Moving) -> None:
        world.pattern("b", seed=3)
        with world.running() as daemon:
            world.more("front")
            world.pipeline("front", "b")
            assert world.change() == ("front",)
            world.more("front")
            assert set(daemon.sources) == {"source b"}
        assert {r.source for r in world.results("front")} == {"a", "b"}
        assert whole(world.numbers("front"))

    def test_a_view_that_the_pictures_lack_is_refused(self, world: Moving) -> None:
        with world.running():
            world.pipeline("part", "a", roi=(6, 6, 8, 8))
            assert isinstance(world.refused(), ConfigError)
            world.more("front")
        assert whole(world.seqs("front"))

    def test_members_of_a_sync_group_are_replaced_with_it(self, world: Moving) -> None:
        world.pattern("b", seed=3)
        world.pipeline("rear", "b", sync_group="rig")
        world.pipeline("front", "a", sync_group="rig")
        world.sync_group("rig", 5.0)
        with world.running() as daemon:
            world.more("front", "rear")
            before = daemon.snapshot().sync_groups["rig"].taken
            world.sync_group("rig", 10.0)
            assert sorted(world.change()) == ["front", "rear"]
            world.more("front", "rear")
            assert daemon.snapshot().sync_groups["rig"].taken >= before, "a counter never falls"
        ids = [r.frame_set for r in world.results("front")]
        assert len(set(ids)) == len(ids)


class TestCameras:
    def test_more_slots_interrupt_a_camera_once_however_often_it_is_changed(self, world: Moving) -> None:
        world.pattern("a", rate=500.0)
        with world.running() as daemon:
            unit = daemon.sources["source a"]
            begun = Counter[str]()
            started = unit.source.start

            def start(slots: Any) -> None:
                begun["starts"] += 1
                started(slots)

            unit.source.start = start  # type: ignore[method-assign]
            for _ in range(5):
                world.pipeline("rear", "a")
                world.change()
                world.more("rear", "front")
                world.remove("pipelines", "rear")
                world.change()
            assert begun["starts"] == 1
            assert unit.slots is not None
            assert len(unit.slots) == 5, "they do not shrink"
        assert whole(world.numbers("front"))

    def test_one_that_only_one_may_open_is_closed_first(self, world: Moving) -> None:
        world.watch("a", 4)
        with world.running():
            world.more("front")
            world.watch("a", 8)
            assert world.change() == ("front",)
            world.more("front")
        assert [r.frame[0] for r in world.results("front")][-1] == 8
        assert whole(world.numbers("front"))

    def test_its_refused_successor_leaves_the_old_one_running(self, world: Moving) -> None:
        """What does not fit is known only when the old one is closed; then that one comes back."""
        world.watch("a", 4)
        with world.running() as daemon:
            world.more("front")
            daemon.budget.limit = daemon.budget.held + (1 << 20)
            world.watch("a", 1 << 20)
            error = world.refused()
            assert isinstance(error, MemoryRefused), error
            world.more("front")
            assert daemon.sources["source a"].spec is not None
            assert daemon.sources["source a"].spec.width == 4
        assert {r.frame[0] for r in world.results("front")} == {4}
        assert whole(world.numbers("front"))

    def test_one_that_is_absent_is_no_refusal_but_declared(self, world: Moving) -> None:
        with world.running() as daemon:
            gone = SourceError("source 'b': no such device")
            world.source("b", 1, backoff=(60.0, 60.0), open_script=(gone,) * 9)
            world.pipeline("rear", "b")
            assert world.change() == ("rear",)
            world.more("front")
            assert str(daemon.healths()["rear"]).startswith("faulted: source 'b': no such device")
            assert daemon.ready() == ""
            assert daemon.alive() == ""
        assert whole(world.seqs("front"))

    def test_a_file_that_is_not_there_is_a_refusal(self, world: Moving) -> None:
        with world.running() as daemon:
            world.source("b", 1, open_script=(SourceError("source 'b' cannot be read"),))
            world.pipeline("rear", "b")
            assert isinstance(world.refused(), SourceError)
            assert set(daemon.pipelines) == {"front"}
            world.more("front")
        assert whole(world.seqs("front"))

    def test_a_pipeline_that_is_added_to_a_file_at_its_end_opens_it_again(self, world: Moving) -> None:
        world.source("b", *range(5))
        world.pipeline("rear", "b")
        with world.running() as daemon:
            world.more("rear", count=5 - len(world.results("rear")))
            while daemon.healths()["rear"].state != "stopped":
                world.more("front")
            world.pipeline("again", "b")
            assert sorted(world.change()) == ["again", "rear"]
            world.more("again", count=5 - len(world.results("again")))
        assert world.seqs("again") == [0, 1, 2, 3, 4]
        assert whole(world.numbers("rear"))


class TestModels:
    def test_one_is_replaced_and_not_a_frame_is_lost(self, world: Moving) -> None:
        with world.running():
            world.more("front")
            world.model("m", in_flight=1)
            assert world.change() == ("front",)
            world.more("front")
        assert whole(world.seqs("front"))
        assert whole(world.numbers("front"))
        assert world.engines["m#0"].closed
        assert world.engines["m#1"].runs > 0

    def test_more_instances_of_one(self, world: Moving) -> None:
        with world.running() as daemon:
            world.model("m", instances=3)
            world.change()
            world.more("front")
            assert set(daemon.runners) == {"model m#0", "model m#1", "model m#2"}
            world.model("m")
            world.change()
            world.more("front")
            assert set(daemon.runners) == {"model m"}
        assert whole(world.seqs("front"))

    def test_a_camera_that_joins_a_files_model_waits_for_no_second_job(self, world: Moving) -> None:
        with world.running() as daemon:
            (runner,) = daemon.runners.values()
            assert runner._ahead == 2
            world.pattern("b", rate=200.0)
            world.pipeline("rear", "b")
            world.change()
            world.more("rear", "front")
            assert daemon.runners["model m"] is runner
            assert runner._ahead == 1
            world.remove("pipelines", "rear")
            world.change()
            world.more("front")
            assert runner._ahead == 2
        assert whole(world.seqs("front"))

    def test_another_file_in_the_same_directory_is_another_model(self, world: Moving) -> None:
        with world.running():
            toml = world.folder / "m" / "model.toml"
            toml.write_text(toml.read_text().replace('version = "m"', 'version = "m2"'))
            assert world.change() == ("front",)
            world.more("front")
        assert world.results("front")[-1].model.version == "m2"

    def test_one_that_does_not_load_leaves_the_old_one_running(self, world: Moving) -> None:
        with world.running() as daemon:
            world.more("front")

            def load(model: str) -> None:
                raise EngineError(f"model {model}: unsupported operator")

            world.load = load
            world.model("m", in_flight=1)
            held = daemon.budget.held
            assert str(world.refused()).startswith("model m: unsupported operator")
            world.more("front")
            assert daemon.budget.held == held
            assert daemon.snapshot().models["m"].state == "running"
            assert daemon.core.code is ExitCode.OK
        assert whole(world.seqs("front"))

    def test_memory_is_refused_with_all_figures_before_anything_stops(self, world: Moving) -> None:
        with world.running() as daemon:
            world.more("front")
            before = dict(daemon.standing.parts.named())
            world.model("other")
            world.pattern("b")
            world.pipeline("rear", "b", "other")
            world.pipeline("front", "a", min_score=0.5)
            daemon.budget.limit = daemon.budget.held + 1
            error = world.refused()
            assert isinstance(error, MemoryRefused)
            for owner in (
                "model other",
                "source b",
                "pipeline rear on model other",
                "pipeline front on model m",
            ):
                assert owner in error.message
            assert dict(daemon.standing.parts.named()) == before
            world.more("front")
        assert whole(world.seqs("front"))

    def test_two_share_one_and_the_other_loses_nothing(self, world: Moving) -> None:
        world.pattern("b", seed=2)
        world.pipeline("rear", "b")
        with world.running():
            world.more("front", "rear")
            for score in (0.1, 0.2, 0.3):
                world.pipeline("rear", "b", min_score=score)
                assert world.change() == ("rear",)
                world.more("rear")
        assert whole(world.seqs("front"))
        assert whole(world.numbers("rear"))


class TestSinks:
    def test_a_replaced_one_stops_before_its_successor_opens_and_no_result_is_lost(
        self, world: Moving
    ) -> None:
        with world.running() as daemon:
            world.more("front")
            world.deliver("bus", 5000)
            assert world.change() == ()
            world.more("front")
            old, new = world.made["bus"]
            assert (old.closes >= 1, new.opens) == (True, 1)
            assert daemon.snapshot().sinks["bus"].published >= len(old.messages) + 3, "a counter never falls"
        assert whole(world.seqs("front"))
        check_accounts(daemon)

    def test_one_that_cannot_open_is_a_refusal_and_the_old_one_is_back(self, world: Moving) -> None:
        with world.running() as daemon:
            world.more("front")
            world.open_faults["bus"] = [SinkError("sink 'bus': address in use")] * 99
            world.deliver("bus", 5000)
            assert isinstance(world.refused(), SinkError)
            world.more("front")
            assert daemon.snapshot().sinks["bus"].state == "running"
        assert len(world.made["bus"]) == 3

    def test_a_pipeline_may_get_another_one_without_being_touched(self, world: Moving) -> None:
        with world.running() as daemon:
            before = daemon.pipelines["front"]
            world.deliver("log", 10_000)
            world.pipeline("front", "a", sinks=("bus", "log"))
            assert world.change() == ()
            assert daemon.pipelines["front"] is before
            world.more("front")
            world.pipeline("front", "a", sinks=("bus",))
            world.remove("sinks", "log")
            assert world.change() == ()
            world.more("front")
            assert set(daemon.snapshot().sinks) == {"bus"}
        assert whole(world.seqs("front"))
        log = world.seqs("front", "log")
        assert log
        assert whole(log, log[0])


class TestLeftBehind:
    def test_a_file_that_opens_after_its_change_was_undone_harms_nothing(
        self, world: Moving, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(edged.changing, "OPEN_S", 0.1)
        monkeypatch.setattr(edged.changing, "CLOSE_S", 0.1)
        gate = threading.Event()

        class Slow(FakeSource):
            def _open(self) -> Any:
                check(gate.wait(10))
                return super()._open()

        with world.running() as daemon:
            builder = daemon.standing._builder
            slow = replace(builder.makers, source=lambda name, entry: Slow(name, entry.options))
            daemon.standing._builder = replace(builder, makers=slow)
            world.source("b", 1)
            world.pipeline("rear", "b")
            assert "has not opened within" in str(world.refused())
            gate.set()
            eventually(world, lambda: len(daemon.standing.things) == 4)
            world.more("front")
            assert len(daemon.core.roster.kinds) == 4
        assert whole(world.seqs("front"))

    def test_a_job_that_outlives_its_pipeline_is_dropped_and_its_result_comes_to_nobody(
        self, world: Moving, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("FINISH_S", "DROP_S", "CLOSE_S"):
            monkeypatch.setattr(edged.changing, name, 0.1)
        slow, hangs, gate = world.can_hang("m#0")
        world.model("n")
        with world.running() as daemon:
            world.more("front")
            slow.set()
            assert hangs.wait(10)
            left = daemon.pipelines["front"]
            world.pipeline("front", "a", "n")
            assert world.change() == ("front",)
            world.more("front")
            assert "model m of change 0" in daemon.standing.things
            gate.set()
            eventually(world, lambda: len(daemon.standing.things) == 4)
            assert left.over
            world.more("front")
        assert whole(world.numbers("front"))
        frames = world.seqs("front")
        assert frames == sorted(set(frames))

    def test_a_pipeline_is_replaced_twice_while_the_first_still_hangs(
        self, world: Moving, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("FINISH_S", "DROP_S", "CLOSE_S"):
            monkeypatch.setattr(edged.changing, name, 0.1)
        slow, hangs, gate = world.can_hang("m#0")
        world.model("m", instances=2)
        with world.running() as daemon:
            world.more("front")
            slow.set()
            assert hangs.wait(10)
            ways = daemon.sources["source a"]._ways
            for left in range(3):
                world.pipeline("front", "a", roi=(0, 0, 8 - 2 * left, 8))
                assert world.change() == ("front",)
                world.more("front")
                assert all(w in ways.bound for w in ways.wanted)
                owners = [w.owner for w in ways.bound]
                assert len(set(owners)) == len(owners)
            gate.set()
            eventually(world, lambda: len(ways.bound) == 2)
        assert whole(world.numbers("front"))

    def test_a_pipeline_that_came_and_went_while_its_camera_was_away_holds_up_nothing(
        self, world: Moving
    ) -> None:
        gone = SourceError("source 'b': no such device")
        world.source("b", *GREY, live=True, backoff=(60.0, 60.0), open_script=(gone,) * 9)
        world.pipeline("rear", "b")
        with world.running() as daemon:
            world.pipeline("more", "b")
            world.change()
            more = daemon.pipelines["more"]
            world.remove("pipelines", "more")
            begun = time.monotonic()
            world.change()
            assert time.monotonic() - begun < edged.changing.FINISH_S
            assert more.over


class TestOrders:
    def test_what_cannot_change_while_running_is_named(self, world: Moving) -> None:
        with world.running():
            world.config = msgspec.structs.replace(world.config, device=DeviceConfig(id="other"))
            error = world.refused()
            assert isinstance(error, ConfigError)
            (problem,) = error.problems
            assert (problem.path, problem.hint) == ("device.id", "restart edged with this file")

    def test_one_change_at_a_time(self, world: Moving) -> None:
        loading, gate = threading.Event(), threading.Event()
        with world.running():

            def load(model: str) -> None:
                loading.set()
                check(gate.wait(10))

            world.load = load
            world.model("m", in_flight=1)
            first = world.ask()
            assert loading.wait(10)
            assert isinstance(world.ask().exception(10), Busy)
            assert isinstance(world.daemon_.pipeline("front", "restart").exception(10), Busy)
            gate.set()
            assert first.result(10) == ("front",)

    def test_a_stop_in_the_middle_of_a_change_ends_both(self, world: Moving) -> None:
        loading, gate = threading.Event(), threading.Event()
        with world.running() as daemon:

            def load(model: str) -> None:
                loading.set()
                check(gate.wait(10))

            world.load = load
            world.model("m", in_flight=1)
            first = world.ask()
            assert loading.wait(10)
            daemon.stop()
            assert isinstance(first.exception(10), Busy)
            gate.set()
        assert isinstance(world.ask().exception(1), Busy), "and so is what comes afterwards"

    def test_pause_and_resume(self, world: Moving) -> None:
        world.pipeline("rear", "a")
        with world.running() as daemon:
            assert world.steer("front", "pause").startswith("paused")
            world.more("rear", count=10)
            paused = len(world.results("front"))
            world.more("rear", count=10)
            assert len(world.results("front")) == paused
            assert daemon.ready() == daemon.alive() == ""
            assert world.steer("front", "resume").startswith("starting")
            world.more("front")
        assert whole(world.numbers("front"))
        assert whole(world.seqs("rear"))
        assert world.lost("front") == 0
        assert "paused" in world.told("pipeline front")

    def test_a_file_waits_while_all_that_read_it_are_paused(self, world: Moving) -> None:
        with world.running():
            world.steer("front", "pause")
            world.steer("front", "resume")
            world.more("front")
        skipped = world.daemon_.snapshot().pipelines["front"].skipped
        assert skipped <= 1

    def test_paused_stays_paused_whatever_is_changed(self, world: Moving) -> None:
        """Somebody may not want to be seen: a change, or its end, is no leave to look."""
        world.pipeline("rear", "a")
        with world.running() as daemon:
            world.steer("front", "pause")
            world.more("rear")  # the frame that was on its way is through
            seen = daemon.snapshot().pipelines["front"].offered
            was = world.config
            world.model("m", in_flight=1)
            assert world.change() == ("front", "rear")
            world.pipeline("front", "a", min_score=0.1)
            assert world.change() == ("front",)
            world.more("rear")
            assert daemon.snapshot().pipelines["front"].offered == seen
            world.remove("pipelines", "front")
            assert world.change() == ()
            world.config = was  # as a trial that is undone
            assert world.change() == ("front", "rear")
            world.more("rear")
            front = daemon.snapshot().pipelines["front"]
            assert (front.state, front.offered) == ("paused", 0)
            world.steer("front", "resume")
            world.more("front")

    def test_memory_goes_back_once_a_model_was_closed(
        self, world: Moving, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given: list[bool] = []
        monkeypatch.setattr("edged.helm.give_back_memory", lambda: given.append(True))
        with world.running():
            world.pipeline("front", "a", min_score=0.1)
            world.change()
            assert given == []
            world.model("m", in_flight=1)
            world.change()
            assert given == [True]

    def test_restart_opens_the_camera_anew_with_new_memory(self, world: Moving) -> None:
        world.watch()
        with world.running() as daemon:
            before, region = daemon.pipelines["front"], daemon.sources["source a"].regions["source a"]
            world.more("front")
            world.steer("front", "restart")
            world.more("front")
            assert daemon.pipelines["front"] is not before
            assert not region.is_open
        assert whole(world.numbers("front"))

    def test_restart_tries_a_camera_at_once_that_was_to_wait(self, world: Moving) -> None:
        gone = SourceError("source 'b': no such device")
        world.source("b", *GREY, live=True, backoff=(60.0, 60.0), open_script=(gone,))
        world.pipeline("rear", "b")
        with world.running() as daemon:
            world.source("b", *GREY, live=True, backoff=(60.0, 60.0))
            makers = world.makers
            script = world.config.sources["b"]
            builder = daemon.standing._builder
            daemon.standing._builder = replace(  # plugged in again
                builder, makers=replace(makers, source=lambda name, entry: FakeSource(name, script.options))
            )
            world.steer("rear", "restart")
            world.more("rear")

    def test_a_name_that_is_not_there_gets_a_suggestion(self, world: Moving) -> None:
        with world.running() as daemon:
            error = daemon.pipeline("fromt", "pause").exception(10)
            assert isinstance(error, NoSuchThing)
            assert "front" in error.hint


class TestLiveness:
    def test_an_engine_that_hangs_is_seen(self, world: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(edged.liveness, "JOB_S", 0.0)
        monkeypatch.setattr(edged.liveness, "JOB_USUAL", 0.0)
        hung, gate = threading.Event(), threading.Event()

        def compute(engine: str, run: int) -> None:
            if run == 20:
                hung.set()
                check(gate.wait(10))

        world.compute = compute
        with world.running() as daemon:
            assert hung.wait(10)
            assert daemon.alive().startswith("model m: an inference has taken")
            gate.set()

    def test_an_engine_that_hangs_while_it_is_loaded_again_is_seen(
        self, world: Moving, monkeypatch: pytest.MonkeyPatch, impatient: None
    ) -> None:
        broken, gate, loads = threading.Event(), threading.Event(), Counter[str]()

        def load(model: str) -> None:
            loads[model] += 1
            if loads[model] > 1:
                check(gate.wait(10))

        def compute(engine: str, run: int) -> None:
            if engine == "m#0" and broken.is_set():
                raise EngineError("model m: inference failed")

        world.load, world.compute = load, compute
        with world.running() as daemon:
            monkeypatch.setattr(edged.liveness, "CALL_S", {**edged.liveness.CALL_S, "load": 0.1})
            monkeypatch.setattr(edged.liveness, "job_limit_s", lambda runner: 0.0)
            broken.set()
            eventually(world, lambda: daemon.alive().startswith("model m: its load has taken"))
            gate.set()

    def test_a_slow_models_first_inference_is_judged_by_its_warm_up(
        self, world: Moving, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(edged.liveness, "JOB_S", 0.01)

        def compute(inputs: Arrays) -> Arrays:
            time.sleep(0.05)
            return {}

        engine = FakeEngine([X], [Y], compute)
        world.makers = replace(world.makers, engine=lambda *_: engine)
        said: set[str] = set()
        daemon = world.daemon(Limits(frames=2), on_tick=lambda d: said.add(d.alive()))
        assert daemon.run(signals=False) is ExitCode.OK
        assert said == {""}
        (runner,) = daemon.runners.values()
        assert edged.liveness.job_limit_s(runner) >= 0.05 * edged.liveness.JOB_USUAL

    def test_a_sink_that_hangs_is_faulted_until_it_returns_and_costs_the_daemon_nothing(
        self, world: Moving, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.deliver("log", 10_000)
        world.pipeline("front", "a", sinks=("bus", "log"))
        monkeypatch.setattr(edged.sinks.worker, "STUCK_S", {"open": 9.0, "publish": 0.1})
        with world.running() as daemon:
            (log,) = world.made["log"]
            log.gate.clear()
            eventually(world, lambda: daemon.snapshot().sinks["log"].state == "faulted")
            assert "its publish has not returned" in daemon.core.reasons["sink log"]
            assert daemon.alive() == ""
            world.more("front")
            log.gate.set()
            eventually(world, lambda: daemon.snapshot().sinks["log"].state == "running")
        assert whole(world.seqs("front"))

    def test_a_main_loop_that_hangs_is_seen_from_another_thread(
        self, world: Moving, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with world.running() as daemon:
            assert daemon.alive() == ""
            monkeypatch.setattr(edged.liveness, "LOOP_S", -1.0)
            assert daemon.alive().startswith("the main loop has not turned for")

    def test_a_model_that_loads_is_not_ready_yet_but_alive(self, world: Moving) -> None:
        loading, gate = threading.Event(), threading.Event()

        def load(model: str) -> None:
            loading.set()
            check(gate.wait(10))

        world.load = load
        daemon = world.daemon()
        with running(daemon):
            assert loading.wait(10)
            assert daemon.ready() == "booting: waiting for model m" or "model m" in daemon.ready()
            assert daemon.alive() == ""
            gate.set()

    def test_a_runner_that_is_made_anew_is_alive_and_its_pipeline_faulted(
        self, world: Moving, impatient: None
    ) -> None:
        loads, gate, again, broken = Counter[str](), threading.Event(), threading.Event(), threading.Event()

        def load(model: str) -> None:
            loads[model] += 1
            if loads[model] == 2:
                again.set()
                check(gate.wait(10))

        def compute(engine: str, run: int) -> None:
            if engine == "m#0" and broken.is_set():
                raise EngineError("model m: inference failed")

        world.load, world.compute = load, compute
        with world.running() as daemon:
            broken.set()
            assert again.wait(10)
            assert daemon.alive() == ""
            assert daemon.ready().startswith("model m is not loaded")
            gate.set()
            world.more("front", count=30)
        assert "faulted" in world.told("pipeline front")

    def test_a_failed_runner_can_be_replaced_while_it_waits_to_be_tried_again(self, world: Moving) -> None:
        failed = threading.Event()

        def compute(engine: str, run: int) -> None:
            if (engine, run) == ("m#0", 20):
                failed.set()
                raise EngineError("model m: inference failed")

        world.compute = compute
        with world.running():
            assert failed.wait(10)
            world.model("m", in_flight=1)
            assert world.change() == ("front",)
            world.more("front")


def test_a_hundred_changes_leave_nothing_behind(world: Moving) -> None:
    world.pattern("b", rate=200.0)
    world.pipeline("rear", "b")
    world.pipeline("more", "b")
    with world.running() as daemon:
        world.remove("pipelines", "more")
        world.change()
        world.more("front", "rear")

        def counts() -> tuple[int, int, int, int]:
            fds = len(os.listdir("/proc/self/fd"))
            return daemon.budget.held, threading.active_count(), fds, len(daemon.core.roster.kinds)

        def round_(n: int) -> None:
            world.pipeline("more", "b", min_score=n / 100)
            world.change()
            world.model("m", in_flight=2 - n % 2)
            world.change()
            world.remove("pipelines", "more")
            world.change()
            world.deliver("bus", 10_001 + n)
            world.change()

        round_(0)  # the most slots that the camera will need stay with it
        before = counts()
        parts = [part for _, part in daemon.standing.parts.named() if not isinstance(part, SourceUnit)]
        gone = [weakref.ref(part) for part in parts if part is not daemon.pipelines["front"]]
        del parts
        for n in range(1, 25):
            round_(n)
        world.more("front", "rear")
        for _ in range(100):  # a thread that stopped a sink may be on its way out
            if counts() == before:
                break
            world.more("front")
        assert counts() == before
        world.made["bus"].clear()
        gc.collect()
        assert [ref() for ref in gone if ref() is not None] == []
        assert len(daemon.standing.things) == len(dict(daemon.standing.parts.named()))
    assert whole(world.seqs("front"))
    assert whole(world.numbers("rear"))


STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "pipelines": st.dictionaries(
                st.sampled_from("pqr"),
                st.tuples(st.sampled_from("ab"), st.sampled_from("mn"), st.sampled_from([1, 2])),
                min_size=1,
            ),
            "seeds": st.tuples(st.integers(0, 1), st.integers(0, 1)),
            "in_flight": st.sampled_from([1, 2]),
            "queue_size": st.sampled_from([100, 200]),
            "refused": st.booleans(),
        }
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_any_sequence_of_changes_leads_to_exactly_the_parts_of_the_last_accepted_one(
    tmp_path: Path, steps: list[dict[str, Any]]
) -> None:
    world = Moving(tmp_path)
    world.model("m")
    world.model("n")
    world.deliver("bus", 100)
    for name in "ab":
        world.pattern(name, rate=200.0)
    world.pipeline("p", "a")
    empty = world.config
    with world.running() as daemon:
        for step in steps:
            before = daemon.standing.parts
            world.config = msgspec.structs.replace(empty, pipelines={})
            for name, seed in zip("ab", step["seeds"], strict=True):
                world.pattern(name, rate=200.0, seed=seed)
            world.model("m", in_flight=step["in_flight"])
            world.deliver("bus", step["queue_size"])
            for name, (source, model, every) in step["pipelines"].items():
                world.pipeline(name, source, model, every=every)
            if step["refused"]:
                world.source("bad", 1, open_script=(SourceError("source 'bad' cannot be read"),))
                world.pipeline("bad", "bad", "n")
                assert isinstance(world.refused(), SourceError)
                assert daemon.standing.parts is before
                continue
            world.change()
            c, parts = world.config, daemon.standing.parts
            assert parts.config == c
            assert set(parts.pipelines) == set(c.pipelines)
            assert set(parts.sources) == {f"source {p.source}" for p in c.pipelines.values()}
            assert set(parts.runners) == {f"model {p.model}" for p in c.pipelines.values()}
            assert set(daemon.core.roster.kinds) == set(daemon.standing.things) == set(parts.kinds)
            for name, p in c.pipelines.items():
                assert parts.pipelines[name].config == p
            for unit in parts.sources.values():
                assert {p.name for p in unit.served} == {
                    n for n, p in c.pipelines.items() if f"source {p.source}" == unit.name
                }
            for runner in parts.runners.values():
                assert {p.name for p in runner.pipelines} == {
                    n for n, p in c.pipelines.items() if f"model {p.model}" == runner.name
                }
            world.more(*daemon.pipelines, count=1)  # each source has its memory then
            regions = {o: r.nbytes for u in parts.units.values() for o, r in u.regions.items() if r.is_open}
            assert daemon.budget.held == sum(regions.values())
