"""A camera's pictures, memory, times and faults: all of v4l2.py on the fake driver."""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edged.errors import SourceError
from edged.frames import PixelFormat
from edged.memory import PAGE, Region, Slots, Want
from edged.sources import _videodev2 as v
from edged.sources import v4l2
from edged.sources._v4l2_clock import MEASURED
from edged.sources._v4l2_options import V4l2Options
from edged.sources.v4l2 import V4l2Source
from edged.sources.v4l2_fake import FakeCamera, FakeKernel, level
from tests.sources.make import picture
from tests.sources.v4l2_rig import DEVICE, Rig, source

SIZE = ((64, 48),)
FORMATS = ("YUYV", "UYVY", "NV12", "NM12", "RGB3", "BGR3", "GREY")
WORDS = {"RGB3": "RGB24", "BGR3": "BGR24"}


def camera(code: str = "YUYV", **kwargs: Any) -> FakeCamera:
    return FakeCamera(formats={code: SIZE}, multiplanar=kwargs.pop("multiplanar", code == "NM12"), **kwargs)


def numbered(n: int, plane: int) -> bytes:
    """NV12 or NM12 of 64x48: a luma that depends on the place, and chroma."""
    luma = (np.arange(64 * 48) % 251).astype(np.uint8)
    chroma = (np.arange(32 * 24 * 2) % 241 + 7).astype(np.uint8)
    return (luma if plane == 0 else chroma).tobytes()


# pictures


@pytest.mark.parametrize("memory", ["userptr", "mmap"])
@pytest.mark.parametrize("multiplanar", [False, True], ids=["single", "multi"])
@pytest.mark.parametrize("code", FORMATS)
def test_every_format_both_ways(code: str, multiplanar: bool, memory: str) -> None:
    c = camera(code, multiplanar=multiplanar or code == "NM12")
    with Rig(c, memory=memory, format=WORDS.get(code, code)) as rig:
        for n in range(9):  # more than there are buffers
            frame = rig.read()
            assert frame.seq == n
            assert all((p == level(n)).all() for p in frame.planes)
            frame.release()
    assert rig.source.facts["memory"].startswith({"userptr": "userptr: ", "mmap": "copy: "}[memory])
    assert rig.source.facts["format"] == code


@pytest.mark.parametrize("memory", ["userptr", "mmap"])
def test_two_memory_planes_become_one_frame(memory: str) -> None:
    with Rig(camera("NM12", picture=numbered), memory=memory) as rig:
        frame = rig.read()
        assert rig.spec.format is PixelFormat.NV12
        assert frame.planes[0].tobytes() == numbered(0, 0)
        assert frame.planes[1].tobytes() == numbered(0, 1)
        frame.release()


@pytest.mark.parametrize("memory", ["userptr", "mmap"])
@pytest.mark.parametrize("code", ["YUYV", "NV12", "NM12"])
def test_a_padded_pitch_is_the_frame_s(code: str, memory: str) -> None:
    with Rig(camera(code, pad=32), memory=memory) as rig:
        assert rig.spec.pitch == rig.spec.row_bytes + 32
        frame = rig.read()
        assert all((p == level(0)).all() for p in frame.planes)
        frame.release()


def test_userptr_is_no_copy() -> None:
    with Rig(camera()) as rig:
        assert rig.slots is not None
        assert rig.source.facts["memory"] == "userptr: the driver writes into the slots"
        frame = rig.read()
        assert frame.planes[0].ctypes.data in [b.ctypes.data for b in rig.slots.buffers]
        assert all(b.ctypes.data % PAGE == 0 for b in rig.slots.buffers)
        frame.release()
    assert "QUERYBUF" not in rig.camera.calls


