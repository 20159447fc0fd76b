"""The v4l2 source's rungs on the stand-in driver and a fake camera: chosen, refused with a reason, proven, undone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from edged.devices.cuda.device import CudaDevice
from edged.devices.cuda.status import CudaError
from edged.errors import FatalDeviceError, SourceError
from edged.frames import Frame, Memory
from edged.memory import Slots, host_memory
from edged.sources import _v4l2_canary as canary
from edged.sources.v4l2 import V4l2Source
from edged.sources.v4l2_fake import FakeCamera, level
from tests.cuda.standin import Standin
from tests.sources.v4l2_rig import source

PROVEN = ("mmap-register", "userptr-register", "userptr-hostalloc", "dmabuf")
FRAMES = 5


def camera(code: str = "YUYV", **kwargs: Any) -> FakeCamera:
    return FakeCamera(formats={code: ((64, 48),)}, **kwargs)


class Rig:
    """A source as its unit has it: attached, opened, given what it wants, and closed twice at the end."""

    def __init__(self, device: CudaDevice, made: FakeCamera, **options: Any) -> None:
        self.device, self.camera = device, made
        self.source: V4l2Source = source(made, **options)
        self.regions: list[Any] = []

    def start(self) -> None:
        self.source.attach(self.device, FRAMES)
        spec = self.source.open()
        memory = self.source.slot_memory
        wants = Slots.wants(FRAMES, spec.nbytes, memory) if memory is not None else []
        self.regions.append(self.device.region("source 'front'", wants))
        self.given = Slots.of(self.regions[-1], len(wants))
        self.source.start(self.given)

    def read(self) -> Frame:
        frame = self.source.read(2.0)
        assert frame is not None
        return frame

    def read_many(self, count: int = 12) -> None:
        for _ in range(count):
            self.read().release()

    def stop(self) -> None:
        self.source.close()
        self.source.close()
        for region in self.regions:
            region.close()

    def __enter__(self) -> Rig:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def rung(self) -> str:
        return self.source.facts["memory"].split(":")[0]

    @property
    def refused(self) -> dict[str, str]:
        return {k[3:]: v for k, v in self.source.facts.items() if k.startswith("no ")}


@pytest.fixture(autouse=True)
def _nothing_left(device: CudaDevice, driver: Standin) -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    live = driver.live()
    assert (live["device"], live["mapped"], live["registered"], live["externals"]) == (0, 0, 0, 0)
    assert device.budget.held == 0
    assert len(os.listdir("/proc/self/fd")) == before


def no_registering(driver: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the system cannot pin pages for the GPU."""

    def refuses(self: CudaDevice, pages: Any, *, foreign: bool = False) -> Any:
        driver.fault("cuMemHostRegister", 801)
        try:
            return share(self, pages)
        finally:
            driver.fault("", 0)

    share = CudaDevice.share
    monkeypatch.setattr(CudaDevice, "share", refuses)


