"""kernels/preprocess.cu and CudaPreprocess, run by a CPU (emulation.py), against the numpy reference."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from edged.devices.cuda.descriptors import DescriptorTable
from edged.devices.cuda.preprocess import FILE, CudaPreprocess, macros_of
from edged.errors import DeviceError, ModelError
from edged.frames import FrameSpec, Memory, PixelFormat
from edged.memory import Want
from edged.tensors import ImageInput, TensorSpec
from tests.devices.cuda.agree import (
    DTYPES,
    FITS,
    LAYOUTS,
    NORMS,
    VARIANTS,
    assert_row_agrees,
    cases,
    frame_bytes,
)
from tests.devices.cuda.emulation import Emulation
from tests.devices.cuda.mapped import GpuLike, MappedRig, frame_in, slots_of
from tests.devices.rig import picture
from tests.searching import examples


@pytest.fixture(scope="session", autouse=True)
def _prepared(emulation: Emulation) -> None:
    """All variants are compiled at once, a few at a time."""
    images = [(ImageInput("images", (8, 8), c, layout=n), np.dtype(d)) for n, c, d in VARIANTS if c != "BGR"]
    emulation.prepare(FILE, [macros_of(TensorSpec("images", i.shape(), d), i) for i, d in images])


@pytest.mark.parametrize(("layout", "color", "dtype"), VARIANTS)
def test_every_format_to_every_tensor(device: GpuLike, layout: Any, color: Any, dtype: Any) -> None:
    for n, fmt in enumerate(PixelFormat):
        src = FrameSpec(62, 46, fmt, pitch=200)
        mean, std = NORMS[dtype] if n % 2 else ((0.0,) * 3, (1.0,) * 3)
        image = ImageInput("images", (48, 40), color, FITS[n % 3], 114, mean, std, layout)
        with MappedRig(device, src, image, dtype) as rig:
            data = picture(src)
            assert_row_agrees(rig.run(data), src, data, image)


@examples(100)
@given(case=cases())
def test_agrees_with_the_reference(device: GpuLike, case: Any) -> None:
    src, image, roi, seed = case
    data = frame_bytes(src, seed)
    with MappedRig(device, src, image) as rig:
        rig.preprocess.look_at(roi)
        assert_row_agrees(rig.run(data), src, data, image, roi)


@pytest.mark.parametrize("misalign", [0, 1, 2])
@pytest.mark.parametrize("fmt", [PixelFormat.NV12, PixelFormat.YUYV, PixelFormat.UYVY])
def test_addresses_that_forbid_wide_loads(device: GpuLike, fmt: PixelFormat, misalign: int) -> None:
    src, image = FrameSpec(64, 48, fmt), ImageInput("images", (64, 48))
    data = picture(src)
    room = device.region("room", [Want("room", src.nbytes + 8, Memory.MAPPED)])
    piece = room.piece("room")
    assert piece.array is not None
    piece.array[misalign : misalign + src.nbytes] = data
    with MappedRig(device, src, image) as rig:
        frame = rig.frame()
        frame.device_address = piece.address + misalign
        rig.preprocess.enqueue(frame, rig.view, 0, rig.stream)
        rig.stream.synchronize()
        assert_row_agrees(rig.view.host()[0], src, data, image)
        frame.release()
    room.close()


def test_one_launch_fills_a_batch_from_cameras_of_all_formats(device: GpuLike) -> None:
    """What a graph replays: the launch never changes, the table does; rows that are skipped stay."""
    image = ImageInput("images", (40, 24), "BGR", "letterbox", 7, layout="NHWC")
    n = len(PixelFormat)
    dst = TensorSpec("images", image.shape(n + 1), np.dtype(np.float32))
    table = DescriptorTable("table", n + 1, tickets=2)
    sources = [FrameSpec(20 + 8 * i, 30 + 2 * i, fmt) for i, fmt in enumerate(PixelFormat)]
    made = [CudaPreprocess(f"c{i}", s, dst, image, device.functions, table) for i, s in enumerate(sources)]
    assert not any(m.wants() for m in made)
    region = device.region("runner", [*table.wants(), Want.tensor(dst, memory=Memory.MAPPED)])
    table.bind(region)
    target, stream = region.tensor(dst), device.stream()
    slots = [slots_of(device, src) for src in sources]
    for ticket in (0, 1, 0):
        target.host()[:] = -1
        frames = [frame_in(s, src, picture(src, ticket)) for (_, s), src in zip(slots, sources, strict=True)]
        for i, (m, frame) in enumerate(zip(made, frames, strict=True)):
            m.describe(frame, i, ticket)
        made[0].skip(n, ticket)
        made[0].launch(target, n + 1, stream, ticket)
        stream.synchronize()
        for i, (frame, src) in enumerate(zip(frames, sources, strict=True)):
            assert_row_agrees(target.host()[i], src, picture(src, ticket), image)
            frame.release()
        assert (target.host()[n] == -1).all()
    with pytest.raises(IndexError, match="row 7 of ticket 0"):
        table.clear(n + 1)
    stream.close()
    for r in (region, *(r for r, _ in slots)):
        r.close()


def test_shrinking_by_an_odd_number_reads_single_pixels(device: GpuLike) -> None:
    """1080p to 640 is three to one: the tensor holds source pixels, unblended."""
    src, image = FrameSpec(96, 54, PixelFormat.GREY), ImageInput("images", (32, 18), "GREY")
    with MappedRig(device, src, image) as rig:
        assert rig.preprocess._descriptor.one_tap
        data = picture(src)
        assert (rig.run(data)[0] == data.reshape(54, 96)[1::3, 1::3]).all()


def test_geometry_of_a_region_maps_to_the_whole_picture(device: GpuLike) -> None:
    src, image = FrameSpec(64, 48, PixelFormat.GREY), ImageInput("images", (32, 32), "GREY", "stretch")
    with MappedRig(device, src, image) as rig:
        rig.preprocess.look_at((16, 8, 32, 16))
        g = rig.preprocess.geometry
        assert (g.source_width, g.source_height) == (64, 48)
        assert g.points_to_source(np.array([[0, 0], [32, 32]], np.float32)).tolist() == [[16, 8], [48, 24]]
        for roi in ((0, 0, 65, 1), (-1, 0, 4, 4), (0, 0, 0, 4)):
            with pytest.raises(DeviceError, match="not inside"):
                rig.preprocess.look_at(roi)


def test_what_cannot_be_read_or_written_is_refused(device: GpuLike) -> None:
    src, image = FrameSpec(16, 8, PixelFormat.BGR), ImageInput("images", (16, 16))
    with MappedRig(device, src, image) as rig:
        frame = rig.frame()
        frame.spec = FrameSpec(8, 8, PixelFormat.BGR)
        with pytest.raises(DeviceError, match="built for"):
            rig.preprocess.enqueue(frame, rig.view, 0, rig.stream)
        frame.spec, frame.memory = src, Memory.HOST
        with pytest.raises(DeviceError, match="host memory, which the GPU cannot read"):
            rig.preprocess.enqueue(frame, rig.view, 0, rig.stream)
        frame.release()
    with pytest.raises(ModelError, match="int8"):
        CudaPreprocess(
            "front", src, TensorSpec("images", (1, 3, 16, 16), np.dtype(np.int64)), image, device.functions
        )


def test_all_dtypes_and_layouts_are_variants() -> None:
    assert len({(a, b) for a, _, b in VARIANTS}) == len(list(itertools.product(LAYOUTS, DTYPES)))
