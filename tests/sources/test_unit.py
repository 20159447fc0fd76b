"""The thread of a source: hand-over to several pipelines, stops, faults, and leases that come back late."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edged.sources.unit
import edged.sources.ways
from edged.config.schema import PipelineConfig
from edged.devices.cpu import CpuDevice
from edged.errors import ConfigError, ExitCode, SourceError
from edged.frames import Roi
from edged.mailbox import Bell
from edged.memory import Lease
from edged.messages import Identity, ModelId
from edged.parsers.base import Parsed
from edged.pipeline import Job, Pipeline
from edged.sources.fake import FakeOptions, FakeSource
from edged.sources.unit import Service, SourceUnit
from tests.rig import Post


class Rig:
    """A unit over a fake source and pipelines that the test serves by hand."""

    def __init__(
        self,
        *script: Any,
        names: str = "a",
        limit: int | None = None,
        rois: dict[str, Roi] | None = None,
        **options: Any,
    ) -> None:
        self._rois = rois or {}
        self.post = Post()
        self.device = CpuDevice()
        self.source = FakeSource("cam", FakeOptions(script=script, **options))
        self.pipelines = {n: self._pipeline(n, limit if n == "a" else None) for n in names}
        self.unit = SourceUnit(
            "source cam",
            self.source,
            self.device,
            dict.fromkeys(self.pipelines.values(), ()),
            1 + 2 * len(names),
            self.post,
        )

    def _pipeline(self, name: str, limit: int | None) -> Pipeline:
        config = PipelineConfig(source="cam", model="m", roi=self._rois.get(name))
        who, model = Identity("d", "s"), ModelId("m")
        return Pipeline(
            name, config, who, model, (), [], Bell(), self.post, live=self.source.live, limit=limit
        )

    def start(self) -> None:
        self.unit.start()
        self.post.wait_for("source cam", "prepared")
        self.unit.go()

    def take(self, name: str = "a") -> Job:
        """The next frame of a pipeline, as soon as it is there."""
        pipeline = self.pipelines[name]
        bell = pipeline.mailbox.bell
        with bell.condition:
            assert bell.condition.wait_for(pipeline.ready_locked, 10)
            job = pipeline.take_locked()
        assert job is not None
        return job

    def serve(self, name: str = "a") -> int:
        job = self.take(name)
        job.frame.release()
        job.pipeline.complete(job, Parsed())
        return job.frame.seq

    def end(self) -> None:
        assert self.unit.join(10)
        assert self.device.budget.held == 0
        assert self.source.closes >= 1


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_every_pipeline_gets_every_frame_and_the_end() -> None:
    rig = Rig(1, 2, 3, names="ab")
    rig.start()
    for seq in range(3):
        assert (rig.serve("a"), rig.serve("b")) == (seq, seq)
    rig.end()
    assert rig.post.phases("source cam") == ["prepared", "running", "ended", "stopped"]
    assert rig.post.phases("pipeline a") == rig.post.phases("pipeline b") == ["running", "ended"]


def test_a_pipeline_at_its_limit_leaves_and_the_reader_goes_on_for_the_other() -> None:
    rig = Rig(1, 2, 3, 4, names="ab", limit=1)
    rig.start()
    assert rig.serve("a") == 0
    assert [rig.serve("b") for _ in range(4)] == [0, 1, 2, 3]
    rig.end()
    counts = rig.pipelines["a"].counts()
    assert (counts.offered, counts.inferred) == (1, 1)


def test_what_is_wanted_of_a_source_that_does_not_read_is_served_at_once_and_what_it_replaces_ends() -> None:
    rig = Rig(names="abc")
    a, b, c = rig.pipelines.values()
    rig.unit.served = {a: ()}
    rig.unit.serve(Service({a: (), b: ()}, change=1))
    assert not b.over
    rig.unit.serve(Service({a: (), c: ()}, change=2))
    assert [p.over for p in (a, b, c)] == [False, True, False]
    assert [r.change for r in rig.post.drain() if r.phase == "served"] == [1, 2]


def test_what_a_reader_did_not_come_to_serve_ends_when_something_else_is_wanted() -> None:
    rig = Rig(1, 2, 3, names="abc")
    a, b, c = rig.pipelines.values()
    rig.unit.served = {a: ()}
    rig.start()
    rig.serve()
    until(lambda: rig.source.at == 3)  # then it waits until the frame before is taken
    rig.unit.serve(Service({a: (), b: ()}, change=1))
    rig.unit.serve(Service({a: (), c: ()}, change=2))
    assert b.over
    a.drop()
    assert rig.post.wait_for("source cam", "served").change == 2
    c.drop()
    rig.unit.stop()
    rig.end()


@given(st.sets(st.integers(1, 9)))
def test_ways_have_names_that_no_other_way_has(taken: set[int]) -> None:
    owner = "pipeline a on model m"
    names = {owner if n == 1 else f"{owner} ({n})" for n in taken}
    found = edged.sources.ways._free(owner, names)
    assert found.startswith(owner)
    assert found not in names


def test_the_reader_ends_when_nobody_takes_frames_any_more() -> None:
    rig = Rig(*range(100), limit=2)
    rig.start()
    assert [rig.serve(), rig.serve()] == [0, 1]
    rig.end()
    assert rig.source.at < 100


def test_a_stop_ends_a_reader_that_waits_for_room() -> None:
    rig = Rig(1, 2, 3)
    rig.start()
    first = rig.take()  # the second waits in the mailbox, the third in the reader's hand
    rig.unit.stop()
    first.frame.release()
    first.pipeline.complete(first, Parsed())
    rig.pipelines["a"].drop()
    rig.end()
    counts = rig.pipelines["a"].counts()
    assert counts.offered == counts.inferred + counts.dropped


def test_a_fault_lets_the_last_frame_be_finished_and_then_faults_its_pipelines() -> None:
    error = SourceError("source 'cam' was unplugged")
    rig = Rig(1, error)
    rig.start()
    report = rig.post.wait_for("source cam", "faulted")
    assert report.error is error
    assert rig.post.phases("pipeline a") == [], "its frame waits"
    assert rig.serve() == 0
    rig.end()
    assert rig.post.phases("pipeline a") == ["running", "faulted"]


def test_a_source_that_does_not_open_faults_its_pipelines() -> None:
    rig = Rig(1, open_script=(SourceError("source 'cam' is not there"),))
    rig.unit.start()
    rig.post.wait_for("source cam", "stopped")
    rig.end()
    assert rig.post.phases("pipeline a") == ["faulted"]
    assert rig.unit.spec is None


def test_a_live_source_never_waits_and_the_newest_frame_is_there_at_its_end() -> None:
    rig = Rig(*range(20), live=True)
    rig.start()
    rig.post.wait_for("source cam", "ended")
    assert rig.serve() == 19
    rig.end()
    counts = rig.pipelines["a"].counts()
    assert (counts.offered, counts.dropped, counts.inferred, counts.lost) == (20, 19, 1, 0)


def test_frames_that_never_come_back_are_told_after_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edged.sources.unit, "LEASE_S", 0.01)
    rig = Rig(1)
    rig.start()
    job = rig.take()
    rig.unit.stop()
    error = rig.post.wait_for("source cam", "faulted").error
    assert error is not None
    assert error.message == "source cam: 1 frames were not given back within 0.01 s"
    assert rig.unit.join(10)
    assert isinstance(job.frame.lease, Lease)
    job.frame.release()  # late: of a generation that is over
    job.pipeline.complete(job, None)


class TestRecovery:
    """A source that has a backoff: closed after a fault, opened when told, its memory kept as long as it fits."""

    def rig(self, *script: Any, **options: Any) -> Rig:
        made = Rig(*script, live=True, resume=True, backoff=(0.1, 1.0), **options)
        made.start()
        return made

    def again(self, rig: Rig, *, afresh: bool = False) -> None:
        rig.post.wait_for("source cam", "faulted")
        rig.unit.again(afresh=afresh)
        rig.post.wait_for("source cam", "prepared")
        rig.unit.go()

    def test_it_is_back_in_the_same_memory(self) -> None:
        rig = self.rig(1, SourceError("unplugged"), 2, 3, 4)
        assert rig.serve() == 0
        (region,) = rig.unit.regions.values()
        self.again(rig)
        rig.post.wait_for("source cam", "ended")
        assert rig.serve() == 2, "the newest; its count began anew"
        rig.end()
        assert (rig.source.opens, list(rig.unit.regions.values())) == (2, [region])
        assert rig.pipelines["a"].lost == 0
        assert rig.post.phases("pipeline a") == ["running", "running", "ended"], "said again when it was back"

    @pytest.mark.parametrize(("max_size", "kept"), [((8, 8), True), (None, False)])
    def test_another_size_keeps_memory_that_was_planned_for_it(
        self, max_size: tuple[int, int] | None, kept: bool
    ) -> None:
        rig = self.rig(1, SourceError("unplugged"), 2, sizes=((4, 2), (8, 6)), max_size=max_size)
        assert rig.serve() == 0
        (region,) = rig.unit.regions.values()
        self.again(rig)
        job = rig.take()
        assert (job.frame.spec.width, job.frame.spec.height) == (8, 6)
        assert (job.frame.planes[0] == 2).all()
        assert (rig.unit.regions["source cam"] is region) is kept
        assert region.is_open is kept
        job.frame.release()
        job.pipeline.complete(job, Parsed())
        rig.end()

    def test_afresh_means_new_memory(self) -> None:
        rig = self.rig(1, SourceError("unplugged"), 2)
        assert rig.serve() == 0
        (region,) = rig.unit.regions.values()
        self.again(rig, afresh=True)
        assert rig.serve() == 0
        assert not region.is_open
        rig.end()

    def test_memory_that_is_refused_is_a_fault_like_any_other(self) -> None:
        rig = self.rig(1, SourceError("unplugged"), 2, sizes=((4, 2), (640, 480), (4, 2)))
        assert rig.serve() == 0
        rig.device.budget.limit = 100_000
        self.again(rig)
        assert rig.post.wait_for("source cam", "faulted").error.exit_code is ExitCode.MEMORY  # type: ignore[union-attr]
        assert rig.device.budget.held == 0
        rig.unit.again()
        rig.post.wait_for("source cam", "prepared")
        rig.unit.go()
        assert rig.serve() == 0
        rig.end()

    def test_memory_that_a_runner_still_reads_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(edged.sources.unit, "REST_S", 0.01)
        rig = self.rig(1, SourceError("unplugged"), 2, SourceError("unplugged"), 3)
        held = rig.take()
        (region,) = rig.unit.regions.values()
        self.again(rig, afresh=True)
        assert rig.serve() == 0
        assert rig.unit.regions["source cam"] is region
        assert rig.device.budget.held == region.nbytes
        held.frame.release()
        held.pipeline.complete(held, None)
        self.again(rig, afresh=True)
        assert rig.serve() == 0
        assert not region.is_open
        rig.end()

    def test_memory_that_a_runner_still_reads_is_not_exchanged_for_another_size(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(edged.sources.unit, "REST_S", 0.01)
        rig = self.rig(1, SourceError("unplugged"), 2, sizes=((4, 2), (8, 6), (8, 6)))
        held = rig.take()
        (region,) = rig.unit.regions.values()
        self.again(rig)
        error = rig.post.wait_for("source cam", "faulted").error
        assert error is not None
        assert "1 frames of before are still being read" in error.message
        assert rig.unit.regions["source cam"] is region
        assert rig.device.budget.held == region.nbytes
        held.frame.release()
        held.pipeline.complete(held, None)
        rig.unit.again()
        rig.post.wait_for("source cam", "prepared")
        rig.unit.go()
        assert rig.serve() == 0
        assert not region.is_open
        rig.end()

    def test_for_more_slots_it_is_opened_again_when_nobody_reads_the_old_ones(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(edged.sources.unit, "REST_S", 0.01)
        monkeypatch.setattr(edged.sources.unit, "POLL_S", 0.01)
        rig = self.rig(*([1] * 100_000))
        held = rig.take()
        (region,) = rig.unit.regions.values()
        rig.unit.serve(Service(rig.unit.served, slots=9, change=1))
        until(lambda: rig.source.closes > 0)
        time.sleep(0.05)
        assert (rig.source.opens, region.is_open) == (1, True)
        held.frame.release()
        held.pipeline.complete(held, None)
        rig.post.wait_for("source cam", "served")
        assert (rig.source.opens, region.is_open) == (2, False)
        assert rig.unit.slots is not None
        assert len(rig.unit.slots) == 9
        rig.unit.stop()
        rig.pipelines["a"].drop()
        assert rig.unit.join(10)

    def test_frames_that_do_not_come_back_are_left_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(edged.sources.unit, "REST_S", 0.01)
        rig = self.rig(1, 2, SourceError("unplugged"), 3, size=(4, 2))
        held = rig.take()  # a runner that hangs
        self.again(rig)
        rig.take().frame.release()
        held.frame.release()  # late: of a generation that is over
        assert rig.unit.slots is not None
        assert rig.unit.slots.wait_all_free(10)
        held.pipeline.complete(held, None)
        rig.unit.stop()
        assert rig.unit.join(10)

    def test_one_that_cannot_be_closed_waits_to_be_told_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else it would be opened and fail again as fast as it can, and fill the main loop's inbox."""
        gone = SourceError("source 'cam' is not there")
        rig = Rig(1, live=True, backoff=(0.1, 1.0), open_script=(gone,) * 99)

        def close() -> None:
            raise OSError("a defect of the driver")

        monkeypatch.setattr(rig.source, "_close", close)
        rig.unit.start()
        rig.post.wait_for("source cam", "faulted")
        time.sleep(0.1)
        assert rig.source.opens == 1
        rig.unit.stop()
        assert rig.unit.join(10)

    @pytest.mark.parametrize("when", ["resting", "opening"])
    def test_a_stop_ends_it_at_once(self, when: str) -> None:
        rig = self.rig(1, SourceError("unplugged"), 2)
        assert rig.serve() == 0
        rig.post.wait_for("source cam", "faulted")
        if when == "opening":
            rig.unit.again()
            rig.post.wait_for("source cam", "prepared")
        rig.unit.stop()
        rig.end()
        assert rig.post.phases("source cam")[-1] == "stopped"
        assert rig.pipelines["a"].state == "ended", "an unplugged camera is no failed pipeline"

    def test_one_that_cannot_be_opened_is_tried_as_often_as_told(self) -> None:
        gone = SourceError("source 'cam' is not there")
        rig = Rig(1, live=True, backoff=(0.1, 1.0), open_script=(gone, gone, None))
        rig.unit.start()
        for _ in range(2):
            assert rig.post.wait_for("source cam", "faulted").error is gone
            rig.unit.again()
        rig.post.wait_for("source cam", "prepared")
        rig.unit.go()
        assert rig.serve() == 0
        rig.end()
        assert rig.source.opens == 3


