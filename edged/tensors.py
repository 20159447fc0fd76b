"""Tensors as engines name them and as regions hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edged.frames import Fit, Memory

Layout = Literal["NCHW", "NHWC"]
Color = Literal["RGB", "BGR", "GREY"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor of an engine: name, shape (all dimensions resolved) and numpy dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)}"


@dataclass(frozen=True, slots=True)
class TensorView:
    """Memory for a tensor, owned by a region. `array` is the host view; None when memory is DEVICE.

    `address` is where its device finds it: of mapped memory that may differ from where the host does.
    """

    spec: TensorSpec
    address: int
    memory: Memory
    array: npt.NDArray[Any] | None

    def host(self) -> npt.NDArray[Any]:
        """The host view; a programming error where there is none."""
        if self.array is None:
            raise TypeError(f"tensor {self.spec.name} has no host view (memory: {self.memory.value})")
        return self.array


@dataclass(frozen=True, slots=True)
class ImageInput:
    """How a picture becomes the model's input tensor: value = (pixel - mean) / std, in grey levels 0..255.

    `size` is (width, height). `mean` and `std` have one value a channel, in the tensor's channel order
    (`color`). `pad` is the grey level of letterbox bars, before mean and std.
    """

    tensor: str
    size: tuple[int, int]
    color: Color = "RGB"
    resize: Fit = "letterbox"
    pad: int = 114
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: Layout = "NCHW"

    @property
    def channels(self) -> int:
        return 1 if self.color == "GREY" else 3

    def shape(self, batch: int = 1) -> tuple[int, int, int, int]:
        w, h = self.size
        return (batch, self.channels, h, w) if self.layout == "NCHW" else (batch, h, w, self.channels)
