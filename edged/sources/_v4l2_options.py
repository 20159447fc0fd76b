"""The keys of a source of kind "v4l2" and the formats that they choose from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from edged.config.schema import Rate, Rectangle, Size, Table
from edged.frames import FrameSpec, PixelFormat
from edged.sources._videodev2 import fourcc

MemoryName = Literal[
    "auto", "userptr", "mmap", "mmap-register", "userptr-register", "userptr-hostalloc", "dmabuf", "copy"
]
FormatName = Literal["YUYV", "UYVY", "NV12", "NM12", "RGB24", "BGR24", "GREY", "MJPG"]


@dataclass(frozen=True, slots=True)
class Layout:
    """A pixel format of V4L2 that edged takes. `name` is the configuration's word, `code` the driver's.

    `buffers`: separate memory planes of a picture. `pixel`: of the frames it becomes; `jpeg`: by decoding.
    """

    name: FormatName
    code: int
    pixel: PixelFormat
    buffers: int = 1
    jpeg: bool = False


# In the order of preference where the configuration names none: the fewest bytes without loss of colour that
# need no copy, then what costs a decoder, then what has no colour.
LAYOUTS: tuple[Layout, ...] = (
    Layout("NV12", fourcc("NV12"), PixelFormat.NV12),
    Layout("NM12", fourcc("NM12"), PixelFormat.NV12, buffers=2),
    Layout("YUYV", fourcc("YUYV"), PixelFormat.YUYV),
    Layout("UYVY", fourcc("UYVY"), PixelFormat.UYVY),
    Layout("BGR24", fourcc("BGR3"), PixelFormat.BGR),
    Layout("RGB24", fourcc("RGB3"), PixelFormat.RGB),
    Layout("MJPG", fourcc("MJPG"), PixelFormat.BGR, jpeg=True),
    Layout("MJPG", fourcc("JPEG"), PixelFormat.BGR, jpeg=True),
    Layout("GREY", fourcc("GREY"), PixelFormat.GREY),
)


def layouts(name: FormatName | None) -> tuple[Layout, ...]:
    """Those that a `format` allows; NV12 is met as one plane or two, whichever the driver has."""
    if name is None:
        return LAYOUTS
    names = {"NV12", "NM12"} if name == "NV12" else {name}
    return tuple(x for x in LAYOUTS if x.name in names)


class V4l2Options(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a source of kind "v4l2". `edged cameras` lists what a camera takes.

    device: "/dev/video0", or a name below /dev/v4l/by-id or by-path, which stays when cameras are plugged in
        another order; it is looked up again at each open.
    size: [width, height], exactly; default: what the camera is set to.
    max_size: [width, height] that the picture may have at most; a larger one is refused.
    rate: pictures a second; the camera takes the nearest that it has.
    format: default: the first of NV12, NM12, YUYV, UYVY, BGR24, RGB24, MJPG, GREY that the camera has at this size
        with the rate (or 15 a second). NM12 is NV12 in two planes. MJPG is decoded, which is not free of copies.
    controls: name -> number, true or false, or the text of a menu's item; set at each open in this order.
    crop: [x, y, width, height] of the sensor, exactly; default: as the camera is set.
    memory: "auto": the first way from the driver to the device that works, or one by its name. On the CPU:
        "userptr", the driver writes into edged's slots, and "copy". On a GPU: "mmap-register", it reads the driver's
        own buffers; "userptr-register" and "userptr-hostalloc", the driver writes into slots that it reads ("userptr":
        either); "dmabuf", it imports the driver's buffers; "copy" ("mmap"), one copy of each picture.
    """

    PATHS: ClassVar[tuple[str, ...]] = ("device",)

    device: str
    size: Size | None = None
    max_size: Size | None = None
    rate: Rate | None = None
    format: FormatName | None = None
    controls: Mapping[str, bool | int | str] = {}
    crop: Rectangle | None = None
    memory: MemoryName = "auto"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions: (key, "what is wrong; remedy")."""
        if self.memory not in ("auto", "copy", "mmap") and self.format == "MJPG":
            yield "memory", f"'{self.memory}' cannot be with format 'MJPG', which is decoded; remove memory"
        if self.size is None:
            return
        if self.max_size is not None and (self.size[0] > self.max_size[0] or self.size[1] > self.max_size[1]):
            yield (
                "size",
                f"{list(self.size)} is larger than max_size {list(self.max_size)}; change one of them",
            )
        if self.format is not None:
            try:
                FrameSpec(*self.size, layouts(self.format)[0].pixel)
            except ValueError as e:
                yield "size", f"does not fit format '{self.format}': {e}; make it even"
