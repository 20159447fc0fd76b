"""CpuPreprocess: what the contract suite (tests/contract/test_device.py) does not say about memory and faults."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest

from edged.config.schema import DewarpOptions
from edged.devices.cpu import CpuDevice
from edged.errors import DeviceError, MissingPackage
from edged.frames import FrameSpec, PixelFormat
from edged.memory import wanted_bytes
from edged.tensors import Color, ImageInput, Layout
from edged.views import WHOLE, View
from tests.devices.rig import Rig

AROUND = DewarpOptions(lens="equirectangular", size=(96, 80), yaw=10, pitch=20)


@pytest.mark.parametrize("fmt", list(PixelFormat))
@pytest.mark.parametrize(
    ("dtype", "layout", "color", "std"),
    [
        (np.float32, "NCHW", "RGB", 1.0),
        (np.float32, "NCHW", "BGR", 57.0),
        (np.float16, "NHWC", "RGB", 57.0),
        (np.uint8, "NHWC", "GREY", 1.0),
    ],
)
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(
    "view", [WHOLE, View((11, 7, 120, 100)), View(lens=AROUND)], ids=["all", "roi", "view"]
)
def test_a_frame_allocates_no_array(
    fmt: PixelFormat, dtype: type, layout: Layout, color: Color, std: float, full_range: bool, view: View
) -> None:
    src = FrameSpec(160, 120, fmt, full_range=full_range)
    image = ImageInput("images", (96, 96), color, "letterbox", std=(std,) * 3, layout=layout)
    with Rig(CpuDevice(), src, image, dtype, targets=2, view=view) as rig:
        frame = rig.frame()

        def run(i: int) -> None:
            rig.preprocess.enqueue(frame, rig.views[i % 2], 0, rig.stream)
            assert rig.stream.record().wait(10)

        peaks = np.zeros(200)
        tracemalloc.start()
        try:
            for i in range(20):
                run(i)
            start = tracemalloc.get_traced_memory()[0]
            for i in range(len(peaks)):
                held = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                run(i)
                peaks[i] = tracemalloc.get_traced_memory()[1] - held
            growth = tracemalloc.get_traced_memory()[0] - start
        finally:
            tracemalloc.stop()
            frame.release()
    # the smallest temporary picture would be 9216 bytes; views and tuples are a few hundred each.
    # Python 3.10 gives a function an opcode cache (up to 6 KiB) at its 1024th call: one frame may show it
    assert np.sort(peaks)[-2] < 4096
    assert growth < 8192  # less than one object a frame


def test_scratch_is_named_after_the_source_and_small() -> None:
    src = FrameSpec(768, 576, PixelFormat.BGR)
    with Rig(CpuDevice(), src, ImageInput("images", (416, 416), "BGR", "letterbox-topleft")) as rig:
        wants = rig.preprocess.wants()
    assert [w.name for w in wants] == ["front.placed", "front.planes"]
    assert wanted_bytes(wants) < 1 << 20


@pytest.mark.parametrize("view", [View((11, 7, 40, 30)), View(lens=AROUND)], ids=["roi", "view"])
def test_only_what_is_seen_is_converted(view: View) -> None:
    src = FrameSpec(1920, 1080, PixelFormat.NV12)
    with Rig(CpuDevice(), src, ImageInput("images", (64, 64)), view=view) as rig:
        rig.run()
        assert 0 < rig.preprocess.copied < src.nbytes / 2
        assert wanted_bytes(rig.preprocess.wants()) < src.width * src.height * 3 / 2


def test_a_camera_as_the_model_wants_it_needs_no_scratch() -> None:
    image = ImageInput("images", (64, 48), "GREY", "stretch")
    with Rig(CpuDevice(), FrameSpec(64, 48, PixelFormat.GREY), image, np.uint8) as rig:
        assert not rig.preprocess.wants()
        assert (rig.run()[0] == rig.src.views(rig.slots.buffers[0])[0]).all()


def test_float16_is_rounded_from_the_exact_value() -> None:
    src = FrameSpec(16, 16, PixelFormat.GREY)
    image = ImageInput("images", (16, 16), "GREY", mean=(123.675,), std=(58.395,))
    data = np.arange(256, dtype=np.uint8)
    with Rig(CpuDevice(), src, image, np.float16) as rig:
        row = rig.run(data).ravel()
    assert (row == ((np.arange(256) - 123.675) / 58.395).astype(np.float16)).all()


def test_int8_is_rounded_and_clipped() -> None:
    src = FrameSpec(16, 16, PixelFormat.GREY)
    image = ImageInput("images", (16, 16), "GREY", mean=(100.0,), std=(1.0,))
    with Rig(CpuDevice(), src, image, np.int8) as rig:
        row = rig.run(np.arange(256, dtype=np.uint8)).ravel()
    assert (row == np.clip(np.arange(256) - 100, -128, 127)).all()


def test_a_fault_of_opencv_is_a_device_error_and_the_stream_goes_on() -> None:
    src = FrameSpec(8, 8, PixelFormat.NV12)
    with Rig(CpuDevice(), src, ImageInput("images", (8, 8))) as rig:
        frame = rig.frame()
        frame.planes = (frame.planes[0][:3], frame.planes[1])  # a source that lies about its planes
        rig.preprocess.enqueue(frame, rig.views[0], 0, rig.stream)
        with pytest.raises(DeviceError, match="OpenCV refused"):
            rig.stream.synchronize()
        frame.release()
        rig.run()


def test_enqueue_before_bind_is_said() -> None:
    src = FrameSpec(8, 8, PixelFormat.BGR)
    with Rig(CpuDevice(), src, ImageInput("images", (8, 8))) as rig:
        unbound = CpuDevice().preprocessor("late", src, rig.views[0].spec, rig.image)
        frame = rig.frame()
        unbound.enqueue(frame, rig.views[0], 0, rig.stream)
        with pytest.raises(RuntimeError, match="before bind"):
            rig.stream.synchronize()
        frame.release()


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with (
        pytest.raises(MissingPackage, match=r"edged\[ort\]"),
        Rig(CpuDevice(), FrameSpec(8, 8, PixelFormat.BGR), ImageInput("images", (8, 8))),
    ):
        pass
