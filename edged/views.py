"""What a model sees of a source's pictures: all, a region, or a view without the lens's bending.

A view is a pinhole camera that looks where `yaw`, `pitch` and `roll` say (degrees: right, up, clockwise; 0 is along
the lens's axis), `fov` degrees wide. Results are in the view's pixels. Two kinds of source:

- fisheye: OpenCV's model, so that its calibration fits. theta is a ray's angle from the axis; it meets the picture
  theta_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8) focal lengths from the centre.
  Source: docs.opencv.org/4.x/db/d58/group__calib3d__fisheye.html, after Kannala and Brandt, doi:10.1109/TPAMI.2006.153.
  Beyond the angle where theta_d stops growing nothing is seen: the model folds back, the picture would be mirrored.
- equirectangular: a 360-degree picture, longitude across and latitude down (mathworld.wolfram.com,
  EquirectangularProjection); its middle is straight ahead. Its left and right edges are not blended with each other.

Where in the source each pixel of a view is, a table says that is made once at boot. Positions are those of cv2.remap: 0
is the centre of the first pixel, and whole 32nds of a pixel, which is what cv2.remap tells apart: so every device shows
the same, at most 1/64 of a pixel from the truth. NaN: nothing is seen there. Pure numpy; any thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edged.config.schema import DewarpOptions
from edged.errors import ConfigError, Problem
from edged.frames import F32, FrameSpec, Geometry, Roi
from edged.tensors import ImageInput

F64 = npt.NDArray[np.float64]
STEPS = 32  # of a pixel, between two of which no position lies
_LOOKS = 64  # a side: rays that must not all miss the picture
_ANGLES = 4096  # that are tried from a lens's axis to its edge: where a fold begins, it moves nothing yet


@dataclass(frozen=True, slots=True)
class View:
    """A region of the source's pictures, in its pixels, or a view through its lens; neither: all of them.

    `path`: the key path of the pipeline that says so, for errors.
    """

    roi: Roi | None = None
    lens: DewarpOptions | None = None
    path: str = "view"

    def check(self, who: str, src: FrameSpec) -> None:
        """ConfigError unless pictures of `src` have something to show. `who` delivers or takes them. Takes 1 ms."""
        problem = self.problem(src)
        if problem is not None:
            key, message, hint = problem
            raise ConfigError(who, [Problem(f"{self.path}.{key}", message, hint)])

    def problem(self, src: FrameSpec) -> tuple[str, str, str] | None:
        """(key, what is wrong, remedy), None: pictures of this size have something to show. Takes 1 ms."""
        if self.roi is not None and self.lens is not None:
            return "roi", "excludes 'dewarp'", EXCLUSIVE
        if self.roi is not None and not inside(self.roi, src.width, src.height):
            return "roi", *misfit(self.roi, src.width, src.height)
        if self.lens is None:
            return None
        if self.lens.lens == "fisheye" and self.lens.focal is None:
            return "dewarp.focal", *NO_FOCAL
        if not seen(_table(self.lens, src, _LOOKS, _LOOKS), src).any():
            message = f"the view sees nothing of the picture of {src.width}x{src.height}"
            return (
                "dewarp",
                message,
                "change yaw, pitch or fov, or give focal and center as calibrated at this size",
            )
        return None

    def geometry(self, src: FrameSpec, image: ImageInput) -> Geometry:
        """From the pixels that results are in, the source's or a dewarped view's, to the model's."""
        if self.lens is not None:
            return Geometry.fit(self.lens.size, image.size, image.resize)
        return Geometry.fit((src.width, src.height), image.size, image.resize, self.roi)


WHOLE = View()
EXCLUSIVE = "remove one: yaw, pitch and fov say where a view looks"
NO_FOCAL = (
    "is missing: a fisheye view needs the lens's focal length",
    "give focal = [fx, fy] and center = [cx, cy] in pixels, as cv2.fisheye.calibrate finds them",
)


