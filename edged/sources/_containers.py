"""Whether a video file is shorter than its container says: AVI, MP4/MOV and Matroska/WebM.

A frame count alone cannot tell: for many files it is an estimate. The sizes that the outermost chunks
state are exact. Formats: RIFF (AVI, OpenDML), ISO/IEC 14496-12 boxes, RFC 8794 (EBML).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import BinaryIO

# (first 16 bytes of a chunk, its offset) -> where it ends; None: no chunk, or no end stated
_End = Callable[[bytes, int], "int | None"]

_BOXES = frozenset(
    {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
)  # how an MP4 or MOV begins
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def size_before_cut(path: str) -> int | None:
    """The bytes that a cut-off file had at least, by its outermost chunks.

    None: nothing is missing, or the format is unknown, or states no size.

    Raises OSError.
    """
    have = os.path.getsize(path)
    with open(path, "rb") as f:
        head = f.read(12)
        if head[:4] == b"RIFF":
            return _chunks(f, have, _riff)
        if head[4:8] in _BOXES:
            return _chunks(f, have, _box)
        if head[:4] == _EBML:
            return _matroska(f, have)
    return None


def _chunks(f: BinaryIO, have: int, end_of: _End) -> int | None:
    """Walk chunks that follow each other; the end of the first that passes the end of the file, or None."""
    at = 0
    while at < have:
        f.seek(at)
        end = end_of(f.read(16), at)
        if end is None or end <= at:
            return None
        if end > have:
            return end
        at = end
    return None


def _riff(head: bytes, at: int) -> int | None:
    if len(head) < 8 or head[:4] != b"RIFF":
        return None
    return at + 8 + int(struct.unpack_from("<I", head, 4)[0])


def _box(head: bytes, at: int) -> int | None:
    if len(head) < 8:
        return None
    size = int(struct.unpack_from(">I", head)[0])
    if size == 1:
        return at + int(struct.unpack_from(">Q", head, 8)[0]) if len(head) == 16 else None
    return at + size if size >= 8 else None


def _matroska(f: BinaryIO, have: int) -> int | None:
    """Past the EBML header, the segment."""
    f.seek(4)
    header = _number(f)
    if header is None or header > have:
        return None
    f.seek(header, os.SEEK_CUR)
    if f.read(4) != _SEGMENT:
        return None
    size = _number(f)
    return f.tell() + size if size is not None and f.tell() + size > have else None


def _number(f: BinaryIO) -> int | None:
    """An EBML size: leading zero bits of the first byte tell its length; all ones: not known (a live stream)."""
    first = f.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    raw = first + f.read(length - 1)
    if len(raw) < length:
        return None
    mask = (1 << 7 * length) - 1
    value = int.from_bytes(raw, "big") & mask
    return None if value == mask else value
