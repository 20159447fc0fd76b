"""Sizes of JPEG and PNG pictures from their headers, and whether their data is complete.

Decoders fill what is missing with grey and go on; a measurement must not. Formats: JPEG (ITU-T T.81
annex B), Exif 2.3 (TIFF tag 0x0112), PNG (ISO/IEC 15948).
"""

from __future__ import annotations

import struct

_PNG = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers: C0..CF without DHT (C4), JPG (C8) and DAC (CC)
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TURNED = frozenset({5, 6, 7, 8})  # Exif orientations that swap width and height


def header_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) as OpenCV decodes it, Exif orientation applied; None: decode to know."""
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg_size(data)
        # a PNG may carry Exif too (chunk eXIf); those are decoded
        if data.startswith(_PNG) and data[12:16] == b"IHDR" and b"eXIf" not in data:
            w, h = struct.unpack_from(">II", data, 16)
            return w, h
    except (struct.error, IndexError):  # the header itself is cut off
        return None
    return None


def complete(data: bytes) -> bool:
    """False when a JPEG or PNG ends before its end marker; True for other formats, which are not looked at."""
    if data.startswith(b"\xff\xd8"):
        # inside the scan a byte FF is followed by 00, so that FF D9 is the end and nothing else
        scan = _jpeg_scan(data)
        return scan >= 0 and data.find(b"\xff\xd9", scan) >= 0
    if data.startswith(_PNG):
        return data.find(b"IEND", len(_PNG)) >= 0
    return True


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """(marker, start, end) of the segments before and with the first start of scan."""
    out, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        out.append((marker, at + 4, at + 2 + length))
        if marker == 0xDA:
            break
        at += 2 + length
    return out


def _jpeg_scan(data: bytes) -> int:
    return next((end for marker, _, end in _segments(data) if marker == 0xDA), -1)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    orientation = 1
    for marker, start, end in _segments(data):
        if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            orientation = _orientation(data[start + 6 : end])
        elif marker in _SOF:
            h, w = struct.unpack_from(">HH", data, start + 1)
            return (h, w) if orientation in _TURNED else (w, h)
    return None


def _orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory; 1 (upright) when absent."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, at)
    for i in range(count):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, at + 2 + 12 * i)
        if tag == 0x0112 and kind == 3:
            return int(value)
    return 1
