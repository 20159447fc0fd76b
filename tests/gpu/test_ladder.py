"""The v4l2 source's rungs on a real GPU; the camera is the fake driver in this process, as these machines have none.

python -m pytest tests/gpu/test_ladder.py

What that shows: the GPU's side (registration of anonymous and of mapped shared pages, what the GPU reads at those
addresses, unregistration). What it cannot: whether a camera's own driver gives pages that can be registered.
"""

from __future__ import annotations

import glob
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edged.devices.cuda.device import CudaDevice
from edged.devices.cuda.memory import free_device_memory as free
from edged.errors import DeviceError, SourceError
from edged.frames import Memory
from edged.memory import Slots
from edged.sources._v4l2_canary import peek
from edged.sources._v4l2_options import V4l2Options
from edged.sources.v4l2 import V4l2Source
from edged.sources.v4l2_fake import FakeCamera, FakeKernel, level
from tests.devices.available import REAL_GPU, opened

FRAMES = 6
REGISTERED = ("mmap-register", "userptr-register", "userptr-hostalloc")


if not REAL_GPU:
    pytest.skip("no NVIDIA driver", allow_module_level=True)


@pytest.fixture(scope="module")
def device() -> Iterator[CudaDevice]:
    with opened("cuda") as made:
        assert isinstance(made, CudaDevice)
        # what a first use opens for good is no leak of the test that happens to be first
        shared = made.share(buffer := pages(1 << 16))
        peek(made, "test", shared.address, buffer.nbytes)
        shared.close()
        yield made


def pages(nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(mmap.mmap(-1, nbytes), np.uint8)


class Rig:
    """A source as its unit has it, on a camera of 1080p NV12."""

    def __init__(self, device: CudaDevice, memory: str, **camera: Any) -> None:
        self.device = device
        self.camera = FakeCamera(formats={"NV12": ((1920, 1080),)}, **camera)
        options = V4l2Options(device="/dev/video0", memory=memory)  # type: ignore[arg-type]
        self.source = V4l2Source("front", options, FakeKernel({"/dev/video0": self.camera}))

    def __enter__(self) -> Rig:
        self.source.attach(self.device, FRAMES)
        spec = self.source.open()
        memory = self.source.slot_memory
        wants = Slots.wants(FRAMES, spec.nbytes, memory) if memory is not None else []
        self.region = self.device.region("source 'front'", wants)
        self.source.start(Slots.of(self.region, len(wants)))
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()
        self.source.close()
        self.region.close()

    @property
    def rung(self) -> str:
        return self.source.facts["memory"].split(":")[0]


def test_anonymous_pages_are_read_where_they_are(device: CudaDevice) -> None:
    buffer = pages(1 << 20)
    shared = device.share(buffer)
    for seed in range(3):
        buffer[:] = np.random.default_rng(seed).integers(0, 256, buffer.nbytes, np.uint8)
        assert (peek(device, "test", shared.address, buffer.nbytes) == buffer).all()
    with pytest.raises(DeviceError, match="ALREADY_REGISTERED"):
        device.share(buffer)
    shared.close()
    shared.close()
    again = device.share(buffer)
    again.close()


def test_registering_again_and_again_costs_no_device_memory(device: CudaDevice) -> None:
    buffer = pages(8 << 20)
    for _ in range(20):
        device.share(buffer).close()
    before = free()
    for _ in range(200):
        device.share(buffer).close()
    assert free() == before


@pytest.mark.parametrize("rung", [*REGISTERED, "copy"])
def test_a_rung_on_real_hardware(device: CudaDevice, rung: str) -> None:
    with Rig(device, rung) as rig:
        for n in range(20):
            frame = rig.source.read(5)
            assert frame is not None
            assert frame.memory is Memory.MAPPED
            assert frame.copied == (frame.spec.nbytes if rung == "copy" else 0)
            seen = peek(device, "test", frame.device_address, frame.spec.nbytes)
            assert (seen == level(n)).all()
            frame.release()
        assert rig.rung == rung


def test_the_first_rung_passes_its_canary(device: CudaDevice) -> None:
    with Rig(device, "auto") as rig:
        print(rig.source.facts)  # with -s: the rung, and why not those before it
        assert rig.rung == "mmap-register", rig.source.facts


def test_a_driver_that_wrote_nothing_is_found_out(device: CudaDevice) -> None:
    with Rig(device, "mmap-register", unwritten=1) as rig, pytest.raises(SourceError, match="did not write"):
        rig.source.read(5)


def test_shared_memory_is_no_dmabuf_and_the_reason_is_the_driver_s(device: CudaDevice) -> None:
    """Where there is neither a camera nor Tegra, the refusal is all that can be seen of this rung."""
    rig = Rig(device, "dmabuf", exports=True)
    with pytest.raises(SourceError, match="cuImportExternalMemory"):
        rig.__enter__()
    rig.source.close()
    rig.region.close()


@pytest.mark.parametrize("rung", REGISTERED)
def test_recovery_loses_no_device_memory(device: CudaDevice, rung: str) -> None:
    def once() -> None:
        with Rig(device, rung) as rig:
            frame = rig.source.read(5)
            assert frame is not None
            frame.release()

    once()
    before = free()
    for _ in range(10):
        once()
    assert free() == before


@pytest.mark.skipif(
    not glob.glob("/dev/video*"), reason="no camera here: no real driver's buffers to register"
)
def test_a_real_camera(device: CudaDevice) -> None:
    source = V4l2Source("front", V4l2Options(device=sorted(glob.glob("/dev/video*"))[0]))
    source.attach(device, FRAMES)
    spec = source.open()
    memory = source.slot_memory
    wants = Slots.wants(FRAMES, spec.nbytes, memory) if memory is not None else []
    region = device.region("source 'front'", wants)
    source.start(Slots.of(region, len(wants)))
    print(source.facts)
    for _ in range(10):
        frame = source.read(5)
        assert frame is not None
        frame.release()
    source.close()
    source.close()
    region.close()
