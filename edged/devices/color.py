"""What a camera's Y, U, V bytes mean: the definition that every device and the reference share.

Source: ITU-R BT.601-7 and BT.709-6. With Kr, Kb the luma weights of red and blue, and Y, U, V scaled to
0..1 and -0.5..0.5, R = Y + 2 (1 - Kr) V, B = Y + 2 (1 - Kb) U, and G follows from Y = Kr R + Kg G + Kb B.
Limited range has Y in 16..235 and U, V in 16..240; full range uses 0..255 for all, U and V around 128.
Luma below black counts as black (as OpenCV does); results are rounded to whole levels, halves up, and clipped
to 0..255.

The coefficients are those of OpenCV's fixed-point arithmetic, so that every device gives the levels that it gives:
its own for BT.601 limited range, which are the standard's to three decimals, and multiples of 1/1024 for the
others, as cv2.transform takes them. Neither is farther than 0.25 levels from the standard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edged.frames import ColorMatrix, PixelFormat

F64 = npt.NDArray[np.float64]

_LUMA_WEIGHTS: dict[ColorMatrix, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}

# the weights of R, G, B in a grey level made from a colour: BT.601 luma, in OpenCV's 15 bits
GREY_WEIGHTS = (9798 / 32768, 19235 / 32768, 3735 / 32768)

# OpenCV's for BT.601 limited range, 20 bits: R, G, B by Y, U, V
_OPENCV_BT601 = np.array([[1220542, 0, 1673527], [1220542, -409993, -852492], [1220542, 2116026, 0]]) / 2**20

# byte of the first sample of Y, U, V in a packed group of two pixels
PACKED_422: dict[PixelFormat, tuple[int, int, int]] = {
    PixelFormat.YUYV: (0, 1, 3),
    PixelFormat.UYVY: (1, 0, 2),
}


@dataclass(frozen=True, slots=True, eq=False)
class YuvToRgb:
    """rgb = clip(floor(rows @ (max(Y - black, 0), U - 128, V - 128) + 0.5), 0, 255), in grey levels.

    `rows` is float64 [3, 3] (R, G, B by Y, U, V); `luma_gain` is its first column. `tie`, in grey levels, is what
    arithmetic with less than `rows`' bits adds before it rounds, to decide halves as `rows` do.
    """

    rows: F64
    black: int
    luma_gain: float
    tie: float

    @staticmethod
    def of(matrix: ColorMatrix, full_range: bool) -> YuvToRgb:
        if matrix == "bt601" and not full_range:
            # sums are multiples of 0.001 but for the last bits, and those put a half below the half
            return YuvToRgb(_OPENCV_BT601, 16, float(_OPENCV_BT601[0, 0]), -1 / 2048)
        kr, kb = _LUMA_WEIGHTS[matrix]
        kg = 1 - kr - kb
        y, c, black = (1.0, 1.0, 0) if full_range else (255 / 219, 255 / 224, 16)
        red, blue = 2 * (1 - kr), 2 * (1 - kb)
        rows = np.array(
            [
                [y, 0.0, c * red],
                [y, -c * blue * kb / kg, -c * red * kr / kg],
                [y, c * blue, 0.0],
            ]
        )
        rows = np.rint(rows * 1024) / 1024  # so that a half is one, and goes up
        return YuvToRgb(rows, black, float(rows[0, 0]), 1 / 2048)
