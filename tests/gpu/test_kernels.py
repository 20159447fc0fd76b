"""The kernels on a real GPU: the tests that the emulation runs, with the driver behind them.

python -m pytest tests/gpu/test_kernels.py
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest

from edged.devices.cuda.compiled import Functions
from edged.devices.cuda.device import CudaDevice
from edged.devices.cuda.preprocess import BLOCK, CudaPreprocess
from edged.errors import EdgedError
from edged.frames import FrameSpec, Memory, PixelFormat
from edged.memory import Want
from edged.tensors import ImageInput, TensorSpec
from tests.cuda.test_dewarp import test_a_graph_does_not_copy_the_table  # noqa: F401
from tests.devices.cuda.agree import assert_row_agrees
from tests.devices.cuda.mapped import MappedRig, frame_in, slots_of
from tests.devices.cuda.test_decode import (  # noqa: F401
    test_a_small_buffer_keeps_what_it_holds_and_counts_the_rest,
    test_survivors_are_the_parsers_candidates,
)
from tests.devices.cuda.test_dewarp import test_the_kernel_agrees_with_the_reference  # noqa: F401
from tests.devices.cuda.test_preprocess import (  # noqa: F401
    test_addresses_that_forbid_wide_loads,
    test_agrees_with_the_reference,
    test_every_format_to_every_tensor,
    test_one_launch_fills_a_batch_from_cameras_of_all_formats,
    test_shrinking_by_an_odd_number_reads_single_pixels,
)
from tests.devices.cuda.test_same_as_cpu import (  # noqa: F401
    test_a_region_is_a_picture_of_its_own,
    test_every_colour,
    test_every_source_to_every_size,
    test_photographs_and_what_is_found_in_them,
)
from tests.devices.rig import picture


class Gpu(CudaDevice):
    """With the functions that its own preprocessors get."""

    @property
    def functions(self) -> Functions:
        return self._kernels()


@pytest.fixture(scope="module")
def device() -> Iterator[Gpu]:
    gpu = Gpu()
    try:
        with gpu.current():
            # what a first use opens for good is no leak of the test that happens to be first
            with MappedRig(gpu, FrameSpec(8, 8, PixelFormat.GREY), ImageInput("images", (8, 8))) as rig:
                rig.run()
            yield gpu
    except EdgedError as e:
        pytest.skip(f"no GPU to test on: {e.message}")
    finally:
        gpu.close()


def test_1080p_to_every_common_size(device: Gpu) -> None:
    src = FrameSpec(1920, 1080, PixelFormat.NV12, 2048, "bt709")
    data = picture(src)
    for size in ((640, 640), (416, 416), (1280, 736), (224, 224), (1920, 1080)):
        for dtype in (np.float32, np.float16):
            image = ImageInput("images", size)
            with MappedRig(device, src, image, dtype) as rig:
                assert_row_agrees(rig.run(data), src, data, image)


def test_a_captured_launch_follows_the_table(device: Gpu) -> None:
    """One graph, replayed with frames at other addresses."""
    src, image = FrameSpec(64, 48, PixelFormat.NV12), ImageInput("images", (32, 32))
    dst = TensorSpec("images", image.shape(), np.dtype(np.float16))
    made = CudaPreprocess("front", src, dst, image, device.functions)
    region = device.region("runner", [*made.wants(), Want.tensor(dst, memory=Memory.MAPPED)])
    made.bind(region)
    target, stream = region.tensor(dst), device.stream()
    graph = stream.capture(lambda: made.launch(target, 1, stream, 1))
    for seed in range(4):
        frames, slots = slots_of(device, src)
        data = picture(src, seed)
        frame = frame_in(slots, src, data)
        made.describe(frame, 0, 1)
        graph.launch()
        stream.synchronize()
        assert_row_agrees(target.host()[0], src, data, image)
        frame.release()
        frames.close()
    graph.close()
    stream.close()
    region.close()


def test_what_is_read_and_written_stays_inside(device: Gpu) -> None:
    """Guards around a tensor of odd width hold; compute-sanitizer says it of every byte."""
    src, image = FrameSpec(33, 17, PixelFormat.BGR), ImageInput("images", (35, 19))
    dst = TensorSpec("images", image.shape(), np.dtype(np.float32))
    with MappedRig(device, src, image) as rig:
        room = device.region("room", [Want("room", dst.nbytes + 512, Memory.MAPPED)])
        piece = room.piece("room")
        assert piece.array is not None
        piece.array[:] = 0xA5
        frame = rig.frame()
        made = rig.preprocess
        out = ctypes.c_void_p(piece.address + 256)
        made._descriptor.plane0, made._descriptor.plane1, made._descriptor.format = made._find(frame)
        made._one.launch(
            made._grid(1), BLOCK, (made._descriptor, made._map, made._target, out), rig.stream.handle
        )
        rig.stream.synchronize()
        frame.release()
        assert (piece.array[:256] == 0xA5).all()
        assert (piece.array[256 + dst.nbytes :] == 0xA5).all()
        room.close()
