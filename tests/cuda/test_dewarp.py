"""A view into a bent picture in a graph; tests/gpu has it on the real driver."""

from __future__ import annotations

from typing import cast

import numpy as np

from edged.devices.cuda.device import CudaDevice
from edged.devices.cuda.dewarp import CudaDewarp
from edged.devices.cuda.graph import CudaGraph
from edged.frames import FrameSpec, PixelFormat
from edged.tensors import ImageInput
from edged.views import View
from tests.devices.rig import Rig, picture
from tests.test_views import FISHEYE


def test_a_graph_does_not_copy_the_table(device: CudaDevice) -> None:
    """It is where the kernel reads it once `bind` has returned: a kernel is all that a capture sees."""
    src, image = FrameSpec(96, 64, PixelFormat.GREY), ImageInput("images", (8, 8))
    with Rig(device, src, image, view=View(lens=FISHEYE)) as rig:
        made, target = cast(CudaDewarp, rig.preprocess), rig.views[0]
        graph = cast(CudaGraph, rig.stream.capture(lambda: made.launch(target, 1, rig.stream)))
        try:
            assert graph.nodes == 1
            for seed in range(2):
                data = picture(src, seed)
                want = rig.run(data).copy()
                assert len(np.unique(want)) > 8
                rig.run(np.zeros_like(data))
                frame = rig.frame(data)
                made.describe(frame, 0)
                graph.launch()
                rig.stream.synchronize()
                frame.release()
                assert (rig.seen()[0] == want).all()
        finally:
            graph.close()