def jpeg(n: int, plane: int) -> bytes:
    ok, data = cv2.imencode(".jpg", picture(n), [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert ok
    return bytes(data)


def test_mjpg_is_decoded() -> None:
    with Rig(camera("MJPG", picture=jpeg)) as rig:
        assert rig.source.facts["memory"] == "decode: mmap, decoded by OpenCV and copied: not zero-copy"
        assert rig.source.facts["format"] == "MJPG decoded to BGR"
        for n in range(6):
            frame = rig.read()
            assert frame.spec.format is PixelFormat.BGR
            assert int(np.max(np.abs(frame.planes[0].astype(int) - picture(n)))) < 8
            assert "torn" not in frame.tags
            frame.release()


def test_a_spoilt_jpeg_is_lost() -> None:
    def some(n: int, plane: int) -> bytes:
        other = cv2.imencode(".jpg", picture(n, (32, 16)))[1].tobytes()
        return {1: b"no jpeg", 2: b"", 3: other, 4: jpeg(n, 0)[:-20]}.get(n, jpeg(n, 0))

    with Rig(camera("MJPG", picture=some)) as rig:
        assert rig.numbers(3) == [0, 5, 6]
        assert rig.source.lost == 4


# which memory


def test_userptr_refused_falls_back_to_one_copy() -> None:
    for number, why in ((errno.EINVAL, "VIDIOC_REQBUFS: EINVAL"), (errno.EFAULT, "VIDIOC_QBUF: EFAULT")):
        with Rig(camera(refuse_userptr=number)) as rig:
            assert rig.source.facts["memory"] == "copy: MMAP, one copy of each picture into a slot"
            assert rig.source.facts["no userptr"].startswith(why)
            assert rig.numbers(6) == list(range(6))


def test_userptr_refused_though_configured() -> None:
    rig = Rig(camera(refuse_userptr=errno.EINVAL), memory="userptr")
    with pytest.raises(SourceError, match="VIDIOC_REQBUFS: EINVAL") as caught:
        rig.start()
    assert "memory = 'auto'" in caught.value.hint
    assert not rig.camera.fds
    assert rig.slots is not None
    assert rig.slots.in_use == 0


def test_pictures_that_do_not_fit_a_slot_are_copied() -> None:
    with Rig(camera(pad_image=PAGE)) as rig:
        assert rig.source.facts["memory"].startswith("copy: ")
        assert rig.source.facts["no userptr"] == (
            f"the driver wants {64 * 48 * 2 + PAGE} bytes for a plane, a slot has 8192"
        )
        assert rig.numbers(3) == [0, 1, 2]


def test_a_page_s_rest_is_the_slot_s() -> None:
    with Rig(camera(pad_image=100)) as rig:
        assert rig.source.facts["memory"].startswith("userptr")
        assert rig.numbers(3) == [0, 1, 2]


def test_a_driver_that_wants_more_buffers_than_there_are_slots() -> None:
    with Rig(camera(least_buffers=3), 2) as rig:
        assert rig.source.facts["no userptr"] == "the driver wants 3 buffers, there are 2 slots"
        assert rig.numbers(3) == [0, 1, 2]


def test_slots_that_are_not_on_pages_are_copied_to() -> None:
    s = source(camera())
    spec = s.open()
    raw = Region("test", [Want("all", 2 * spec.nbytes + 2)]).bytes("all")
    given = Slots("odd", [raw[1 : spec.nbytes + 1], raw[spec.nbytes + 1 :][: spec.nbytes]])
    s.start(given)
    assert s.facts["no userptr"] == "the slots are not page-aligned"
    frame = s.read(1.0)
    assert frame is not None
    assert (frame.planes[0] == level(0)).all()
    frame.release()
    s.close()


def test_it_says_how_many_slots_the_driver_wants() -> None:
    assert source(camera()).extra_slots == v4l2.DRIVER_SLOTS
    assert source(camera(), memory="mmap").extra_slots == 0
    assert source(camera("MJPG"), format="MJPG").extra_slots == 0


# losses


def test_gaps_are_counted_exactly() -> None:
    with Rig(camera(drop={1, 2, 5})) as rig:
        assert rig.numbers(5) == [0, 3, 4, 6, 7]
        assert rig.source.lost == 3


def test_numbers_begin_at_the_first_picture_and_survive_a_wrap() -> None:
    with Rig(camera(numbers=lambda n: n + 2**32 - 3, drop={4})) as rig:
        frames = [rig.read() for _ in range(4)]
        assert [f.tags["sequence"] for f in frames] == [2**32 - 3, 2**32 - 2, 2**32 - 1, 0]
        for f in frames:
            f.release()
        assert rig.numbers(1) == [5]


def test_a_driver_that_does_not_count() -> None:
    with Rig(camera(numbers=lambda n: 0)) as rig:
        assert rig.numbers(8) == list(range(8))
        assert rig.source.facts["sequence"].startswith("the driver stays at 0")


@pytest.mark.parametrize("memory", ["userptr", "mmap"])
def test_frames_that_are_kept_cost_pictures_and_never_the_stream(memory: str) -> None:
    with Rig(camera(rate_hz=200.0), 2, memory=memory) as rig:
        kept = [rig.read(), rig.read()]
        before = [f.planes[0].copy() for f in kept]
        assert rig.source.read(0.05) is None
        assert all((f.planes[0] == b).all() for f, b in zip(kept, before, strict=True))
        for f in kept:
            f.release()
        later = rig.read()
        assert later.seq > kept[1].seq + 1
        later.release()


def test_waiting_for_a_slot_ends_when_one_is_released() -> None:
    with Rig(camera(), 1) as rig:
        kept = rig.read()
        releasing = threading.Timer(0.05, kept.release)
        releasing.start()
        begin = time.monotonic()
        frame = rig.source.read(5.0)
        assert frame is not None
        assert time.monotonic() - begin < 3
        frame.release()
        releasing.join()


def test_a_frame_released_after_close_and_reopening_is_no_harm() -> None:
    rig = Rig(camera())
    given = rig.start()
    late = rig.read()
    rig.source.close()
    assert given.in_use == 1
    rig.source.open()
    rig.source.start(given)
    assert rig.numbers(5) == list(range(5))
    late.release()
    assert rig.numbers(2) == [5, 6]
    rig.source.close()
    assert given.in_use == 0


# times


def test_driver_times() -> None:
    with Rig(camera(stamp=lambda ns: ns - 3_000_000)) as rig:
        for _ in range(12):
            frame = rig.read()
            age = time.monotonic_ns() - frame.captured_mono_ns
            assert 3_000_000 <= age < 1_000_000_000
            assert frame.timestamp_source == "driver"
            frame.release()
        assert rig.source.facts["clock"].startswith("the driver's, at least 3.")


def test_a_clock_that_goes_wrong_later_is_told_then() -> None:
    late_ns = 3_000_000
    with Rig(camera(stamp=lambda ns: ns - late_ns)) as rig:
        for _ in range(MEASURED):
            rig.read().release()
        assert rig.source.facts["clock"].startswith("the driver's")
        late_ns = 5 * 10**9
        frame = rig.read()
        assert frame.timestamp_source == "dequeue"
        frame.release()
        assert "behind CLOCK_MONOTONIC" in rig.source.facts["clock"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stamp": lambda ns: ns + 7 * 10**9}, "ahead of CLOCK_MONOTONIC"),
        ({"stamp": lambda ns: ns - 5 * 10**9}, "5.0.. s behind CLOCK_MONOTONIC"),
        ({"stamp": lambda ns: 0}, "zero"),
        ({"stamp_flags": 0}, "gives no monotonic stamps"),
    ],
)
def test_times_that_cannot_be_are_replaced(options: dict[str, Any], said: str) -> None:
    with Rig(camera(**options)) as rig:
        begin = time.monotonic_ns()
        frame = rig.read()
        assert begin <= frame.captured_mono_ns <= time.monotonic_ns()
        assert frame.timestamp_source == "dequeue"
        frame.release()
        assert re.search(said, rig.source.facts["clock"])


# faults, as ../shared/vm/examples plays them


def test_error_flag() -> None:
    with Rig(camera()) as rig:
        assert rig.numbers(2) == [0, 1]
        rig.camera.flag_errors = 1
        frames = [rig.read() for _ in range(3)]
        assert [f.tags.get("torn", False) for f in frames] == [True, False, False]
        for f in frames:
            f.release()


def test_a_picture_that_is_too_short_is_torn() -> None:
    with Rig(camera(short=1)) as rig:
        frame = rig.read()
        assert frame.tags["torn"] is True
        frame.release()


@pytest.mark.parametrize("memory", ["userptr", "mmap"])
def test_a_refused_buffer_is_offered_again(memory: str) -> None:
    with Rig(camera(), memory=memory) as rig:
        rig.numbers(1)
        rig.camera.qbuf_errors = 1
        assert rig.numbers(9) == list(range(1, 10))
        assert len(rig.camera.inside) >= 3
        assert rig.source.facts["refused"].startswith("the driver refused a buffer")


@pytest.mark.parametrize("memory", ["userptr", "mmap"])
def test_buffers_refused_for_ever_are_a_fault(memory: str) -> None:
    with Rig(camera(), memory=memory) as rig:
        rig.camera.qbuf_errors = 10**6
        e = rig.fault()
        assert e.message == f"source 'front' fails at {DEVICE}: VIDIOC_QBUF: EINVAL (Invalid argument)"


@pytest.mark.parametrize("memory", ["userptr", "mmap"])
def test_fatal_error_until_it_is_opened_again(memory: str) -> None:
    with Rig(camera(), memory=memory) as rig:
        rig.numbers(3)
        rig.camera.fatal = True
        for _ in range(2):
            assert "EIO" in rig.fault().message
        rig.source.close()
        assert not rig.camera.fds
        rig.start()
        assert rig.numbers(3) == [0, 1, 2]


@pytest.mark.parametrize("memory", ["userptr", "mmap"])
def test_disconnect(memory: str) -> None:
    with Rig(camera(), memory=memory) as rig:
        rig.numbers(3)
        rig.camera.disconnect()
        e = rig.fault()
        assert "ENODEV" in e.message
        assert "check its cable" in e.hint
        with pytest.raises(SourceError, match="open: ENODEV"):
            V4l2Source("other", rig.source.options, rig.source._kernel).open()
        rig.source.close()
        rig.start()
        assert rig.numbers(3) == [0, 1, 2]


def test_unplug_and_plug() -> None:
    with Rig(camera()) as rig:
        rig.numbers(2)
        rig.camera.unplug()
        assert "ENODEV" in rig.fault().message
        rig.source.close()
        for _ in range(3):
            with pytest.raises(SourceError, match="open: ENOENT") as caught:
                rig.source.open()
            assert "edged cameras" in caught.value.hint
        rig.camera.plug()
        rig.start()
        assert rig.numbers(2) == [0, 1]


@pytest.mark.parametrize("call", ["reqbufs", "streamon"])
@pytest.mark.parametrize("memory", ["auto", "mmap"])
def test_a_call_that_fails_once_at_start(memory: str, call: str) -> None:
    with Rig(camera(), memory=memory) as rig:
        rig.source.close()
        setattr(rig.camera, f"{call}_errors", 1)
        with pytest.raises(SourceError, match=f"VIDIOC_{call.upper()}: EINVAL"):
            rig.start()
        assert not rig.camera.fds
        assert rig.slots is not None
        assert rig.slots.in_use == 0
        rig.start()
        assert rig.numbers(3) == [0, 1, 2]


def test_a_full_bus_says_what_to_do() -> None:
    rig = Rig(camera(streamon_errors=1, streamon_errno=errno.ENOSPC))
    with pytest.raises(SourceError, match="VIDIOC_STREAMON: ENOSPC") as caught:
        rig.start()
    assert "MJPG" in caught.value.hint


def test_silence_is_none_and_then_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "SILENT_S", 0.2)
    with Rig(camera(interval=(1, 100))) as rig:
        rig.numbers(1)
        rig.camera.silent = True
        begin = time.monotonic()
        assert rig.source.read(0.0) is None
        assert time.monotonic() - begin < 0.1
        assert "got no picture from /dev/video0 for 0.2 s" in rig.fault().message
        assert time.monotonic() - begin >= 0.2


