"""The thread of a source: hand-over to several pipelines, stops, faults, and leases that come back late."""

from __future__ import annotations

from typing import Any

import pytest

import edged.sources.unit
from edged.config.schema import PipelineConfig
from edged.devices.cpu import CpuDevice
from edged.errors import SourceError
from edged.mailbox import Bell
from edged.memory import Lease
from edged.messages import Identity, ModelId
from edged.parsers.base import Parsed
from edged.pipeline import Job, Pipeline
from edged.sources.fake import FakeOptions, FakeSource
from edged.sources.unit import SourceUnit
from tests.rig import Post


class Rig:
    """A unit over a fake source and pipelines that the test serves by hand."""

    def __init__(self, *script: Any, names: str = "a", limit: int | None = None, **options: Any) -> None:
        self.post = Post()
        self.device = CpuDevice()
        self.source = FakeSource("cam", FakeOptions(script=script, **options))
        self.pipelines = {n: self._pipeline(n, limit if n == "a" else None) for n in names}
        self.unit = SourceUnit(
            "source cam",
            self.source,
            self.device,
            tuple(self.pipelines.values()),
            1 + 2 * len(names),
            self.post,
        )

    def _pipeline(self, name: str, limit: int | None) -> Pipeline:
        config = PipelineConfig(source="cam", model="m")
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
    assert rig.post.phases("pipeline a") == ["running"]
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
