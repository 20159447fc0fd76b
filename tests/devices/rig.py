"""What tests of a preprocessor need around it: pictures of any format, memory, and one call that runs it."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edged.frames import U8, Frame, FrameSpec, Leased, Memory
from edged.interfaces import Device, Stream
from edged.memory import Slots, Want
from edged.tensors import ImageInput, TensorSpec, TensorView
from edged.views import WHOLE, View

RNG_SEED = 7
# Elsewhere OpenCV may give a picture to libraries of the processor's maker, which are a level or two off in places
OPENCV_HAS_THESE_BITS = platform.machine() == "x86_64"


def picture(spec: FrameSpec, seed: int = RNG_SEED) -> U8:
    """The bytes of a frame: a smooth gradient with noise on it, every value possible."""
    rng = np.random.default_rng(seed)
    wave = np.linspace(0, 6, spec.nbytes)
    smooth = 127 + 127 * np.sin(wave)
    return np.asarray(np.clip(smooth + rng.integers(-90, 91, spec.nbytes), 0, 255), np.uint8)


@dataclass
class Rig:
    """A preprocessor with its memory, `targets` buffers for its output and one slot that holds a frame."""

    device: Device
    src: FrameSpec
    image: ImageInput
    dtype: npt.DTypeLike = np.float32
    targets: int = 1
    batch: int = 1
    view: View = WHOLE
    views: list[TensorView] = field(default_factory=list)

    def __enter__(self) -> Rig:
        spec = TensorSpec("images", self.image.shape(self.batch), np.dtype(self.dtype))
        self.preprocess = self.device.preprocessor("front", self.src, spec, self.image, view=self.view)
        kind = self.device.tensor_memory
        tensors = [Want.tensor(spec, f"images{i}", kind) for i in range(self.targets)]
        if kind is Memory.DEVICE:
            tensors.append(Want.tensor(spec, "mirror", Memory.MAPPED))
        self.region = self.device.region("runner", [*self.preprocess.wants(), *tensors])
        self.frames = self.device.region("source", Slots.wants(1, self.src.nbytes, self.device.frame_memory))
        self.slots = Slots.of(self.frames, 1)
        self.preprocess.bind(self.region)
        self.views = [self.region.tensor(spec, f"images{i}") for i in range(self.targets)]
        self.mirror = self.region.tensor(spec, "mirror") if kind is Memory.DEVICE else None
        self.region.freeze()
        self.stream: Stream = self.device.stream()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stream.close()
        self.region.close()
        self.frames.close()

    def frame(self, data: U8 | None = None) -> Frame:
        """The slot filled with `data`; the caller releases it."""
        lease = self.slots.acquire()
        assert lease is not None
        buffer = self.slots.buffers[lease.index]
        buffer[:] = picture(self.src) if data is None else data
        return self.frame_of(buffer, lease.index, lease)

    def frame_of(self, buffer: U8, slot: int, lease: Leased, spec: FrameSpec | None = None) -> Frame:
        slots, spec = self.slots, spec or self.src
        return Frame(
            spec,
            spec.views(buffer),
            lease,
            0,
            0,
            0,
            memory=slots.memory,
            device_address=slots.addresses[slot],
        )

    def seen(self, target: int = 0) -> npt.NDArray[Any]:
        """What the host sees of a target: itself, or a copy."""
        if self.mirror is None:
            return self.views[target].host()
        self.stream.copy(self.mirror, self.views[target])
        self.stream.synchronize()
        found: npt.NDArray[Any] = self.mirror.host().copy()
        return found

    def run(self, data: U8 | None = None, target: int = 0, index: int = 0) -> npt.NDArray[Any]:
        """Preprocess one frame and give row `index` of the target."""
        frame = self.frame(data)
        try:
            self.preprocess.enqueue(frame, self.views[target], index, self.stream)
            self.stream.synchronize()
        finally:
            frame.release()
        row: npt.NDArray[Any] = self.seen(target)[index]
        return row