def test_pictures_that_nobody_can_use_are_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "FIRST_S", 0.1)
    with Rig(camera("MJPG", picture=lambda n, plane: b"no jpeg", rate_hz=100.0)) as rig:
        assert re.search(r"got no picture .* for 0.1 s, [0-9]+ came damaged", rig.fault().message)


def test_a_reader_that_pauses_or_keeps_frames_is_not_the_camera_s_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(v4l2, "SILENT_S", 0.05)
    monkeypatch.setattr(v4l2, "FIRST_S", 0.05)
    with Rig(camera(interval=(1, 1000)), 1) as rig:
        kept = rig.read()
        for _ in range(4):
            assert rig.source.read(0.03) is None
        kept.release()
        assert rig.numbers(1) == [1]


def test_poll_that_is_wrong_costs_no_busy_loop() -> None:
    with Rig(camera()) as rig:
        rig.numbers(1)
        rig.camera.silent = rig.camera.spurious = True
        rig.camera.calls.clear()
        assert rig.source.read(0.05) is None
        assert len(rig.camera.calls) < 70


def test_a_header_before_the_picture_is_refused() -> None:
    with Rig(camera(multiplanar=True, data_offset=64)) as rig:
        assert "behind a header" in rig.fault().message


@pytest.mark.parametrize(
    "call",
    ["QUERYCAP", "ENUM_FMT", "G_FMT", "S_FMT", "G_PARM", "REQBUFS", "QUERYBUF", "QBUF", "STREAMON", "DQBUF"],
)
@pytest.mark.parametrize("memory", ["auto", "mmap"])
def test_any_call_that_fails_leaves_nothing_open(
    memory: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = camera()
    s = source(c, memory=memory)
    real = FakeKernel.ioctl

    def fails(self: FakeKernel, fd: int, request: int, argument: Any) -> None:
        if v.Ioctl(request).name in (call, "STREAMOFF"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(self, fd, request, argument)

    monkeypatch.setattr(FakeKernel, "ioctl", fails)
    given = None
    if memory == "auto" and call == "QUERYBUF":
        pytest.skip("USERPTR does not ask")
    with pytest.raises(SourceError, match=f"VIDIOC_{call}: EIO"):  # noqa: PT012
        spec = s.open()
        given = Slots.of(Region("test", Slots.wants(3, spec.nbytes)), 3)
        s.start(given)
        s.read(1.0)
    s.close()
    assert not c.fds
    assert given is None or given.in_use == 0


@pytest.mark.parametrize("memory", ["auto", "mmap"])
def test_twenty_rounds_of_disconnect_leave_nothing(memory: str) -> None:
    rig = Rig(camera(), memory=memory)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        rig.start()
        rig.numbers(2)
        rig.camera.disconnect()
        assert "ENODEV" in rig.fault().message
        rig.source.close()
        assert len(os.listdir("/proc/self/fd")) == before


# which device


def test_a_lasting_name_is_resolved_at_each_open(tmp_path: Path) -> None:
    first, second = camera(card="one"), camera(card="two")
    link = tmp_path / "usb-camera-index0"
    kernel = FakeKernel({str(tmp_path / "video0"): first, str(tmp_path / "video1"): second})
    s = V4l2Source("front", V4l2Options(device=str(link)), kernel)
    with pytest.raises(SourceError, match="open: ENOENT"):
        s.open()
    for node, card in (("video0", "one"), ("video1", "two")):
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / node)
        s.open()
        assert s.facts["device"] == str(tmp_path / node)
        assert s.facts["camera"].startswith(card)
        s.close()


def test_errors_of_the_real_kernel(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, said in (
        (tmp_path / "absent", "open: ENOENT"),
        (tmp_path / "file", "VIDIOC_QUERYCAP: ENOTTY"),
        (Path("/dev/null"), "VIDIOC_QUERYCAP: ENOTTY"),
    ):
        with pytest.raises(SourceError, match=said) as caught:
            V4l2Source("front", V4l2Options(device=str(path))).open()
        assert caught.value.message.startswith(f"source 'front' fails at {path}: ")
        assert "edged cameras" in caught.value.hint


def test_a_camera_that_another_program_uses_is_no_reason_to_copy() -> None:
    rig = Rig(camera())
    rig.spec = rig.source.open()
    rig.camera.busy = True
    with pytest.raises(SourceError, match="VIDIOC_REQBUFS: EBUSY") as caught:
        rig.source.start(Slots.of(Region("test", Slots.wants(4, rig.spec.nbytes)), 4))
    assert "fuser -v /dev/video0" in caught.value.hint
    assert not rig.camera.fds
