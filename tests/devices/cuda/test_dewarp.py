"""Views into bent pictures: the table against OpenCV's and against geometry, the kernel against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edged.devices import reference
from edged.devices.cuda.dewarp import CudaDewarp, Options, positions
from edged.errors import DeviceError
from edged.frames import FrameSpec, PixelFormat
from edged.tensors import ImageInput, TensorSpec
from tests.devices.cuda.mapped import GpuLike, MappedRig
from tests.devices.rig import picture

FISHEYE = Options(
    lens="fisheye",
    size=(64, 48),
    fov=100,
    focal=(30.0, 31.0),
    center=(47.0, 30.0),
    k=(0.05, -0.02, 0.01, -0.002),
)


def test_the_fisheye_table_is_opencvs() -> None:
    cv2 = pytest.importorskip("cv2")
    src, image = FrameSpec(96, 64, PixelFormat.GREY), ImageInput("images", (64, 48), "GREY", "stretch")
    table = positions(FISHEYE, src, image)
    f = 32 / np.tan(np.radians(50))
    view = np.array([[f, 0, 31.5], [0, f, 23.5], [0, 0, 1]])
    lens = np.array([[30.0, 0, 47], [0, 31, 30], [0, 0, 1]])
    fisheye: Any = cv2.fisheye
    x, y = fisheye.initUndistortRectifyMap(lens, np.array(FISHEYE.k), np.eye(3), view, (64, 48), cv2.CV_32FC1)
    assert np.abs(table - np.stack([x, y], axis=-1)).max() < 1e-3


@pytest.mark.parametrize(
    ("yaw", "pitch", "x", "y"),
    [(0, 0, 0.5, 0.5), (90, 0, 0.75, 0.5), (-90, 0, 0.25, 0.5), (0, 45, 0.5, 0.25), (0, -45, 0.5, 0.75)],
)
def test_the_middle_of_a_view_is_where_it_looks(yaw: float, pitch: float, x: float, y: float) -> None:
    """Right and up are positive: a 360-degree picture has the right at three quarters and the sky on top."""
    src, image = FrameSpec(3600, 1800, PixelFormat.GREY), ImageInput("images", (63, 63), "GREY")
    table = positions(Options(lens="equirectangular", size=(63, 63), yaw=yaw, pitch=pitch), src, image)
    assert table[31, 31] == pytest.approx([x * 3600 - 0.5, y * 1800 - 0.5], abs=0.1)
    assert not np.isnan(table).any()


def test_roll_turns_the_view() -> None:
    src, image = FrameSpec(360, 180, PixelFormat.GREY), ImageInput("images", (33, 33), "GREY")
    level, rolled = (
        positions(Options(lens="equirectangular", size=(33, 33), roll=r), src, image) for r in (0, 90)
    )
    # clockwise: what was above the middle is now on the right, so the right shows it
    assert np.allclose(rolled[16, 32], level[32, 16], atol=1e-2)


def test_rays_beyond_the_lens_see_nothing() -> None:
    src, image = FrameSpec(96, 64, PixelFormat.GREY), ImageInput("images", (64, 48), "GREY", "stretch")
    options = Options(lens="fisheye", size=(64, 48), fov=150, focal=(20.0, 20.0), lens_fov=120)
    table = positions(options, src, image)
    assert np.isnan(table[0, 0]).all()
    assert np.isfinite(table[24, 32]).all()
    with pytest.raises(DeviceError, match="focal"):
        positions(Options(lens="fisheye", size=(8, 8)), src, image)


@pytest.mark.parametrize("fmt", list(PixelFormat))
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_the_kernel_agrees_with_the_reference(device: GpuLike, fmt: PixelFormat, resize: Any) -> None:
    src = FrameSpec(96, 64, fmt, FrameSpec(96, 64, fmt).row_bytes + 6)
    image = ImageInput("images", (50, 50), "BGR", resize, 30)
    views = [
        Options(lens="fisheye", size=(64, 48), fov=150, yaw=20, focal=(30.0, 30.0), lens_fov=170),
        Options(lens="equirectangular", size=(40, 48), yaw=170, pitch=30),
    ]
    for options in views:

        def make(
            name: str, src: Any, dst: Any, image: Any, functions: Any, view: Any = options
        ) -> CudaDewarp:
            return CudaDewarp(name, src, dst, image, functions, view)

        with MappedRig(device, src, image, make=make) as rig:
            data = picture(src)
            got = rig.run(data).transpose(1, 2, 0)
            g = rig.preprocess.geometry
            assert (g.source_width, g.source_height) == options.size
        table = positions(options, src, image)
        want = np.rint(reference.dewarped_levels(src, src.views(data), image, options.size, table))
        assert np.abs(got - want).max() <= 1
        assert (want == 30).any()


def test_a_view_has_no_region(device: GpuLike) -> None:
    image = ImageInput("images", (8, 8))
    dst = TensorSpec("images", image.shape(), np.dtype(np.float32))
    made = CudaDewarp("c", FrameSpec(96, 64, PixelFormat.GREY), dst, image, device.functions, FISHEYE)
    with pytest.raises(DeviceError, match="no region"):
        made.look_at((0, 0, 4, 4))


def test_a_graph_does_not_copy_the_table(device: GpuLike) -> None:
    src, image = FrameSpec(96, 64, PixelFormat.GREY), ImageInput("images", (8, 8))

    def make(name: str, src: Any, dst: Any, image: Any, functions: Any) -> CudaDewarp:
        return CudaDewarp(name, src, dst, image, functions, FISHEYE)

    with MappedRig(device, src, image, make=make) as rig:
        assert isinstance(rig.preprocess, CudaDewarp)
        with pytest.raises(RuntimeError, match="uploaded"):
            rig.preprocess.launch(rig.view, 1, rig.stream)
        want = rig.run().copy()
        frame = rig.frame()
        rig.preprocess.describe(frame, 0)
        rig.view.host()[:] = 0
        rig.preprocess.launch(rig.view, 1, rig.stream)
        rig.stream.synchronize()
        assert (rig.view.host()[0] == want).all()
        frame.release()
