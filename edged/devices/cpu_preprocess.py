"""Preprocessing on the CPU: camera bytes to the model's tensor, in memory bound at boot.

    frame -> convert what the view shows (cpu_views.py, cpu_convert.py) -> resize to the placed size
          -> write planes or pixels -> bars

What each step means is said in reference.py. Colours are converted at the source's size, before the resize:
the other order would clip differently. Every OpenCV call writes into an array of ours (`dst=`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edged.devices.cpu_convert import Step, opencv
from edged.devices.cpu_stream import CpuStream
from edged.devices.cpu_views import shown
from edged.devices.pictures import check_pictures
from edged.errors import DeviceError
from edged.frames import U8, Frame, FrameSpec, Geometry, Memory
from edged.interfaces import Stream
from edged.memory import Region, Want
from edged.tensors import ImageInput, TensorSpec, TensorView
from edged.views import WHOLE, View

Array = npt.NDArray[Any]

# float16 and int8 pass through OpenCV as unsigned integers: it only looks values up
_CARRIER: dict[np.dtype[Any], np.dtype[Any]] = {
    np.dtype(np.float32): np.dtype(np.float32),
    np.dtype(np.float16): np.dtype(np.uint16),
    np.dtype(np.uint8): np.dtype(np.uint8),
    np.dtype(np.int8): np.dtype(np.uint8),
}


def _tables(dst: TensorSpec, image: ImageInput) -> Array:
    """[channels, 256]: grey level to value of the tensor, in its dtype."""
    mean, std = (np.array(v[: image.channels])[:, None] for v in (image.mean, image.std))
    values = (np.arange(256) - mean) / std
    if dst.dtype.kind in "iu":
        values = np.clip(np.rint(values), np.iinfo(dst.dtype).min, np.iinfo(dst.dtype).max)
    return np.asarray(values, dst.dtype)


class CpuPreprocess:
    """One source's frames to one model input; see interfaces.Preprocess.

    Built and bound by the runner's thread; runs on the thread of the stream given to `enqueue`, one
    frame at a time. Its scratch memory is the bound region's.
    """

    def __init__(
        self, name: str, src: FrameSpec, dst: TensorSpec, image: ImageInput, view: View = WHOLE
    ) -> None:
        check_pictures(dst, image)
        view.check(name, src)
        self._cv2 = opencv()
        self._name, self._src, self._dst, self._image = name, src, dst, image
        self._geometry = view.geometry(src, image)
        x, y, w, h = self._geometry.placed
        self._placed_size = (w, h)
        self._rows, self._columns = slice(y, y + h), slice(x, x + w)
        everything = slice(None)
        around = [
            (slice(0, y), everything),
            (slice(y + h, None), everything),
            (self._rows, slice(0, x)),
            (self._rows, slice(x + w, None)),
        ]
        outline = np.empty((image.size[1], image.size[0]), np.bool_)
        self._bars = [bar for bar in around if outline[bar].size]
        self._shown = shown(src, image, view)
        self._conversion = self._shown.conversion
        self._prepare_tables()
        self._scratch = self._plan_scratch()
        self._arrays: dict[str, U8] = {}
        self._convert: Step | None = None

    def _prepare_tables(self) -> None:
        channels, tables = self._image.channels, _tables(self._dst, self._image)
        self._carrier = _CARRIER[self._dst.dtype]
        # the tensor's value is the grey level itself: numpy copies faster than OpenCV looks up
        self._plain = self._dst.dtype == self._carrier and bool((tables == np.arange(256)).all())
        carried = tables.view(self._carrier)
        pad = carried[:, self._image.pad]
        self._uniform = bool((tables == tables[0]).all())
        if self._image.layout == "NCHW":
            self._luts = list(carried)
            self._pad: Array = pad[:, None, None]
        else:
            self._luts = [carried[0] if self._uniform else np.ascontiguousarray(carried.T)[None]]
            # a whole row, so that numpy copies long runs and not single pixels
            self._pad = np.tile(pad, self._image.size[0]).reshape(1, -1, channels)

    def _plan_scratch(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the uint8 arrays that the steps write."""
        w, h = self._placed_size
        held, wanted = self._conversion.channels, self._image.channels
        out = dict(self._conversion.scratch)
        if (w, h) != self._shown.size:
            out["placed"] = (h, w) if held == 1 else (h, w, held)
        if self._image.layout == "NCHW" and held == 3:
            out["planes"] = (3, h, w)
        if self._image.layout == "NHWC" and (held != wanted or self._conversion.swapped):
            out["pixels"] = (h, w, wanted)
        return out

    @property
    def geometry(self) -> Geometry:
        return self._geometry

    @property
    def copied(self) -> int:
        """What the view needs of a frame: the CPU reads each of its pixels."""
        return self._shown.nbytes

    def wants(self) -> Sequence[Want]:
        return [Want(f"{self._name}.{k}", int(np.prod(shape))) for k, shape in self._scratch.items()]

    def bind(self, region: Region) -> None:
        for key, shape in self._scratch.items():
            self._arrays[key] = region.bytes(f"{self._name}.{key}").reshape(shape)
        self._convert = self._conversion.build(self._arrays.__getitem__)

    def enqueue(self, frame: Frame, target: TensorView, index: int, stream: Stream) -> None:
        """Fill row `index` of the batch `target`, on `stream` (a CpuStream).

        DeviceError when the frame is not what this was built for. The frame's lease and the target must
        outlive the stream's work.
        """
        if frame.spec != self._src or frame.memory not in (Memory.HOST, Memory.MAPPED):
            raise DeviceError(
                f"{self._name}: got a frame {frame.spec} in {frame.memory.value} memory, built for {self._src}",
                hint="a source that changes its size or format must reopen",
            )
        if target.spec.shape[1:] != self._dst.shape[1:] or target.spec.dtype != self._dst.dtype:
            raise DeviceError(
                f"{self._name}: target {target.spec} is not {self._dst}", hint="bind the engine's input"
            )
        cast(CpuStream, stream).call(self._run, frame.planes, target.host(), index)

    def _run(self, planes: tuple[U8, ...], target: Array, index: int) -> None:
        """On the stream's thread."""
        if self._convert is None:
            raise RuntimeError(f"{self._name}: a frame came before bind")
        try:
            picture = self._convert(planes)
            if "placed" in self._arrays:
                picture = self._cv2.resize(
                    picture,
                    self._placed_size,
                    dst=self._arrays["placed"],
                    interpolation=self._cv2.INTER_LINEAR,
                )
            row = target[index].view(self._carrier)
            pieces = (
                self._planes(picture, row) if self._image.layout == "NCHW" else self._pixels(picture, row)
            )
            for (values, room), lut in zip(pieces, self._luts, strict=True):
                if self._plain:
                    np.copyto(room, values)
                else:
                    self._cv2.LUT(values, lut, dst=room)
        except self._cv2.error as e:
            raise DeviceError(
                f"{self._name}: OpenCV refused a frame of {self._src}: {e}",
                hint="a defect in edged or in this OpenCV: please report it",
            ) from e
        # on every frame (3 % of its time): preprocessors of other sources write the same tensor
        for rows, columns in self._bars:
            if self._image.layout == "NCHW":
                np.copyto(row[:, rows, columns], self._pad)
            else:
                np.copyto(row[rows, columns], self._pad[:, columns])

    def _planes(self, picture: U8, row: Array) -> list[tuple[Array, Array]]:
        """Pairs (uint8 [h, w], its place in the row [c, H, W])."""
        rooms = list(row[:, self._rows, self._columns])
        if picture.ndim == 2:  # a grey picture is every channel
            return [(picture, room) for room in rooms]
        planes = list(self._arrays["planes"])
        self._cv2.split(picture, planes)
        return list(zip(planes[::-1] if self._conversion.swapped else planes, rooms, strict=True))

    def _pixels(self, picture: U8, row: Array) -> list[tuple[Array, Array]]:
        """One pair (uint8 [h, w, c], its place in the row [H, W, c]); two dimensions where one table does."""
        if "pixels" in self._arrays:
            code = self._cv2.COLOR_BGR2RGB if self._conversion.swapped else self._cv2.COLOR_GRAY2BGR
            picture = self._cv2.cvtColor(picture, code, dst=self._arrays["pixels"])
        room = row[self._rows, self._columns]
        if not self._uniform:
            return [(picture, room)]
        # both are views: the pixels of a row are contiguous
        return [(picture.reshape(len(picture), -1), room.reshape(len(room), -1))]
