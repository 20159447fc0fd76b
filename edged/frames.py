"""Frames as they come from a camera, and the geometry between source and model pixels.

Pure values and numpy views; no thread, no device, no library but numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

Roi = tuple[int, int, int, int]  # x, y, w, h: a part of a picture, in its pixels
Fit = Literal["letterbox", "letterbox-topleft", "stretch"]
ColorMatrix = Literal["bt601", "bt709"]
TimestampSource = Literal["driver", "dequeue", "file", "decode", "synthetic"]


class PixelFormat(str, Enum):
    """Layouts that edged preprocesses; the value is the name used in configuration and messages."""

    BGR = "BGR"  # 3 bytes a pixel, V4L2 BGR24, OpenCV's order
    RGB = "RGB"  # 3 bytes a pixel, V4L2 RGB24
    GREY = "GREY"  # 1 byte a pixel
    YUYV = "YUYV"  # 4:2:2 packed, 2 bytes a pixel: Y0 U Y1 V
    UYVY = "UYVY"  # 4:2:2 packed, 2 bytes a pixel: U Y0 V Y1
    NV12 = "NV12"  # 4:2:0: a plane of Y, then a half-height plane of interleaved U V


class Memory(str, Enum):
    """Where the bytes of a frame or tensor are."""

    HOST = "host"
    MAPPED = "mapped"  # pinned host memory with a device address
    DEVICE = "device"
    DMABUF = "dmabuf"


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane in a frame's buffer; all figures in bytes but `rows`."""

    offset: int
    rows: int
    row_bytes: int
    pitch: int
    shape: tuple[int, ...]  # of the numpy view: (rows, width) or (rows, width, channels)


