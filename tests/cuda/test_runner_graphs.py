"""A runner whose jobs are graphs: one launch a frame, each ticket its own, and eager with the reason where not."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edged.config.schema import DewarpOptions, PipelineConfig
from edged.devices import reference
from edged.devices.cuda.device import CudaDevice
from edged.engines.fake import Arrays, FakeEngine
from edged.errors import EdgedError
from edged.frames import FrameSpec, PixelFormat
from edged.interfaces import Device, Engine, Preprocess, Stream
from edged.mailbox import Bell
from edged.memory import Slots
from edged.messages import Identity, Message, ModelId, Result
from edged.parsers.raw import RawParser
from edged.pipeline import Pipeline
from edged.runner import Runner
from edged.tickets import Ticket
from edged.views import positions
from tests.contract.test_runner import IMAGE, MODEL, X, Y
from tests.cuda.standin import Standin
from tests.rig import SPEC, Post, make_frame


def relu(inputs: Arrays) -> Arrays:
    return {"y": np.maximum(inputs["x"], 0)}


class Rig:
    """One pipeline on a runner of the stand-in; the engine may be captured unless `eager` says why not."""

    def __init__(self, device: CudaDevice, *, in_flight: int = 1, eager: str = "", **config: Any) -> None:
        self.device, self.post, self.messages = device, Post(), list[Message]()
        bell = Bell()
        self.pipeline = Pipeline(
            "a",
            PipelineConfig(source="a", model="tiny", **config),
            Identity("d", "s"),
            ModelId("tiny"),
            (),
            [self.messages.append],
            bell,
            self.post,
            live=False,
        )

        def engine(device: Device, stream: Stream) -> Engine:
            return FakeEngine([X], [Y], relu, device=device, eager=eager)

        self.runner = Runner(
            "model tiny", "tiny", device, engine, lambda: RawParser(MODEL), IMAGE, [self.pipeline], bell, self.post,
            in_flight=in_flight,
        )  # fmt: skip
        self.source = device.region("source", Slots.wants(4, SPEC.nbytes, device.frame_memory))
        self.slots = Slots.of(self.source, 4)
        self.regions = [self.source]
        self.runner.start()
        self.post.wait_for("model tiny", "prepared")
        self.fit(SPEC)
        self.runner.go()

    def fit(self, spec: FrameSpec) -> None:
        preprocess = self.runner.preprocessor("pipeline a", spec, self.pipeline.view)
        region = self.device.region("pipeline a", preprocess.wants())
        preprocess.bind(region)
        self.regions.append(region)
        self.runner.fit(self.pipeline, preprocess)

    def put(self, seqs: Sequence[int], slots: Slots | None = None, spec: FrameSpec = SPEC) -> None:
        for seq in seqs:
            held = slots or self.slots
            assert self.pipeline.offer(make_frame(held, seq, spec), 10)

    def close(self) -> EdgedError | None:
        self.runner.stop()
        assert self.runner.join(10)
        self.pipeline.drop()
        for region in self.regions:
            region.close()
        return self.runner.error

    @property
    def results(self) -> list[Result]:
        return [m.body for m in self.messages if isinstance(m.body, Result)]


@pytest.mark.parametrize("in_flight", [1, 2])
def test_each_frame_is_one_graph_and_gives_its_own_result(
    device: CudaDevice, driver: Standin, in_flight: int
) -> None:
    before = driver.graph_launches
    rig = Rig(device, in_flight=in_flight)
    for seq in range(30):
        rig.put([seq])
    assert rig.close() is None
    assert driver.graph_launches - before == 30 + 1  # one finds out whether events inside graphs tell times
    assert rig.runner.facts["work"] == "graph"
    assert [r.frame_seq for r in rig.results] == list(range(30))
    for r in rig.results:
        assert r.tensors is not None
        y = np.frombuffer(r.tensors["y"].data, np.float32)
        assert (y == r.frame_seq).all(), "the tensor of another frame"
    counts = rig.pipeline.counts()
    assert counts.copied == {"capture": 0, "preprocess": 0}
    assert counts.stages["host"].count == 30
    assert counts.stages["engine"].count == 8  # one in four is timed


def test_nothing_is_allocated_once_it_runs(device: CudaDevice, driver: Standin) -> None:
    rig = Rig(device, in_flight=2)
    rig.put(range(5))
    made, events = driver.allocations, driver.live()["events"]
    for seq in range(5, 200):
        rig.put([seq])
    assert (driver.allocations, driver.live()["events"]) == (made, events)
    assert rig.close() is None


def test_an_engine_that_may_not_be_captured_runs_eagerly_and_says_why(
    device: CudaDevice, driver: Standin
) -> None:
    before = driver.graph_launches
    rig = Rig(device, eager="it is shy")
    rig.put(range(3))
    assert rig.close() is None
    assert driver.graph_launches == before
    assert rig.runner.facts["work"] == "eager: it is shy"
    assert len(rig.results) == 3


def test_a_capture_that_fails_means_eager_with_the_reason(device: CudaDevice, driver: Standin) -> None:
    driver.fault("cuGraphInstantiate", 2, after=1)
    rig = Rig(device)
    rig.put(range(3))
    assert rig.close() is None
    assert rig.runner.facts["work"].startswith("eager: cuGraphInstantiate: CUDA_ERROR_OUT_OF_MEMORY")
    assert len(rig.results) == 3


def test_a_source_of_another_size_gets_graphs_of_its_own_and_the_old_ones_go(
    device: CudaDevice, driver: Standin
) -> None:
    rig = Rig(device)
    rig.put(range(4))
    assert rig.slots.wait_all_free(10)
    other = FrameSpec(6, 4, PixelFormat.GREY)
    rig.regions.append(device.region("other", Slots.wants(2, other.nbytes, device.frame_memory)))
    slots = Slots.of(rig.regions[-1], 2)
    rig.fit(other)
    rig.put([4, 5], slots, other)
    assert slots.wait_all_free(10)
    assert driver.live()["graphs"] == 2  # a ticket each
    assert rig.close() is None
    assert [r.frame_seq for r in rig.results] == list(range(6))


AROUND = DewarpOptions(lens="equirectangular", size=(12, 8), yaw=30)
VIEWS: dict[str, dict[str, Any]] = {"all": {}, "roi": {"roi": (1, 0, 3, 1)}, "dewarp": {"dewarp": AROUND}}


@pytest.mark.parametrize("how", ["graph", "eager"])
@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_what_the_model_sees(
    device: CudaDevice, driver: Standin, view: str, in_flight: int, how: str
) -> None:
    """Its table is with the GPU before the first graph is captured; frames differ, and so do their tensors."""
    before = driver.graph_launches
    rig = Rig(device, in_flight=in_flight, eager="" if how == "graph" else "it is shy", **VIEWS[view])
    rng = np.random.default_rng(3)
    pictures = rng.integers(0, 256, (10, SPEC.nbytes), np.uint8)
    for seq, data in enumerate(pictures):
        frame = make_frame(rig.slots, seq)
        for plane, values in zip(frame.planes, SPEC.views(data), strict=True):
            plane[...] = values
        assert rig.pipeline.offer(frame, 10)
    assert rig.close() is None
    assert driver.graph_launches - before == (10 + 1 if how == "graph" else 0)
    for r, data in zip(rig.results, pictures, strict=True):
        planes, image = SPEC.views(data), IMAGE
        if view == "dewarp":
            table = positions(AROUND, SPEC, image)
            want = reference.dewarped_levels(SPEC, planes, image, AROUND.size, table)
        else:
            want = reference.grey_levels(SPEC, planes, image, VIEWS[view].get("roi"))
        assert r.tensors is not None
        y = np.frombuffer(r.tensors["y"].data, np.float32).reshape(3, 4, 6)
        assert np.abs(y.transpose(1, 2, 0) - np.rint(want)).max() <= 1
        assert r.frame == ((12, 8) if view == "dewarp" else (4, 2))
        assert (r.dewarped, r.roi) == (view == "dewarp", VIEWS[view].get("roi"))


def test_a_pipeline_that_is_fit_while_others_are_captured_has_graphs_before_its_first_frame(
    device: CudaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that was captured may not run eagerly any more."""
    capturing, goes_on, capture = threading.Event(), threading.Event(), Ticket.capture

    def slowly(self: Ticket, preprocess: Preprocess, stream: Stream) -> None:
        capturing.set()
        assert goes_on.wait(10)
        capture(self, preprocess, stream)

    monkeypatch.setattr(Ticket, "capture", slowly)
    rig = Rig(device)
    assert capturing.wait(10)
    other = FrameSpec(6, 4, PixelFormat.GREY)
    rig.regions.append(device.region("other", Slots.wants(2, other.nbytes, device.frame_memory)))
    rig.fit(other)
    slots = Slots.of(rig.regions[-2], 2)
    rig.put([0], slots, other)
    goes_on.set()
    rig.put([1], slots, other)
    assert slots.wait_all_free(10)
    assert rig.close() is None
    assert [r.frame_seq for r in rig.results] == [0, 1]


def test_a_pipeline_that_is_unfit_leaves_no_graph(device: CudaDevice, driver: Standin) -> None:
    rig = Rig(device)
    rig.put([0])
    assert rig.slots.wait_all_free(10)
    assert driver.live()["graphs"] == 2
    rig.runner.unfit(rig.pipeline)
    other = FrameSpec(6, 4, PixelFormat.GREY)
    rig.regions.append(device.region("other", Slots.wants(2, other.nbytes, device.frame_memory)))
    slots = Slots.of(rig.regions[-1], 2)
    rig.fit(other)
    rig.put([1], slots, other)
    assert slots.wait_all_free(10)
    assert driver.live()["graphs"] == 2
    assert rig.close() is None
