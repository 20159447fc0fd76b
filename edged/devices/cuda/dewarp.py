"""Views without the lens's bending: where in the source each pixel of a view is, made once at boot.

A view is a pinhole camera that looks where `yaw`, `pitch` and `roll` say (degrees: right, up, clockwise; 0 is along
the lens's axis), `fov` degrees wide. Results are in the view's pixels. Two kinds of source:

- fisheye: OpenCV's model, so that its calibration fits. theta is a ray's angle from the axis; it meets the picture
  theta_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8) focal lengths from the centre.
  Source: docs.opencv.org/4.x/db/d58/group__calib3d__fisheye.html, after Kannala and Brandt, doi:10.1109/TPAMI.2006.153.
- equirectangular: a 360-degree picture, longitude across and latitude down (mathworld.wolfram.com,
  EquirectangularProjection); its middle is straight ahead. Its left and right edges are not blended with each other.

Positions are those of cv2.remap: 0 is the centre of the first pixel. NaN: nothing is seen there.
"""

from __future__ import annotations

import ctypes
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from edged.config.schema import PositiveFloat, Size, Table
from edged.devices.cuda.compiled import Functions
from edged.devices.cuda.descriptors import DescriptorTable
from edged.devices.cuda.preprocess import CudaPreprocess, Roi
from edged.errors import DeviceError
from edged.frames import F32, Frame, FrameSpec, Geometry, Memory
from edged.interfaces import Stream
from edged.memory import Region, Want
from edged.tensors import ImageInput, TensorSpec, TensorView

F64 = npt.NDArray[np.float64]
Angle = Annotated[float, Meta(ge=-360, le=360)]


