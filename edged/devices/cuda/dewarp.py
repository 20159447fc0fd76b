"""Views into bent pictures on a GPU: the kernel samples along a table of positions (views.py)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from edged.config.schema import DewarpOptions
from edged.devices.cuda.compiled import Functions
from edged.devices.cuda.descriptors import DescriptorTable
from edged.devices.cuda.preprocess import CudaPreprocess
from edged.errors import DeviceError
from edged.frames import FrameSpec, Geometry, Memory, Roi
from edged.interfaces import Stream
from edged.memory import Region, Want
from edged.tensors import ImageInput, TensorSpec
from edged.views import placed, positions


class CudaDewarp(CudaPreprocess):
    """CudaPreprocess through a lens: colour, resampling along the table and all the rest in the same pass.

    The table, 8 bytes a pixel of the placed view, is in DEVICE memory once `bind` returns: a graph may be captured.
    `geometry` is the view's. `stream` makes one for that copy.
    """

    dewarp = True

    def __init__(
        self,
        name: str,
        src: FrameSpec,
        dst: TensorSpec,
        image: ImageInput,
        functions: Functions,
        lens: DewarpOptions,
        stream: Callable[[], Stream],
        table: DescriptorTable | None = None,
        tickets: int = 2,
    ) -> None:
        self._lens, self._stream = lens, stream
        super().__init__(name, src, dst, image, functions, table, None, tickets)
        w, h = placed(lens, image)
        self._positions = TensorSpec(f"{name}.positions", (h, w, 2), np.dtype(np.float32))

    def look_at(self, roi: Roi | None) -> None:
        """Only all of the source: a view already is a choice."""
        if roi is not None:
            raise DeviceError(
                f"{self._name}: a dewarped view has no region", hint="change the view's yaw, pitch and fov"
            )
        super().look_at(None)
        d = self._descriptor
        self._geometry = Geometry.fit(self._lens.size, self._image.size, self._image.resize)
        d.place_x, d.place_y, d.place_w, d.place_h = self._geometry.placed
        d.one_tap = 0

    def wants(self) -> list[Want]:
        table = self._positions
        staging = Want.tensor(table, f"{table.name}.staging", Memory.MAPPED)
        return [*super().wants(), Want.tensor(table, memory=Memory.DEVICE), staging]

    def bind(self, region: Region) -> None:
        """Make the table and have the GPU copy it; waits for that. Takes tens of ms."""
        super().bind(region)
        table = region.tensor(self._positions)
        staging = region.tensor(self._positions, f"{self._positions.name}.staging")
        staging.host()[:] = positions(self._lens, self._src, self._image)
        stream = self._stream()
        try:
            stream.copy(table, staging)
            stream.synchronize()
        finally:
            stream.close()
        self._map = ctypes.c_void_p(table.address)
