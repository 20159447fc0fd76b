"""Where tracked boxes are going: a Kalman filter of constant velocity for many boxes at once, in real time.

Centre x, centre y, width and height of a box move alike, each with noise in proportion to the box's size, so
that one 2x2 covariance serves all four. The noise is white in acceleration (Bar-Shalom, Li and Kirubarajan
2001, "Estimation with applications to tracking and navigation", 6.2.2): frames need not come evenly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp] | npt.NDArray[np.bool_]

# In sizes of the box: its size is the root of its area. Only AGILE / MEASURED matters for where a track goes; chosen on
# the clip of tests/tracking at 10, 5 and 3.3 frames a second, where 0.3 to 0.5 for AGILE give IDF1 of 0.83 to 0.88.
MEASURED = 0.1  # error of a detected box
AGILE = 0.35  # how fast velocity changes, a second
AT_FIRST = 2.0  # velocity that a new box may have, a second


@dataclass(slots=True)
class Motion:
    """`place` and `speed` float64 [n, 4] = centre x, centre y, width, height, in pixels and pixels a second.

    `covariance` float64 [n, 3]: variance of place, of place with speed, of speed.
    """

    place: F64
    speed: F64
    covariance: F64

    @classmethod
    def none(cls) -> Motion:
        return cls(np.empty((0, 4)), np.empty((0, 4)), np.empty((0, 3)))

    def extend(self, place: F64) -> None:
        """Boxes seen for the first time."""
        area = _area(place)
        fresh = np.stack([MEASURED**2 * area, np.zeros(len(place)), AT_FIRST**2 * area], axis=1)
        self.place = np.concatenate([self.place, place])
        self.speed = np.concatenate([self.speed, np.zeros_like(place)])
        self.covariance = np.concatenate([self.covariance, fresh])

    def keep(self, rows: Rows) -> None:
        self.place, self.speed, self.covariance = self.place[rows], self.speed[rows], self.covariance[rows]

    def predict(self, dt_s: float) -> None:
        q = AGILE**2 * _area(self.place)
        self.place += self.speed * dt_s
        np.maximum(self.place[:, 2:], 1.0, out=self.place[:, 2:])
        c = self.covariance
        c[:, 0] += (2 * c[:, 1] + c[:, 2] * dt_s) * dt_s + q * dt_s**3 / 3
        c[:, 1] += c[:, 2] * dt_s + q * dt_s**2 / 2
        c[:, 2] += q * dt_s

    def correct(self, rows: Rows, place: F64, trust: F64) -> None:
        """Boxes `rows` were seen at `place` [k, 4]; `trust` [k] from 0 to 1 is the detector's score."""
        c = self.covariance[rows]
        noise = (MEASURED * (1.5 - trust)) ** 2 * _area(place)
        gain = c[:, :2] / (c[:, 0] + noise)[:, None]
        off = place - self.place[rows]
        self.place[rows] += gain[:, :1] * off
        self.speed[rows] += gain[:, 1:] * off
        c[:, 2] -= gain[:, 1] * c[:, 1]
        c[:, :2] *= 1 - gain[:, :1]
        self.covariance[rows] = c

    def corners(self) -> F64:
        """[n, 4] = x1, y1, x2, y2."""
        half = self.place[:, 2:] / 2
        return np.concatenate([self.place[:, :2] - half, self.place[:, :2] + half], axis=1)


def _area(place: F64) -> F64:
    return np.maximum(place[:, 2] * place[:, 3], 1.0)