# bytes a pixel of the first plane and the channels of its view
_PACKED: dict[PixelFormat, int] = {
    PixelFormat.BGR: 3,
    PixelFormat.RGB: 3,
    PixelFormat.GREY: 1,
    PixelFormat.YUYV: 2,
    PixelFormat.UYVY: 2,
    PixelFormat.NV12: 1,
}


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """What a source delivers, negotiated at open and fixed until it reopens.

    `pitch` is the distance between rows in bytes (0: rows are contiguous); NV12 uses it for both planes.
    """

    width: int
    height: int
    format: PixelFormat
    pitch: int = 0
    matrix: ColorMatrix = "bt601"
    full_range: bool = False

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"frame size {self.width}x{self.height} is not positive")
        if self.format in (PixelFormat.YUYV, PixelFormat.UYVY, PixelFormat.NV12) and self.width % 2:
            raise ValueError(f"{self.format.value} needs an even width, got {self.width}")
        if self.format is PixelFormat.NV12 and self.height % 2:
            raise ValueError(f"NV12 needs an even height, got {self.height}")
        if self.pitch and self.pitch < self.row_bytes:
            raise ValueError(f"pitch {self.pitch} is below the row's {self.row_bytes} bytes")

    @property
    def row_bytes(self) -> int:
        return self.width * _PACKED[self.format]

    @property
    def planes(self) -> tuple[Plane, ...]:
        pitch, channels = self.pitch or self.row_bytes, _PACKED[self.format]
        shape = (self.height, self.width) if channels == 1 else (self.height, self.width, channels)
        first = Plane(0, self.height, self.row_bytes, pitch, shape)
        if self.format is not PixelFormat.NV12:
            return (first,)
        half = self.height // 2
        return (first, Plane(pitch * self.height, half, self.width, pitch, (half, self.width // 2, 2)))

    @property
    def nbytes(self) -> int:
        """Bytes of a buffer that holds one such frame."""
        last = self.planes[-1]
        return last.offset + last.pitch * last.rows

    def views(self, buffer: U8) -> tuple[U8, ...]:
        """Numpy views of the planes inside `buffer` (uint8, one dimension); no copy."""
        out = []
        for p in self.planes:
            channels = p.shape[2] if len(p.shape) == 3 else 1
            strides = (p.pitch, channels, 1)[: len(p.shape)]
            window = buffer[p.offset : p.offset + p.pitch * (p.rows - 1) + p.row_bytes]
            out.append(np.lib.stride_tricks.as_strided(window, p.shape, strides))
        return tuple(out)


class Leased(Protocol):
    """A counted claim on a buffer (see memory.Lease)."""

    def retain(self) -> None: ...
    def release(self) -> None: ...


@dataclass(slots=True, eq=False)
class Frame:
    """One picture in a slot. It is a lease: every holder calls `release` exactly once.

    `planes` are host views into the slot, valid until the last release. `seq` counts what the source
    delivered or lost since it opened (a gap is a loss before edged). Times: `captured_mono_ns` is
    CLOCK_MONOTONIC, `captured_at_ns` is UTC since the epoch.

    On a GPU, plane i lies at `device_address` + spec.planes[i].offset.
    """

    spec: FrameSpec
    planes: tuple[U8, ...]
    lease: Leased
    seq: int
    captured_mono_ns: int
    captured_at_ns: int
    timestamp_source: TimestampSource = "dequeue"
    memory: Memory = Memory.HOST
    device_address: int = 0  # of the slot's first byte, where the device finds it; 0: the device does not
    copied: int = 0  # bytes of its pixels that the CPU moved to get them here
    # what a source knows about the picture that others cannot: file name, label, flags
    tags: dict[str, Any] = field(default_factory=dict)

    def retain(self) -> Frame:
        self.lease.retain()
        return self

    def release(self) -> None:
        self.lease.release()


@dataclass(frozen=True, slots=True)
class Geometry:
    """Affine map from source pixels to model-input pixels: model = source * scale + offset.

    Coordinates are continuous: pixel i covers [i, i + 1). The picture fills
    [offset, offset + source * scale) of the model's input; the rest is padding.
    `roi`: only this part of the source is shown, and fills `placed`; None: all of it.
    """

    source_width: int
    source_height: int
    model_width: int
    model_height: int
    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    roi: Roi | None = None

    @staticmethod
    def fit(source: tuple[int, int], model: tuple[int, int], fit: Fit, roi: Roi | None = None) -> Geometry:
        """Place a `source` (w, h), or its `roi` as if that were the picture, in a `model` input (w, h) as `fit` says.

        Letterbox keeps the aspect ratio and rounds the placed size and the centring offset down, as the
        reference implementations of YOLOX and YOLOv5 do; scales are those of the rounded size.
        """
        mw, mh = model
        x, y, sw, sh = roi or (0, 0, *source)
        # integers: min(mw / sw, mh / sh) rounds 416 * (640 / 416) to 639 for some sizes
        if fit == "stretch":
            rw, rh = mw, mh
        elif mw * sh <= mh * sw:
            rw, rh = mw, max(1, sh * mw // sw)
        else:
            rw, rh = max(1, sw * mh // sh), mh
        ox, oy = ((mw - rw) // 2, (mh - rh) // 2) if fit == "letterbox" else (0, 0)
        scale_x, scale_y = rw / sw, rh / sh
        return Geometry(*source, mw, mh, scale_x, scale_y, ox - x * scale_x, oy - y * scale_y, roi)

    @property
    def shown(self) -> Roi:
        """x, y, w, h of what the model sees of the source, in its pixels."""
        return self.roi or (0, 0, self.source_width, self.source_height)

    @property
    def placed(self) -> Roi:
        """x, y, w, h of what is shown inside the model's input, in whole pixels."""
        x, y, w, h = self.shown
        left, top = self.offset_x + x * self.scale_x, self.offset_y + y * self.scale_y
        return round(left), round(top), round(w * self.scale_x), round(h * self.scale_y)

    def points_to_source(self, xy: F32) -> F32:
        """[..., 2] model-input pixels to source pixels (a new array; not clipped)."""
        offset = np.array([self.offset_x, self.offset_y], np.float32)
        scale = np.array([1 / self.scale_x, 1 / self.scale_y], np.float32)
        return np.asarray((xy - offset) * scale, np.float32)

    def points_to_model(self, xy: F32) -> F32:
        """[..., 2] source pixels to model-input pixels (a new array)."""
        offset = np.array([self.offset_x, self.offset_y], np.float32)
        scale = np.array([self.scale_x, self.scale_y], np.float32)
        return np.asarray(xy * scale + offset, np.float32)
