"""A camera that does not exist: what it offers, how it misbehaves, and the state of its driver."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edged.sources import _videodev2 as v

Sizes = tuple[tuple[int, int], ...]
# bytes a pixel (numerator, denominator) of each memory plane, and of a row of it; 0 a row: compressed
_SHAPES: dict[str, tuple[tuple[float, int], ...]] = {
    "YUYV": ((2, 2),),
    "UYVY": ((2, 2),),
    "RGB3": ((3, 3),),
    "BGR3": ((3, 3),),
    "GREY": ((1, 1),),
    "NV12": ((1.5, 1),),
    "NM12": ((1, 1), (0.5, 1)),
    "MJPG": ((1, 0),),
    "H264": ((1, 0),),
}


@dataclass(slots=True)
class FakeControl:
    """As the driver describes it; `value` is what it is set to. `needs`: a control that must not be 0 before."""

    id: int
    name: str
    type: int = v.CTRL_INTEGER
    least: int = 0
    most: int = 255
    step: int = 1
    default: int = 128
    flags: int = 0
    menu: dict[int, str | int] = field(default_factory=dict)
    value: int = 128
    needs: int | None = None


def level(sequence: int) -> int:
    """The byte that fills picture `sequence`."""
    return 16 + sequence % 200


@dataclass(slots=True, eq=False)
class FakeCamera:
    """One camera: what it offers, and how it misbehaves.

    rate_hz: None delivers a picture whenever one is waited for; a number keeps the time of a real camera, and
        pictures for which no buffer is queued are lost.
    picture: (sequence, plane) -> its bytes; default: all bytes are `level(sequence)`.
    """

    formats: dict[str, Sizes] = field(default_factory=lambda: {"YUYV": ((640, 480), (320, 240))})
    stepwise: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None  # instead of `formats`' sizes
    lists: bool = True  # whether it answers the ENUM calls
    rates: tuple[tuple[int, int], ...] = ((1, 30), (1, 15))  # intervals in seconds; () : it lists none
    rate_range: bool = False  # the first and the last of `rates` are the ends of a range
    sets_rate: bool = True
    multiplanar: bool = False
    card: str = "Fake camera"
    capabilities: int | None = None
    controls: list[FakeControl] = field(default_factory=list)
    sensor: tuple[int, int] | None = None  # its size, of a camera that can crop
    color: tuple[int, int, int] = (0, 0, 0)  # colorspace, ycbcr_enc, quantization
    fields: int = v.FIELD_NONE
    pad: int = 0  # bytes behind each row
    pad_image: int = 0  # bytes behind each picture
    least_buffers: int = 1
    rate_hz: float | None = None
    picture: Callable[[int, int], bytes] | None = None
    # what it does wrong
    flag_errors: int = 0  # pictures to come with the error flag
    short: int = 0  # bytes that each picture lacks
    qbuf_errors: int = 0  # calls to refuse (EINVAL)
    reqbufs_errors: int = 0
    streamon_errors: int = 0
    streamon_errno: int = errno.EINVAL
    fatal: bool = False  # DQBUF and QBUF: EIO, until STREAMOFF
    silent: bool = False
    spurious: bool = False  # poll says ready when nothing is
    drop: set[int] = field(default_factory=set)  # sequence numbers never delivered
    exports: bool = False  # EXPBUF
    unwritten: int = 0  # pictures that it says it wrote and did not
    refuse_userptr: int = 0  # errno of REQBUFS (EINVAL) or of QBUF (others)
    busy: bool = False  # another program streams
    numbers: Callable[[int], int] = lambda n: n  # what it says for picture n
    stamp: Callable[[int], int] = lambda ns: ns  # what it says for CLOCK_MONOTONIC
    stamp_flags: int = v.BUF_FLAG_TIMESTAMP_MONOTONIC
    data_offset: int = 0
    gone: bool = False  # unplugged: ENODEV until the last descriptor is closed
    present: bool = True  # whether the node exists
    # state
    fds: set[int] = field(default_factory=set)
    owner: int = -1
    code: str = ""
    size: tuple[int, int] = (0, 0)
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    interval: tuple[int, int] = (1, 30)
    memory: int = 0
    streaming: bool = False
    next: int = 0  # number of the next picture
    began_ns: int = 0
    opens: int = 0
    calls: list[str] = field(default_factory=list)
    room: list[list[tuple[int, int]]] = field(
        default_factory=list
    )  # of MMAP buffers: (length, offset) a plane
    pages: dict[int, int] = field(default_factory=dict)  # their memory: a descriptor by offset
    queued: deque[tuple[int, list[int]]] = field(default_factory=deque)  # (index, where its planes are)
    done: deque[tuple[int, int, int]] = field(default_factory=deque)  # (index, sequence, time)
    inside: set[int] = field(default_factory=set)  # buffers that the driver has

    def __post_init__(self) -> None:
        self.code = next(iter(self.formats))
        self.size = (self.formats[self.code] or ((640, 480),))[0]
        if self.sensor:
            self.crop = (0, 0, *self.sensor)

    def disconnect(self) -> None:
        """As vivid's "disconnect": gone until the last descriptor is closed."""
        self.gone = True

    def unplug(self) -> None:
        self.gone, self.present = True, False

    def plug(self) -> None:
        self.present = True
        self.gone = self.gone and bool(self.fds)

    @property
    def type(self) -> int:
        return v.BUF_TYPE_CAPTURE_MPLANE if self.multiplanar else v.BUF_TYPE_CAPTURE

    @property
    def planes(self) -> list[tuple[int, int]]:
        """(sizeimage, bytesperline) of each memory plane."""
        w, h = self.size
        out = []
        for image, row in _SHAPES[self.code]:
            pitch = w * row + self.pad if row else 0
            rows = h * image / row if row else 0
            out.append(((round(pitch * rows) if row else w * h) + self.pad_image, pitch))
        return out