def no_registering_but_dmabufs(driver: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    no_registering(driver, monkeypatch)
    driver.dmabufs(True)


@pytest.mark.parametrize("rung", [*PROVEN, "copy"])
def test_each_rung_by_its_name(device: CudaDevice, driver: Standin, rung: str) -> None:
    driver.dmabufs(True)
    with Rig(device, camera(exports=True), memory=rung) as rig:
        for n in range(12):
            frame = rig.read()
            assert frame.memory is Memory.MAPPED
            assert frame.copied == (frame.spec.nbytes if rung == "copy" else 0)
            seen = canary.peek(device, "test", frame.device_address, frame.spec.nbytes)
            assert (seen == level(n)).all()
            assert (frame.planes[0] == level(n)).all()
            frame.release()
        assert rig.rung == rung
        assert rig.refused == {}


@pytest.mark.parametrize(
    ("rung", "wanted"),
    [("mmap-register", 0), ("userptr-register", FRAMES), ("userptr-hostalloc", FRAMES), ("copy", FRAMES)],
)
def test_the_region_holds_what_the_rung_wants(device: CudaDevice, rung: str, wanted: int) -> None:
    with Rig(device, camera(), memory=rung) as rig:
        assert len(rig.regions[-1].wants) == wanted
        kind = Memory.HOST if rung == "userptr-register" else Memory.MAPPED
        assert all(w.memory is kind for w in rig.regions[-1].wants)
        said = "the driver's memory, in no region of edged's" in rig.source.facts["memory"]
        assert said is (rung == "mmap-register")


def test_the_best_is_tried_first_and_taken(device: CudaDevice) -> None:
    with Rig(device, camera()) as rig:
        assert rig.rung == "mmap-register"
        assert rig.camera.calls.count("STREAMON") == 2, "one trial, one start"
        rig.read_many()


@pytest.mark.parametrize(
    ("options", "prepare", "rung", "refused"),
    [
        (
            {"exports": True},
            no_registering_but_dmabufs,
            "userptr-hostalloc",
            {
                "mmap-register": "cuMemHostRegister: CUDA_ERROR_NOT_SUPPORTED (801)",
                "userptr-register": "cuMemHostRegister: CUDA_ERROR_NOT_SUPPORTED (801)",
            },
        ),
        (
            {"exports": True, "refuse_userptr": 22},
            no_registering_but_dmabufs,
            "dmabuf",
            {
                "mmap-register": "cuMemHostRegister",
                "userptr-register": "VIDIOC_REQBUFS: EINVAL",
                "userptr-hostalloc": "VIDIOC_REQBUFS: EINVAL",
            },
        ),
        (
            {"exports": True, "refuse_userptr": 14},
            no_registering,
            "copy",
            {
                "mmap-register": "cuMemHostRegister",
                "userptr-register": "cuMemHostRegister",
                "userptr-hostalloc": "VIDIOC_QBUF: EFAULT",
                "dmabuf": "cuImportExternalMemory: CUDA_ERROR_NOT_SUPPORTED (801)",
            },
        ),
        (
            {"refuse_userptr": 22},
            lambda d, m: d.lie(True),
            "copy",
            {
                "mmap-register": "the device reads other bytes than the CPU, 6144 of 6144",
                "userptr-register": "VIDIOC_REQBUFS: EINVAL",
                "userptr-hostalloc": "VIDIOC_REQBUFS: EINVAL",
                "dmabuf": "VIDIOC_EXPBUF: ENOTTY",
            },
        ),
        (
            {},
            lambda d, m: d.lie(True),
            "userptr-hostalloc",
            {"mmap-register": "the device reads other bytes", "userptr-register": "the device reads other"},
        ),
        (
            {"unwritten": 1},
            lambda d, m: None,
            "userptr-register",
            {"mmap-register": "the driver did not write 48 of 48 rows of plane 0"},
        ),
    ],
    ids=["unregistered", "exported", "nothing", "lying", "lying-registered", "unwritten"],
)
def test_the_first_that_works_with_why_not_the_others(
    device: CudaDevice,
    driver: Standin,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    prepare: Callable[[Standin, pytest.MonkeyPatch], None],
    rung: str,
    refused: dict[str, str],
) -> None:
    prepare(driver, monkeypatch)
    with Rig(device, camera(**options)) as rig:
        assert rig.rung == rung
        assert rig.refused.keys() == refused.keys()
        for name, why in refused.items():
            assert rig.refused[name].startswith(why), rig.refused[name]
        rig.read_many()
        monkeypatch.undo()


@pytest.mark.parametrize("call", ["cuImportExternalMemory", "cuMemHostRegister"])
def test_an_unknown_error_of_a_trial_is_a_refusal_and_ends_no_process(
    device: CudaDevice, driver: Standin, call: str
) -> None:
    pages = host_memory(4096)
    driver.fault(call, 999)
    with pytest.raises(CudaError) as caught:
        device.share(pages) if call == "cuMemHostRegister" else device.share_dmabuf(0, 4096)
    assert not isinstance(caught.value, FatalDeviceError)


def test_two_memory_planes_are_no_frame_in_the_driver_s_own_buffers(device: CudaDevice) -> None:
    with Rig(device, camera("NM12", multiplanar=True)) as rig:
        assert rig.rung == "userptr-register"
        assert rig.refused == {
            "mmap-register": "a picture is in two of the driver's buffers, a frame is in one piece"
        }
        rig.read_many()


def test_a_gap_behind_rows_may_stay_as_it_is(device: CudaDevice) -> None:
    def rows(n: int, plane: int) -> bytes:
        return bytes([level(n)]) * (48 * (128 + 32))

    with Rig(device, camera(pad=32, picture=rows)) as rig:
        assert rig.rung == "mmap-register"
        rig.read_many()


def test_torn_pictures_prove_nothing(device: CudaDevice) -> None:
    with Rig(device, camera(flag_errors=3)) as rig:
        assert rig.rung == "mmap-register"
        rig.read_many()


def test_no_picture_at_open_is_the_camera_s_fault(
    device: CudaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.sources.v4l2.FIRST_S", 0.05)
    rig = Rig(device, camera(silent=True))
    with pytest.raises(
        SourceError, match="got no whole picture from /dev/video0 to try memory 'mmap-register'"
    ):
        rig.start()
    assert not rig.camera.fds
    rig.camera.silent = False
    with rig:
        rig.read_many()


def test_a_stop_ends_the_trial(device: CudaDevice) -> None:
    rig = Rig(device, camera(silent=True))
    rig.source.interrupt()
    with pytest.raises(SourceError, match="no whole picture"):
        rig.start()


def test_a_rung_that_fails_once_it_is_used_is_passed_over_at_the_next_open(
    device: CudaDevice, driver: Standin
) -> None:
    rig = Rig(device, camera())
    rig.start()
    rig.stop()
    driver.lie(True)  # from the second start on: the trial was passed before
    rig.start()
    assert rig.rung == "mmap-register"
    with pytest.raises(
        SourceError, match=r"cannot use memory 'mmap-register' of /dev/video0: the device reads"
    ):
        rig.read()
    rig.source.close()
    driver.lie(False)
    rig.start()
    assert rig.rung == "userptr-register"
    assert rig.refused["mmap-register"].startswith("the device reads other bytes")
    rig.read_many()
    rig.stop()


def test_a_rung_that_is_named_and_fails_says_so(device: CudaDevice, driver: Standin) -> None:
    driver.lie(True)
    rig = Rig(device, camera(), memory="mmap-register")
    rig.start()
    with pytest.raises(SourceError, match="the device reads other bytes"):
        rig.read()
    rig.source.close()
    with pytest.raises(SourceError, match="has memory = 'mmap-register', which cannot be") as caught:
        rig.start()
    assert "'copy'" in caught.value.hint
    rig.stop()


def test_a_rung_of_another_device_is_refused_by_name(device: CudaDevice) -> None:
    s = source(camera(), memory="mmap-register")
    with pytest.raises(SourceError, match=r"not for /dev/video0 where runtime.device is 'cpu'"):
        s.open()


def test_userptr_means_either_on_a_gpu(
    device: CudaDevice, driver: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Rig(device, camera(), memory="userptr") as rig:
        assert rig.rung == "userptr-register"
    no_registering(driver, monkeypatch)
    with Rig(device, camera(), memory="userptr") as rig:
        assert rig.rung == "userptr-hostalloc"
        monkeypatch.undo()


@pytest.mark.parametrize("rung", PROVEN)
def test_a_buffer_goes_back_to_the_driver_after_its_last_reader(
    device: CudaDevice, driver: Standin, rung: str
) -> None:
    driver.dmabufs(True)
    with Rig(device, camera(exports=True, rate_hz=500.0), memory=rung) as rig:
        kept = [rig.read() for _ in range(FRAMES)]
        assert len({f.device_address for f in kept}) == FRAMES
        assert rig.camera.inside == set(), "all are with readers"
        before = [f.planes[0].copy() for f in kept]
        assert rig.source.read(0.05) is None
        assert all((f.planes[0] == b).all() for f, b in zip(kept, before, strict=True))
        kept[2].retain()
        kept[2].release()
        assert rig.source.read(0.02) is None, "one of its readers has it still"
        address = kept[2].device_address
        kept[2].release()
        frame = rig.read()
        assert frame.device_address == address
        frame.release()
        for n in (0, 1, 3, 4):
            kept[n].release()


@pytest.mark.parametrize("rung", ["mmap-register", "userptr-register", "dmabuf"])
def test_frames_outlive_the_camera_and_then_all_is_undone(
    device: CudaDevice, driver: Standin, rung: str
) -> None:
    driver.dmabufs(True)
    rig = Rig(device, camera(exports=True), memory=rung)
    rig.start()
    rig.read_many()
    late = rig.read()
    before = late.planes[0].copy()
    rig.source.close()
    assert not rig.camera.fds
    seen = canary.peek(device, "test", late.device_address, late.spec.nbytes)
    assert (seen == before.reshape(-1)).all()
    registered = driver.live()
    assert registered["registered"] + registered["externals"] == FRAMES
    late.release()
    del late
    rig.source.close()
    assert driver.live()["registered"] == driver.live()["externals"] == 0
    rig.stop()


def test_pages_that_a_reader_still_has_are_registered_once(device: CudaDevice, driver: Standin) -> None:
    """A runner that hangs while its camera comes back: the region is the same, so are the pages."""
    rig = Rig(device, camera(), memory="userptr-register")
    rig.start()
    late = rig.read()
    rig.source.close()
    rig.source.open()
    rig.source.start(rig.given)
    assert driver.live()["registered"] == FRAMES
    rig.read_many()
    rig.source.close()
    assert driver.live()["registered"] == FRAMES, "the first reader has its frame still"
    late.release()
    rig.stop()


@pytest.mark.parametrize("rung", ["auto", *PROVEN, "copy"])
def test_twenty_rounds_of_recovery_leave_nothing(device: CudaDevice, driver: Standin, rung: str) -> None:
    driver.dmabufs(True)
    rig = Rig(device, camera(exports=True), memory=rung)
    for n in range(20):
        rig.start()
        rig.read_many(3)
        rig.camera.disconnect()
        with pytest.raises(SourceError, match="ENODEV"):
            rig.read_many(FRAMES + 1)
        rig.stop()
        live = driver.live()
        assert (live["registered"], live["externals"], live["mapped"], live["device"]) == (0, 0, 0, 0), n
        assert not rig.camera.fds
    streams = rig.camera.calls.count("STREAMON")
    assert streams == (21 if rung == "auto" else 20), "a rung that was proven is not tried again"


def test_a_camera_that_comes_back_as_another_is_tried_anew(device: CudaDevice) -> None:
    rig = Rig(device, camera())
    rig.start()
    assert rig.rung == "mmap-register"
    rig.stop()
    made = rig.camera
    made.formats, made.code, made.multiplanar = {"NM12": ((64, 48),)}, "NM12", True
    rig.start()
    assert rig.rung == "userptr-register"
    rig.read_many()
    rig.stop()


def test_registration_that_fails_half_way_is_undone(device: CudaDevice, driver: Standin) -> None:
    driver.fault("cuMemHostRegister", 801, after=3)
    with Rig(device, camera(), memory="mmap-register") as rig:  # retried as another driver's memory
        rig.read_many()
    driver.fault("cuMemHostGetDevicePointer", 801, after=3)
    rig = Rig(device, camera(), memory="userptr-register")
    with pytest.raises(SourceError, match="cuMemHostGetDevicePointer"):
        rig.start()
    assert driver.live()["registered"] == 0
    rig.stop()


def test_a_trial_that_the_budget_has_no_room_for(device: CudaDevice) -> None:
    device.budget.limit = 20_000  # a canary's two pictures, not four slots and those
    rig = Rig(device, camera(refuse_userptr=22))
    rig.start()
    assert rig.rung == "mmap-register"
    rig.stop()
    rig = Rig(device, camera(), memory="auto")
    device.budget.limit = 8_000
    with pytest.raises(Exception, match="memory_budget"):
        rig.start()
    assert "memory_budget" in rig.refused["userptr-register"]
    device.budget.limit = None
    rig.stop()


def test_what_the_device_reads_is_read_by_way_of_its_own_memory(device: CudaDevice, driver: Standin) -> None:
    region = device.region("r", Slots.wants(1, 4096, Memory.MAPPED))
    piece = region.piece("slot0")
    assert piece.array is not None
    piece.array[:] = np.arange(4096) % 256
    before = driver.allocations
    assert (canary.peek(device, "r", piece.address, 4096) == piece.array).all()
    assert driver.allocations - before == 2, "one on the device, one mapped"
    region.close()
