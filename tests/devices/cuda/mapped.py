"""A rig for a GPU's preprocessing, real or emulated: frames and tensors in memory that both sides see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edged.devices.cuda.compiled import Functions
from edged.devices.cuda.preprocess import CudaPreprocess
from edged.frames import U8, Frame, FrameSpec, Memory
from edged.interfaces import Stream
from edged.memory import Region, Slots, Want
from edged.tensors import ImageInput, TensorSpec, TensorView
from tests.devices.rig import picture

Make = Callable[[str, FrameSpec, TensorSpec, ImageInput, Functions], CudaPreprocess]


class GpuLike(Protocol):
    """CudaDevice with its functions, or EmulatedDevice."""

    @property
    def functions(self) -> Functions: ...
    def region(self, owner: str, wants: Any) -> Region: ...
    def stream(self, priority: int = 0, name: str = "") -> Any: ...


def slots_of(device: GpuLike, src: FrameSpec) -> tuple[Region, Slots]:
    """One slot for a frame, in mapped memory; the caller closes the region."""
    region = device.region("source", Slots.wants(1, src.nbytes, Memory.MAPPED))
    return region, Slots.of(region, 1)


def frame_in(slots: Slots, src: FrameSpec, data: U8) -> Frame:
    """The slot filled with `data`, as a GPU sees it; the caller releases it."""
    lease = slots.acquire()
    assert lease is not None
    buffer = slots.buffers[lease.index]
    buffer[:] = data
    address = slots.addresses[lease.index] or buffer.ctypes.data  # an emulation's is the host's
    planes = src.views(buffer)
    return Frame(src, planes, lease, 0, 0, 0, memory=Memory.MAPPED, device_address=address)


@dataclass
class MappedRig:
    """A preprocessor with its memory, a target and one slot that holds a frame."""

    device: GpuLike
    src: FrameSpec
    image: ImageInput
    dtype: npt.DTypeLike = np.float32
    make: Make = CudaPreprocess
    view: TensorView = field(init=False)

    def __enter__(self) -> MappedRig:
        spec = TensorSpec("images", self.image.shape(), np.dtype(self.dtype))
        self.preprocess = self.make("front", self.src, spec, self.image, self.device.functions)
        wants = [*self.preprocess.wants(), Want.tensor(spec, memory=Memory.MAPPED)]
        self.region = self.device.region("runner", wants)
        self.frames, self.slots = slots_of(self.device, self.src)
        self.preprocess.bind(self.region)
        self.view = self.region.tensor(spec)
        self.region.freeze()
        self.stream: Stream = self.device.stream()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stream.close()
        self.region.close()
        self.frames.close()

    def frame(self, data: U8 | None = None) -> Frame:
        return frame_in(self.slots, self.src, picture(self.src) if data is None else data)

    def run(self, data: U8 | None = None) -> npt.NDArray[Any]:
        """Preprocess one frame and give its row of the tensor (a copy: the memory goes with the rig)."""
        frame = self.frame(data)
        try:
            self.preprocess.enqueue(frame, self.view, 0, self.stream)
            self.stream.synchronize()
        finally:
            frame.release()
        row: npt.NDArray[Any] = self.view.host()[0].copy()
        return row
