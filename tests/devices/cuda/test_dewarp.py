"""Views into bent pictures: the kernel against the reference, and where its table is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edged.config.schema import DewarpOptions
from edged.devices import reference
from edged.devices.cuda.dewarp import CudaDewarp
from edged.errors import DeviceError
from edged.frames import FrameSpec, PixelFormat
from edged.tensors import ImageInput, TensorSpec
from edged.views import positions
from tests.devices.cuda.mapped import GpuLike, MappedRig
from tests.devices.rig import picture
from tests.test_views import FISHEYE


def made(device: GpuLike, lens: DewarpOptions = FISHEYE) -> Any:
    """What MappedRig makes its preprocessor with."""

    def make(name: str, src: Any, dst: Any, image: Any, functions: Any) -> CudaDewarp:
        return CudaDewarp(name, src, dst, image, functions, lens, device.stream)

    return make


@pytest.mark.parametrize("fmt", list(PixelFormat))
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_the_kernel_agrees_with_the_reference(device: GpuLike, fmt: PixelFormat, resize: Any) -> None:
    src = FrameSpec(96, 64, fmt, FrameSpec(96, 64, fmt).row_bytes + 6)
    image = ImageInput("images", (50, 50), "BGR", resize, 30)
    views = [
        DewarpOptions(lens="fisheye", size=(64, 48), fov=150, yaw=20, focal=(30.0, 30.0), lens_fov=170),
        DewarpOptions(lens="equirectangular", size=(40, 48), yaw=170, pitch=30),
    ]
    for options in views:
        with MappedRig(device, src, image, make=made(device, options)) as rig:
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
    view = made(device)("c", FrameSpec(96, 64, PixelFormat.GREY), dst, image, device.functions)
    with pytest.raises(DeviceError, match="no region"):
        view.look_at((0, 0, 4, 4))