class Options(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A view into a fisheye or 360-degree source.

    `size` is the view's (width, height). `focal` and `center` (x, y, in pixels) and `k` are a fisheye's, as OpenCV
    calibrates them at the source's size; rays farther than `lens_fov` / 2 degrees from its axis are not seen.
    """

    lens: Literal["fisheye", "equirectangular"]
    size: Size
    fov: Annotated[float, Meta(gt=0, lt=180)] = 90.0
    yaw: Angle = 0.0
    pitch: Angle = 0.0
    roll: Angle = 0.0
    focal: tuple[PositiveFloat, PositiveFloat] | None = None
    center: tuple[float, float] | None = None
    k: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    lens_fov: Annotated[float, Meta(gt=0, le=360)] = 180.0


def rays(options: Options, width: int, height: int) -> F64:
    """float64 [height, width, 3]: where each pixel of the view looks (x right, y down, z ahead)."""
    across = np.tan(np.radians(options.fov / 2))
    down = across * options.size[1] / options.size[0]
    x = ((np.arange(width) + 0.5) / width * 2 - 1) * across
    y = ((np.arange(height) + 0.5) / height * 2 - 1) * down
    out = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1)
    return np.asarray(out @ _rotation(options).T)


def _rotation(options: Options) -> F64:
    """View to lens: roll about the line of sight, then pitch up, then yaw to the right."""
    (cy, cp, cr), (sy, sp, sr) = (
        f(np.radians([options.yaw, options.pitch, options.roll])) for f in (np.cos, np.sin)
    )
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(yaw @ pitch @ roll)


def _fisheye(options: Options, src: FrameSpec, at: F64) -> F64:
    if options.focal is None:
        raise DeviceError(
            "a fisheye view needs the lens's focal length",
            hint="give focal = [fx, fy] and center = [cx, cy] in pixels, as cv2.fisheye.calibrate finds them",
        )
    center = options.center or ((src.width - 1) / 2, (src.height - 1) / 2)
    x, y, z = np.moveaxis(at, -1, 0)
    beside = np.hypot(x, y)
    theta = np.arctan2(beside, z)
    square = theta * theta
    k1, k2, k3, k4 = options.k
    bent = theta * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
    # on the axis the direction is any and the distance 0
    gain = np.where(beside > 0, bent / np.where(beside > 0, beside, 1), 0)
    out = np.stack(
        [x * gain * options.focal[0] + center[0], y * gain * options.focal[1] + center[1]], axis=-1
    )
    out[theta > np.radians(options.lens_fov / 2)] = np.nan
    return out


def _equirectangular(options: Options, src: FrameSpec, at: F64) -> F64:
    x, y, z = np.moveaxis(at, -1, 0)
    longitude, latitude = np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))
    across = (longitude / (2 * np.pi) + 0.5) * src.width - 0.5
    return np.stack([across, (latitude / np.pi + 0.5) * src.height - 0.5], axis=-1)


_LENSES = {"fisheye": _fisheye, "equirectangular": _equirectangular}


def positions(options: Options, src: FrameSpec, image: ImageInput) -> F32:
    """The lookup table: float32 [h, w, 2] = x, y in the source for each pixel of the placed view. Takes ms."""
    _, _, w, h = Geometry.fit(options.size, image.size, image.resize).placed
    table = _LENSES[options.lens](options, src, rays(options, w, h))
    if options.lens == "equirectangular":
        # the last half pixel before the seam rounds onto it in float32, and would show nothing
        table[..., 0] = np.minimum(table[..., 0], np.nextafter(np.float32(src.width - 0.5), np.float32(0)))
        table[..., 1] = np.minimum(table[..., 1], np.nextafter(np.float32(src.height - 0.5), np.float32(0)))
    return np.ascontiguousarray(table, np.float32)


class CudaDewarp(CudaPreprocess):
    """CudaPreprocess through a lens: colour, resampling along the table and all the rest in the same pass.

    The table, 8 bytes a pixel of the placed view, is in DEVICE memory. `geometry` is the view's.
    """

    dewarp = True

    def __init__(
        self,
        name: str,
        src: FrameSpec,
        dst: TensorSpec,
        image: ImageInput,
        functions: Functions,
        options: Options,
        table: DescriptorTable | None = None,
        tickets: int = 2,
    ) -> None:
        self._view, self._uploaded = options.size, False
        super().__init__(name, src, dst, image, functions, table, None, tickets)
        self._positions = positions(options, src, image)

    def look_at(self, roi: Roi | None) -> None:
        """Only all of the source: a view already is a choice."""
        if roi is not None:
            raise DeviceError(
                f"{self._name}: a dewarped view has no region", hint="change the view's yaw, pitch and fov"
            )
        super().look_at(None)
        d = self._descriptor
        self._geometry = Geometry.fit(self._view, self._image.size, self._image.resize)
        d.place_x, d.place_y, d.place_w, d.place_h = self._geometry.placed
        d.one_tap = 0

    def wants(self) -> list[Want]:
        nbytes = self._positions.nbytes
        kinds = {"": Memory.DEVICE, ".staging": Memory.MAPPED}
        return [*super().wants(), *(Want(f"{self._name}.positions{n}", nbytes, m) for n, m in kinds.items())]

    def bind(self, region: Region) -> None:
        super().bind(region)
        spec = TensorSpec(f"{self._name}.positions", self._positions.shape, np.dtype(np.float32))
        self._table_view = region.tensor(spec)
        self._staging = region.tensor(spec, f"{self._name}.positions.staging")
        self._staging.host()[:] = self._positions
        self._map = ctypes.c_void_p(self._table_view.address)

    def upload(self, stream: Stream) -> None:
        """Queue the copy of the table to where the kernel reads it; once, after `bind`, before `launch`."""
        stream.copy(self._table_view, self._staging)
        self._uploaded = True

    def enqueue(self, frame: Frame, target: TensorView, index: int, stream: Stream) -> None:
        """As CudaPreprocess; the first one uploads the table."""
        if not self._uploaded:
            self.upload(stream)
        super().enqueue(frame, target, index, stream)

    def launch(self, target: TensorView, rows: int, stream: Stream, ticket: int = 0) -> None:
        """As CudaPreprocess. RuntimeError before `upload` or `enqueue`: a graph would copy the table every time."""
        if not self._uploaded:
            raise RuntimeError(f"{self._name}: launched before its table was uploaded")
        super().launch(target, rows, stream, ticket)
