"""What a driver says of its colours, as a FrameSpec's matrix and range. Source: the V4L2_MAP_ macros of videodev2.h."""

from __future__ import annotations

from edged.frames import ColorMatrix
from edged.sources import _videodev2 as v

_ENCODINGS: dict[int, tuple[ColorMatrix, str]] = {
    v.ENC_601: ("bt601", ""),
    v.ENC_XV601: ("bt601", ""),
    v.ENC_SYCC: ("bt601", ""),
    v.ENC_709: ("bt709", ""),
    v.ENC_XV709: ("bt709", ""),
    v.ENC_BT2020: ("bt709", "BT.2020, read as BT.709"),
    v.ENC_BT2020_CONST_LUM: ("bt709", "BT.2020 constant luminance, read as BT.709"),
    v.ENC_SMPTE240M: ("bt709", "SMPTE 240M, read as BT.709"),
}
# V4L2_MAP_YCBCR_ENC_DEFAULT; all others: BT.601
_DEFAULT_ENCODING: dict[int, int] = {
    v.COLORSPACE_REC709: v.ENC_709,
    v.COLORSPACE_DCI_P3: v.ENC_709,
    v.COLORSPACE_BT2020: v.ENC_BT2020,
    v.COLORSPACE_SMPTE240M: v.ENC_SMPTE240M,
}


def color(colorspace: int, encoding: int, quantization: int, *, yuv: bool) -> tuple[ColorMatrix, bool, str]:
    """(matrix, full range, remark) of V4L2's figures, defaults resolved as videodev2.h's macros do.

    V4L2_MAP_QUANTIZATION_DEFAULT: full range for RGB and for the JPEG colour space, else limited.
    """
    if encoding == v.ENC_DEFAULT:
        encoding = _DEFAULT_ENCODING.get(colorspace, v.ENC_601)
    matrix, note = _ENCODINGS.get(encoding, ("bt601", f"encoding {encoding} is unknown, read as BT.601"))
    if quantization == v.QUANTIZATION_DEFAULT:
        full = not yuv or colorspace == v.COLORSPACE_JPEG
    else:
        full = quantization == v.QUANTIZATION_FULL
    if not yuv:
        return "bt601", full, "" if full else "limited-range RGB, read as full range"
    return matrix, full, note