def inside(roi: Roi, width: int, height: int) -> bool:
    """Whether a region is part of a picture, and of at least one pixel."""
    x, y, w, h = roi
    return min(x, y) >= 0 and min(w, h) >= 1 and x + w <= width and y + h <= height


def misfit(roi: Roi, width: int, height: int) -> tuple[str, str]:
    """What is wrong with a region that is not inside, and the remedy."""
    return (
        f"{list(roi)} is not inside the picture of {width}x{height}",
        f"[x, y, width, height] needs x + width at most {width} and y + height at most {height}",
    )


def rays(options: DewarpOptions, width: int, height: int) -> F64:
    """float64 [height, width, 3]: where each pixel of the view looks (x right, y down, z ahead)."""
    across = np.tan(np.radians(options.fov / 2))
    down = across * options.size[1] / options.size[0]
    x = ((np.arange(width) + 0.5) / width * 2 - 1) * across
    y = ((np.arange(height) + 0.5) / height * 2 - 1) * down
    out = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1)
    return np.asarray(out @ _rotation(options).T)


def _rotation(options: DewarpOptions) -> F64:
    """View to lens: roll about the line of sight, then pitch up, then yaw to the right."""
    (cy, cp, cr), (sy, sp, sr) = (
        f(np.radians([options.yaw, options.pitch, options.roll])) for f in (np.cos, np.sin)
    )
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(yaw @ pitch @ roll)


def _fisheye(options: DewarpOptions, src: FrameSpec, at: F64) -> F64:
    assert options.focal is not None, "View.check comes first"
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
    out[theta > _edge(options)] = np.nan
    return out


def _edge(options: DewarpOptions) -> float:
    """How far from a fisheye's axis something is seen: half of lens_fov, or where theta_d stops growing."""
    theta = np.linspace(0, np.radians(options.lens_fov / 2), _ANGLES)
    square = theta * theta
    k1, k2, k3, k4 = options.k
    slope = 1 + square * (3 * k1 + square * (5 * k2 + square * (7 * k3 + square * 9 * k4)))
    return float(np.min(theta[~(slope > 0)], initial=theta[-1]))


def _equirectangular(options: DewarpOptions, src: FrameSpec, at: F64) -> F64:
    x, y, z = np.moveaxis(at, -1, 0)
    longitude, latitude = np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))
    across = (longitude / (2 * np.pi) + 0.5) * src.width - 0.5
    down = (latitude / np.pi + 0.5) * src.height - 0.5
    # what rounds onto the seam, or the lower pole, is the last that is seen before it
    last = 0.5 + 1 / STEPS
    return np.stack([np.minimum(across, src.width - last), np.minimum(down, src.height - last)], axis=-1)


_LENSES = {"fisheye": _fisheye, "equirectangular": _equirectangular}


def placed(options: DewarpOptions, image: ImageInput) -> tuple[int, int]:
    """Width and height of the view in the model's input."""
    return Geometry.fit(options.size, image.size, image.resize).placed[2:]


def positions(options: DewarpOptions, src: FrameSpec, image: ImageInput) -> F32:
    """The table: float32 [h, w, 2] = x, y in the source for each pixel of the placed view. Takes tens of ms."""
    return _table(options, src, *placed(options, image))


def _table(options: DewarpOptions, src: FrameSpec, width: int, height: int) -> F32:
    with np.errstate(all="ignore"):  # coefficients without sense give numbers beyond all pictures
        at = _LENSES[options.lens](options, src, rays(options, width, height))
        return np.ascontiguousarray(np.rint(at * STEPS) / STEPS, np.float32)


def seen(table: F32, src: FrameSpec) -> npt.NDArray[np.bool_]:
    """[h, w]: whether a position is on the picture."""
    x, y = table[..., 0], table[..., 1]
    return np.asarray((x >= -0.5) & (y >= -0.5) & (x < src.width - 0.5) & (y < src.height - 0.5))
