"""The V4L2 capture ABI: structures, ioctl numbers and constants. No logic, no I/O.

Source: the kernel's user-space header include/uapi/linux/videodev2.h (and v4l2-common.h for selection
targets), layouts of 64-bit Linux on x86-64 and aarch64; tests compare sizes and offsets with what gcc says.
Names are the header's without "v4l2_" and "V4L2_"; fields keep their names.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import c_char, c_int32, c_int64, c_long, c_uint8, c_uint32, c_uint64, c_ulong
from enum import IntEnum


class Capability(ctypes.Structure):
    driver: bytes
    card: bytes
    bus_info: bytes
    capabilities: int
    device_caps: int
    _fields_ = [
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class FmtDesc(ctypes.Structure):
    index: int
    type: int
    flags: int
    description: bytes
    pixelformat: int
    _fields_ = [
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class SizeStepwise(ctypes.Structure):
    min_width: int
    max_width: int
    step_width: int
    min_height: int
    max_height: int
    step_height: int
    _fields_ = [
        (n, c_uint32)
        for n in ("min_width", "max_width", "step_width", "min_height", "max_height", "step_height")
    ]


class FrmSizeEnum(ctypes.Structure):
    """A discrete size is in the first two fields of `stepwise` (a union): (width, height)."""

    index: int
    pixel_format: int
    type: int
    stepwise: SizeStepwise
    _fields_ = [
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("stepwise", SizeStepwise),
        ("reserved", c_uint32 * 2),
    ]


class Fract(ctypes.Structure):
    numerator: int
    denominator: int
    _fields_ = [("numerator", c_uint32), ("denominator", c_uint32)]


class FrmIvalEnum(ctypes.Structure):
    """A discrete interval is in `min` (a union)."""

    index: int
    pixel_format: int
    width: int
    height: int
    type: int
    min: Fract
    max: Fract
    step: Fract
    _fields_ = [
        *((n, c_uint32) for n in ("index", "pixel_format", "width", "height", "type")),
        ("min", Fract),
        ("max", Fract),
        ("step", Fract),
        ("reserved", c_uint32 * 2),
    ]


class PixFormat(ctypes.Structure):
    width: int
    height: int
    pixelformat: int
    field: int
    bytesperline: int
    sizeimage: int
    colorspace: int
    priv: int
    flags: int
    ycbcr_enc: int
    quantization: int
    xfer_func: int
    _fields_ = [
        (n, c_uint32)
        for n in (
            "width",
            "height",
            "pixelformat",
            "field",
            "bytesperline",
            "sizeimage",
            "colorspace",
            "priv",
            "flags",
            "ycbcr_enc",
            "quantization",
            "xfer_func",
        )
    ]


class PlanePixFormat(ctypes.Structure):
    sizeimage: int
    bytesperline: int
    _pack_ = 1
    _fields_ = [
        ("sizeimage", c_uint32),
        ("bytesperline", c_uint32),
        ("reserved", ctypes.c_uint16 * 6),
    ]


class PixFormatMplane(ctypes.Structure):
    width: int
    height: int
    pixelformat: int
    field: int
    colorspace: int
    plane_fmt: ctypes.Array[PlanePixFormat]
    num_planes: int
    flags: int
    ycbcr_enc: int
    quantization: int
    _pack_ = 1
    _fields_ = [
        *((n, c_uint32) for n in ("width", "height", "pixelformat", "field", "colorspace")),
        ("plane_fmt", PlanePixFormat * 8),
        *((n, c_uint8) for n in ("num_planes", "flags", "ycbcr_enc", "quantization", "xfer_func")),
        ("reserved", c_uint8 * 7),
    ]


class _FormatUnion(ctypes.Union):
    pix: PixFormat
    pix_mp: PixFormatMplane
    # the header's other members make the union 200 bytes with the alignment of a pointer
    _fields_ = [
        ("pix", PixFormat),
        ("pix_mp", PixFormatMplane),
        ("raw_data", c_uint64 * 25),
    ]


class Format(ctypes.Structure):
    type: int
    fmt: _FormatUnion
    _fields_ = [("type", c_uint32), ("fmt", _FormatUnion)]


class RequestBuffers(ctypes.Structure):
    count: int
    type: int
    memory: int
    capabilities: int
    _fields_ = [
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    ]


class _PlaneUnion(ctypes.Union):
    mem_offset: int
    userptr: int
    fd: int
    _fields_ = [("mem_offset", c_uint32), ("userptr", c_ulong), ("fd", c_int32)]


class Plane(ctypes.Structure):
    bytesused: int
    length: int
    m: _PlaneUnion
    data_offset: int
    _fields_ = [
        ("bytesused", c_uint32),
        ("length", c_uint32),
        ("m", _PlaneUnion),
        ("data_offset", c_uint32),
        ("reserved", c_uint32 * 11),
    ]


class _BufferUnion(ctypes.Union):
    offset: int
    userptr: int
    planes: ctypes._Pointer[Plane]
    fd: int
    _fields_ = [
        ("offset", c_uint32),
        ("userptr", c_ulong),
        ("planes", ctypes.POINTER(Plane)),
        ("fd", c_int32),
    ]


class TimeVal(ctypes.Structure):
    tv_sec: int
    tv_usec: int
    _fields_ = [("tv_sec", c_long), ("tv_usec", c_long)]


class Buffer(ctypes.Structure):
    index: int
    type: int
    bytesused: int
    flags: int
    field: int
    timestamp: TimeVal
    sequence: int
    memory: int
    m: _BufferUnion
    length: int
    _fields_ = [
        *((n, c_uint32) for n in ("index", "type", "bytesused", "flags", "field")),
        ("timestamp", TimeVal),
        ("timecode", c_uint8 * 16),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _BufferUnion),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    ]


class CaptureParm(ctypes.Structure):
    capability: int
    timeperframe: Fract
    _fields_ = [
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("timeperframe", Fract),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("reserved", c_uint32 * 4),
    ]


class _ParmUnion(ctypes.Union):
    capture: CaptureParm
    _fields_ = [("capture", CaptureParm), ("raw_data", c_uint8 * 200)]


class StreamParm(ctypes.Structure):
    type: int
    parm: _ParmUnion
    _fields_ = [("type", c_uint32), ("parm", _ParmUnion)]


class QueryExtCtrl(ctypes.Structure):
    id: int
    type: int
    name: bytes
    minimum: int
    maximum: int
    step: int
    default_value: int
    flags: int
    nr_of_dims: int
    _fields_ = [
        ("id", c_uint32),
        ("type", c_uint32),
        ("name", c_char * 32),
        ("minimum", c_int64),
        ("maximum", c_int64),
        ("step", c_uint64),
        ("default_value", c_int64),
        ("flags", c_uint32),
        ("elem_size", c_uint32),
        ("elems", c_uint32),
        ("nr_of_dims", c_uint32),
        ("dims", c_uint32 * 4),
        ("reserved", c_uint32 * 32),
    ]


class _MenuUnion(ctypes.Union):
    name: bytes
    value: int
    _pack_ = 1
    _fields_ = [("name", c_char * 32), ("value", c_int64)]


class QueryMenu(ctypes.Structure):
    id: int
    index: int
    item: _MenuUnion
    _pack_ = 1
    _fields_ = [
        ("id", c_uint32),
        ("index", c_uint32),
        ("item", _MenuUnion),
        ("reserved", c_uint32),
    ]


class _ControlUnion(ctypes.Union):
    value: int
    value64: int
    _pack_ = 1
    _fields_ = [("value", c_int32), ("value64", c_int64)]


class ExtControl(ctypes.Structure):
    id: int
    size: int
    v: _ControlUnion
    _pack_ = 1
    _fields_ = [
        ("id", c_uint32),
        ("size", c_uint32),
        ("reserved2", c_uint32),
        ("v", _ControlUnion),
    ]


class ExtControls(ctypes.Structure):
    which: int
    count: int
    error_idx: int
    controls: ctypes._Pointer[ExtControl]
    _fields_ = [
        ("which", c_uint32),
        ("count", c_uint32),
        ("error_idx", c_uint32),
        ("request_fd", c_int32),
        ("reserved", c_uint32),
        ("controls", ctypes.POINTER(ExtControl)),
    ]


class Rect(ctypes.Structure):
    left: int
    top: int
    width: int
    height: int
    _fields_ = [
        ("left", c_int32),
        ("top", c_int32),
        ("width", c_uint32),
        ("height", c_uint32),
    ]


class ExportBuffer(ctypes.Structure):
    type: int
    index: int
    plane: int
    flags: int
    fd: int
    _fields_ = [
        *((n, c_uint32) for n in ("type", "index", "plane", "flags")),
        ("fd", c_int32),
        ("reserved", c_uint32 * 11),
    ]


class Selection(ctypes.Structure):
    type: int
    target: int
    flags: int
    r: Rect
    _fields_ = [
        ("type", c_uint32),
        ("target", c_uint32),
        ("flags", c_uint32),
        ("r", Rect),
        ("reserved", c_uint32 * 9),
    ]


_READ, _WRITE = 2, 1


def _ioc(direction: int, number: int, argument: type[ctypes.Structure | ctypes._SimpleCData[int]]) -> int:
    """asm-generic/ioctl.h: direction, size, type 'V', number."""
    return direction << 30 | ctypes.sizeof(argument) << 16 | ord("V") << 8 | number


class Ioctl(IntEnum):
    """Request numbers; the header calls them VIDIOC_<name>."""

    QUERYCAP = _ioc(_READ, 0, Capability)
    ENUM_FMT = _ioc(_READ | _WRITE, 2, FmtDesc)
    G_FMT = _ioc(_READ | _WRITE, 4, Format)
    S_FMT = _ioc(_READ | _WRITE, 5, Format)
    REQBUFS = _ioc(_READ | _WRITE, 8, RequestBuffers)
    QUERYBUF = _ioc(_READ | _WRITE, 9, Buffer)
    QBUF = _ioc(_READ | _WRITE, 15, Buffer)
    EXPBUF = _ioc(_READ | _WRITE, 16, ExportBuffer)
    DQBUF = _ioc(_READ | _WRITE, 17, Buffer)
    STREAMON = _ioc(_WRITE, 18, c_int32)
    STREAMOFF = _ioc(_WRITE, 19, c_int32)
    G_PARM = _ioc(_READ | _WRITE, 21, StreamParm)
    S_PARM = _ioc(_READ | _WRITE, 22, StreamParm)
    QUERYMENU = _ioc(_READ | _WRITE, 37, QueryMenu)
    G_EXT_CTRLS = _ioc(_READ | _WRITE, 71, ExtControls)
    S_EXT_CTRLS = _ioc(_READ | _WRITE, 72, ExtControls)
    ENUM_FRAMESIZES = _ioc(_READ | _WRITE, 74, FrmSizeEnum)
    ENUM_FRAMEINTERVALS = _ioc(_READ | _WRITE, 75, FrmIvalEnum)
    G_SELECTION = _ioc(_READ | _WRITE, 94, Selection)
    S_SELECTION = _ioc(_READ | _WRITE, 95, Selection)
    QUERY_EXT_CTRL = _ioc(_READ | _WRITE, 103, QueryExtCtrl)


# enum v4l2_buf_type, enum v4l2_memory
BUF_TYPE_CAPTURE, BUF_TYPE_CAPTURE_MPLANE = 1, 9
MEMORY_MMAP, MEMORY_USERPTR = 1, 2
MAX_FRAME = 32  # VIDEO_MAX_FRAME
EXPORT_FLAGS = os.O_RDWR | os.O_CLOEXEC  # of EXPBUF; an importer maps a dmabuf for writing, too

CAP_VIDEO_CAPTURE = 0x1
CAP_VIDEO_CAPTURE_MPLANE = 0x1000
CAP_STREAMING = 0x04000000
CAP_DEVICE_CAPS = 0x80000000
CAP_TIMEPERFRAME = 0x1000  # v4l2_captureparm.capability

BUF_FLAG_MAPPED, BUF_FLAG_QUEUED, BUF_FLAG_DONE, BUF_FLAG_ERROR = 0x1, 0x2, 0x4, 0x40
BUF_FLAG_TIMESTAMP_MASK, BUF_FLAG_TIMESTAMP_MONOTONIC = 0xE000, 0x2000

PIX_FMT_PRIV_MAGIC = 0xFEEDCAFE  # the fields of v4l2_pix_format behind `priv` are meant
FIELD_ANY, FIELD_NONE, FIELD_INTERLACED = 0, 1, 4
FIELD_INTERLACED_TB, FIELD_INTERLACED_BT = 8, 9

FRMSIZE_DISCRETE, FRMSIZE_CONTINUOUS, FRMSIZE_STEPWISE = 1, 2, 3  # and of frame intervals

SEL_TGT_CROP, SEL_TGT_CROP_BOUNDS = 0x0, 0x2

CTRL_INTEGER, CTRL_BOOLEAN, CTRL_MENU, CTRL_BUTTON, CTRL_INTEGER64 = 1, 2, 3, 4, 5
CTRL_CLASS, CTRL_STRING, CTRL_BITMASK, CTRL_INTEGER_MENU = 6, 7, 8, 9
CTRL_FLAG_DISABLED, CTRL_FLAG_GRABBED, CTRL_FLAG_READ_ONLY = 0x1, 0x2, 0x4
CTRL_FLAG_INACTIVE, CTRL_FLAG_WRITE_ONLY, CTRL_FLAG_MODIFY_LAYOUT = 0x10, 0x40, 0x400
CTRL_FLAG_NEXT_CTRL = 0x80000000

# enum v4l2_colorspace, v4l2_ycbcr_encoding, v4l2_quantization
COLORSPACE_SMPTE240M, COLORSPACE_REC709, COLORSPACE_JPEG = 2, 3, 7
COLORSPACE_BT2020, COLORSPACE_DCI_P3 = 10, 12
ENC_DEFAULT, ENC_601, ENC_709, ENC_XV601, ENC_XV709 = 0, 1, 2, 3, 4
ENC_SYCC, ENC_BT2020, ENC_BT2020_CONST_LUM, ENC_SMPTE240M = 5, 6, 7, 8
QUANTIZATION_DEFAULT, QUANTIZATION_FULL, QUANTIZATION_LIMITED = 0, 1, 2


def fourcc(text: str) -> int:
    """The number of a four-character code; shorter texts are filled with spaces."""
    a, b, c, d = text.ljust(4).encode("ascii")
    return a | b << 8 | c << 16 | d << 24


def fourcc_text(code: int) -> str:
    """As the header writes it, with -BE for big-endian formats (bit 31)."""
    text = (code & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace").rstrip()
    return text + ("-BE" if code >> 31 else "")