class TestViews:
    """Pictures that a pipeline's view does not have are its own fault, as long as others can use them."""

    BIG, SMALL = (8, 6), (4, 2)

    def test_a_file_that_lacks_a_region_is_refused(self) -> None:
        rig = Rig(1, names="ab", rois={"b": (2, 0, 3, 2)})
        rig.unit.start()
        error = rig.post.wait_for("source cam", "faulted").error
        assert isinstance(error, ConfigError)
        assert str(error).startswith(
            "source cam: pipelines.b.roi: [2, 0, 3, 2] is not inside the picture of 4x2; "
        )
        rig.post.wait_for("source cam", "stopped")
        rig.end()

    def test_a_camera_that_comes_back_smaller_serves_those_that_fit(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        fault = SourceError("unplugged")
        rig = Rig(
            *(1, fault, 2, fault, 3, fault, 4),
            names="ab",
            rois={"b": (4, 2, 4, 4)},
            sizes=(self.BIG, self.SMALL, self.SMALL, self.BIG),
            live=True,
            resume=True,
            backoff=(0.1, 1.0),
        )
        rig.start()
        assert (rig.serve("a"), rig.serve("b")) == (0, 0)
        b = rig.pipelines["b"]
        for _ in range(2):
            self._again(rig)
            assert rig.serve("a") == 0
            assert str(b.refused).startswith(
                "source cam: pipelines.b.roi: [4, 2, 4, 4] is not inside the picture of 4x2"
            )
        self._again(rig)
        assert (rig.serve("a"), rig.serve("b")) == (0, 0)
        assert b.refused is None
        rig.end()
        assert (rig.pipelines["a"].counts().inferred, b.counts().inferred) == (4, 2)
        (said,) = caplog.records  # once, however often it comes back so
        assert "pipelines.b.roi" in said.getMessage()

    def test_a_camera_that_nobody_can_use_is_tried_again(self) -> None:
        rig = Rig(1, rois={"a": (4, 2, 4, 4)}, sizes=(self.SMALL, self.BIG), live=True, backoff=(0.1, 1.0))
        rig.unit.start()
        error = rig.post.wait_for("source cam", "faulted").error
        assert error is rig.pipelines["a"].refused
        rig.unit.again()
        rig.post.wait_for("source cam", "prepared")
        rig.unit.go()
        assert rig.serve() == 0
        rig.end()

    def _again(self, rig: Rig) -> None:
        rig.post.wait_for("source cam", "faulted")
        rig.unit.again()
        rig.post.wait_for("source cam", "prepared")
        rig.unit.go()
