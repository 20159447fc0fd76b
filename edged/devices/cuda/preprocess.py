"""Preprocessing on a GPU: one launch from a camera's bytes to rows of the model's tensor (kernels/preprocess.cu).

Two ways to the same kernel. `enqueue` gives it the frame's descriptor by value: any number may be queued ahead.
`describe` writes the descriptor into a table in mapped memory and `launch` fills a batch from that table: a CUDA
graph holds the launch, and each replay follows what was described since. Rows that nobody described, or that
`skip` named, are left as they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from edged.devices.color import YuvToRgb
from edged.devices.cuda.compiled import Functions, Macros
from edged.devices.cuda.descriptors import Descriptor, DescriptorTable, Target
from edged.devices.pictures import check_pictures
from edged.errors import DeviceError
from edged.frames import Frame, FrameSpec, Geometry, Memory, PixelFormat, Roi
from edged.interfaces import Stream
from edged.memory import Region, Want
from edged.tensors import ImageInput, TensorSpec, TensorView
from edged.views import inside

FILE = "preprocess.cu"
PIXELS = 4  # of a row, made by one thread
BLOCK = (64, 4, 1)  # wide: warps side by side share the lines of the source that lie between them
BLOCKS = 4  # of those on a multiprocessor at once
ELEMENTS: dict[np.dtype[Any], int] = {
    np.dtype(d): n for n, d in enumerate((np.float32, np.float16, np.uint8, np.int8))
}
_BYTE_ZERO = float(1 << 23)

# a format's number in the kernel, its number where a load may take several bytes, and what that needs
_FORMATS: dict[PixelFormat, tuple[int, int, int]] = {
    PixelFormat.BGR: (1, 1, 1),
    PixelFormat.RGB: (2, 2, 1),
    PixelFormat.GREY: (3, 3, 1),
    PixelFormat.YUYV: (4, 7, 4),
    PixelFormat.UYVY: (5, 8, 4),
    PixelFormat.NV12: (6, 9, 2),
}


def macros_of(dst: TensorSpec, image: ImageInput, dewarp: bool = False) -> Macros:
    """What the kernel is compiled with for this tensor."""
    return {
        "CHANNELS": image.channels,
        "NHWC": int(image.layout == "NHWC"),
        "ELEMENT": ELEMENTS[dst.dtype],
        "DEWARP": int(dewarp),
    }


def target_of(image: ImageInput) -> Target:
    n = image.channels
    t = Target(*image.size, float(image.pad), int(image.color == "BGR"), int(image.size[0] % PIXELS == 0))
    t.scale[:n] = [1 / s for s in image.std[:n]]
    t.shift[:n] = [-m / s for m, s in zip(image.mean[:n], image.std[:n], strict=True)]
    return t


class CudaPreprocess:
    """One source's frames to one model input; see interfaces.Preprocess. Used by its runner's thread.

    Frames are in MAPPED or DEVICE memory. `table` is shared by the preprocessors of one runner, so that one launch
    fills a batch from several sources: they differ in their descriptors only; None: a table of its own, with a
    row for each of the batch and of `tickets` (batches that may be on the stream at once). `roi` crops.
    """

    dewarp = False

    def __init__(
        self,
        name: str,
        src: FrameSpec,
        dst: TensorSpec,
        image: ImageInput,
        functions: Functions,
        table: DescriptorTable | None = None,
        roi: Roi | None = None,
        tickets: int = 2,
    ) -> None:
        check_pictures(dst, image)
        self._name, self._src, self._dst, self._image = name, src, dst, image
        macros = macros_of(dst, image, self.dewarp)
        self._one = functions.get(FILE, "preprocess_one", macros)
        self._rows = functions.get(FILE, "preprocess_rows", macros)
        self._target = target_of(image)
        self._row_bytes = dst.nbytes // dst.shape[0]
        w, h = image.size
        self._columns, self._most = -(-w // (BLOCK[0] * PIXELS)), -(-h // BLOCK[1])
        self._wave = functions.multiprocessors * BLOCKS
        self._owned = DescriptorTable(f"{name}.descriptors", dst.shape[0], tickets) if table is None else None
        self._table = table or cast(DescriptorTable, self._owned)
        self._map = ctypes.c_void_p(None)
        self._descriptor = Descriptor()
        self._chroma = src.planes[-1].offset
        self._plain, self._wide, needs = _FORMATS[src.format]
        self._mask = needs - 1
        self._describe_source()
        self.look_at(roi)

    def _describe_source(self) -> None:
        d, src = self._descriptor, self._src
        self._pitch = src.planes[0].pitch
        d.pitch0 = d.pitch1 = self._pitch
        law = YuvToRgb.of(src.matrix, src.full_range)
        d.luma_zero, d.luma_gain = _BYTE_ZERO + law.black, law.luma_gain / 255
        (_, _, d.red_v), (_, d.green_u, d.green_v), (_, d.blue_u, _) = (law.rows / 255).tolist()
        d.tie = law.tie / 255

    def look_at(self, roi: Roi | None) -> None:
        """From the next frame on, show the region x, y, w, h of the source (None: all of it). Changes `geometry`."""
        src, image = self._src, self._image
        x, y, w, h = roi or (0, 0, src.width, src.height)
        if not inside((x, y, w, h), src.width, src.height):
            raise DeviceError(
                f"{self._name}: region {x},{y} {w}x{h} is not inside the picture of {src.width}x{src.height}",
                hint="give x, y, width and height in pixels of the source",
            )
        self._geometry = Geometry.fit((src.width, src.height), image.size, image.resize, roi)
        place = self._geometry.placed
        d = self._descriptor = Descriptor.from_buffer_copy(
            self._descriptor
        )  # another: tables tell them apart
        d.roi_x, d.roi_y, d.roi_w, d.roi_h = x, y, w, h
        d.place_x, d.place_y, d.place_w, d.place_h = place
        for axis, source, target in (("x", w, place[2]), ("y", h, place[3])):
            step = 1 / (target / source)  # as OpenCV does, to the last bit
            setattr(d, f"step_{axis}", step)
            setattr(d, f"rest_{axis}", step - getattr(d, f"step_{axis}"))  # reads back as a float
        # the middle of an odd number of pixels is one of them: nothing is blended, as with no resize
        d.one_tap = int(all(s == t * (s // t) and s // t % 2 for s, t in ((w, place[2]), (h, place[3]))))

    @property
    def geometry(self) -> Geometry:
        """From source pixels to the model's, also where a region is shown (the offset may then be negative)."""
        return self._geometry

    @property
    def copied(self) -> int:
        """0: the GPU reads a frame where it is."""
        return 0

    def wants(self) -> Sequence[Want]:
        return [] if self._owned is None else self._owned.wants()

    def bind(self, region: Region) -> None:
        if self._owned is not None:
            self._owned.bind(region)

    def enqueue(self, frame: Frame, target: TensorView, index: int, stream: Stream) -> None:
        """Fill row `index` of the batch `target`. The frame's lease must outlive the stream's work."""
        d = self._descriptor
        d.plane0, d.plane1, d.format = self._find(frame)
        out = ctypes.c_void_p(self._checked(target) + index * self._row_bytes)
        self._one.launch(
            self._grid(1),
            BLOCK,
            (d, self._map, self._target, out),
            stream.handle,
        )

    def describe(self, frame: Frame, index: int, ticket: int = 0) -> None:
        """Say what row `index` of the next launch of `ticket` shows. No CUDA call; the launch before must be done."""
        self._table.write(self._descriptor, index, ticket, *self._find(frame))

    def skip(self, index: int, ticket: int = 0) -> None:
        """Leave row `index` of the next launch of `ticket` as it is: a batch that is not full."""
        self._table.clear(index, ticket)

    def launch(self, target: TensorView, rows: int, stream: Stream, ticket: int = 0) -> None:
        """Fill rows 0 .. rows - 1 of `target` as `describe` says at the time it runs; may be captured."""
        table = ctypes.c_void_p(self._table.address(ticket))
        out = ctypes.c_void_p(self._checked(target))
        self._rows.launch(self._grid(rows), BLOCK, (table, self._map, self._target, out), stream.handle)

    def _grid(self, rows: int) -> tuple[int, int, int]:
        """One wave of blocks that make many rows each: a block reads its descriptor once, maybe across PCIe."""
        return self._columns, min(self._most, max(1, self._wave // (self._columns * rows))), rows

    def _find(self, frame: Frame) -> tuple[int, int, int]:
        """Where its planes are, and how the kernel is to read them."""
        address = frame.device_address
        if frame.spec is not self._src and frame.spec != self._src:
            raise DeviceError(
                f"{self._name}: got a frame {frame.spec}, built for {self._src}",
                hint="a source that changes its size or format must reopen",
            )
        if not address or frame.memory is Memory.HOST:
            raise DeviceError(
                f"{self._name}: got a frame in {frame.memory.value} memory, which the GPU cannot read",
                hint="a defect in edged: the source's slots must come from the CUDA device (built for mapped memory)",
            )
        chroma = address + self._chroma
        return (
            address,
            chroma,
            self._plain if (address | chroma | self._pitch) & self._mask else self._wide,
        )

    def _checked(self, target: TensorView) -> int:
        """The address of a tensor that the kernel may write."""
        if target.spec.shape[1:] != self._dst.shape[1:] or target.spec.dtype != self._dst.dtype:
            raise DeviceError(
                f"{self._name}: target {target.spec} is not {self._dst}", hint="bind the engine's input"
            )
        if target.address % (PIXELS * self._dst.dtype.itemsize):
            raise DeviceError(
                f"{self._name}: target {target.spec} begins at {target.address:#x}, which is not aligned",
                hint="a defect in edged: tensors of a region begin on a page",
            )
        return target.address
