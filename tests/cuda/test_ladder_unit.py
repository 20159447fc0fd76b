"""A camera's unit on the stand-in driver: its region follows the rung, and a reader's frame outlives a recovery."""

from __future__ import annotations

from pathlib import Path

import pytest

import edged.sources.unit
from edged.config.schema import PipelineConfig
from edged.devices.cuda.device import CudaDevice
from edged.frames import Memory
from edged.mailbox import Bell
from edged.memory import Slots
from edged.messages import Identity, ModelId
from edged.parsers.base import Parsed
from edged.pipeline import Job, Pipeline
from edged.sources.unit import SourceUnit
from edged.sources.v4l2_fake import FakeCamera
from edged.sources.video import VideoOptions, VideoSource
from tests.cuda.standin import Standin, standin_device
from tests.rig import Post
from tests.sources.make import CLIP_SIZE, write_clip
from tests.sources.v4l2_rig import source

WANTED = 6


class Rig:
    """One pipeline, served by hand, whose camera's unit has a device of the stand-in."""

    def __init__(self, camera: FakeCamera, memory: str = "auto") -> None:
        self.post, self.camera = Post(), camera
        self.device = standin_device()
        self.source = source(camera, memory=memory)
        config = PipelineConfig(source="front", model="m")
        self.pipeline = Pipeline(
            "a", config, Identity("d", "s"), ModelId("m"), (), [], Bell(), self.post, live=True
        )
        self.unit = SourceUnit(
            "source front", self.source, self.device, {self.pipeline: ()}, WANTED, self.post
        )
        self.unit.start()
        self.go()

    def go(self) -> None:
        self.post.wait_for("source front", "prepared")
        self.unit.go()

    def take(self) -> Job:
        bell = self.pipeline.mailbox.bell
        with bell.condition:
            assert bell.condition.wait_for(self.pipeline.ready_locked, 10)
            job = self.pipeline.take_locked()
        assert job is not None
        return job

    def serve(self, count: int = 5) -> None:
        for _ in range(count):
            self.done(self.take())

    def done(self, job: Job) -> None:
        job.frame.release()
        job.pipeline.complete(job, Parsed())

    def unplug(self) -> None:
        self.camera.disconnect()
        self.post.wait_for("source front", "faulted")

    def end(self) -> None:
        self.unit.stop()
        while not self.unit.join(0.01):
            self.pipeline.drop()  # as its runners do: what is in its mailbox is a lease
        assert self.device.budget.held == 0
        self.device.close()


def camera() -> FakeCamera:
    return FakeCamera(formats={"YUYV": ((64, 48),)}, rate_hz=200.0)


@pytest.mark.parametrize(
    ("memory", "slots"),
    [("auto", 0), ("userptr-register", WANTED), ("userptr-hostalloc", WANTED), ("copy", WANTED)],
)
def test_its_region_has_what_the_rung_wants_round_after_round(
    driver: Standin, memory: str, slots: int
) -> None:
    rig = Rig(camera(), memory)
    for _ in range(5):
        rig.serve()
        assert len(rig.unit.regions["source front"].wants) == slots
        assert rig.unit.leased is not None
        assert len(rig.unit.leased) == WANTED
        live = driver.live()["registered"]
        assert live == (WANTED if memory in ("auto", "userptr-register") else 0)
        rig.unplug()
        rig.unit.again()
        rig.go()
    rig.serve()
    counts = rig.pipeline.counts()
    assert (counts.copied["capture"] == 0) is (memory != "copy")
    rig.end()
    assert driver.live()["registered"] == 0


def test_a_frame_of_a_camera_that_is_back_stays_what_it_was(
    driver: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edged.sources.unit, "REST_S", 0.01)
    rig = Rig(camera())
    rig.serve()
    held = rig.take()  # of a runner that takes its time
    before = held.frame.planes[0].copy()
    rig.unplug()
    rig.unit.again()
    rig.go()
    rig.serve()
    assert driver.live()["registered"] == 2 * WANTED, "the old buffers wait for their reader"
    assert (held.frame.planes[0] == before).all()
    rig.done(held)
    del held
    rig.unplug()
    rig.unit.again()
    rig.go()
    rig.serve()
    assert driver.live()["registered"] == WANTED
    rig.end()
    assert driver.live()["registered"] == 0


def test_files_are_decoded_into_pinned_slots(device: CudaDevice, tmp_path: Path) -> None:
    made = VideoSource("clip", VideoOptions(path=str(write_clip(tmp_path / "clip.avi")), pace="max"))
    spec = made.open()
    region = device.region("source clip", Slots.wants(2, spec.nbytes, device.frame_memory))
    slots = Slots.of(region, 2)
    made.start(slots)
    frame = made.read(5)
    assert frame is not None
    assert (frame.memory, frame.copied) == (Memory.MAPPED, 0)
    assert frame.device_address in slots.addresses
    assert frame.planes[0].ctypes.data in [b.ctypes.data for b in slots.buffers]
    assert (spec.width, spec.height) == CLIP_SIZE
    frame.release()
    del frame
    made.close()
    region.close()
