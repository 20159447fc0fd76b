"""A video file (or a camera, for which kind "v4l2" is better) through OpenCV, decoded into our slots as BGR."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from edged.backoff import Backoff
from edged.config.schema import Rate, Size, Table
from edged.frames import U8, FrameSpec, TimestampSource
from edged.sources._captures import CameraCapture, Capture, ClipCapture
from edged.sources._opencv import opencv
from edged.sources.base import BACKOFF, SlotSource


class VideoOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a source of kind "video".

    path: a video file, or a camera (a path below /dev/) that OpenCV reads: converted to BGR and copied, without the
        driver's times and losses. Cameras are for kind "v4l2".
    loop: start a file again at its end.
    pace: "realtime" plays a file like a camera (live); "max" lets the reader set the pace and see every frame.
        A camera is always live.
    max_size: [width, height] that the picture may have at most; a larger one is refused.
    size, rate: [width, height] and pictures a second wished from a camera; it may give others.
    threads: of a file's decoder; 1 leaves the cores to the engine.
    """

    PATHS: ClassVar[tuple[str, ...]] = ("path",)

    path: str
    loop: bool = False
    pace: Literal["realtime", "max"] = "realtime"
    max_size: Size | None = None
    size: Size | None = None
    rate: Rate | None = None
    threads: Annotated[int, Meta(ge=1, le=16)] = 1

    @property
    def camera(self) -> bool:
        return self.path.startswith("/dev/")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions: (key, "what is wrong; remedy")."""
        if self.camera and self.loop:
            yield "loop", "is for files, path is a camera; remove loop"
        if self.camera and self.pace == "max":
            yield "pace", "'max' is for files, path is a camera; remove pace"
        for key in ("size", "rate"):
            if not self.camera and getattr(self, key) is not None:
                yield key, f"is for cameras, path is a file; remove {key}"


class VideoSource(SlotSource):
    """One OpenCV capture. `copies` counts pictures that OpenCV put elsewhere and that were copied into the slot."""

    Options: ClassVar[type[VideoOptions]] = VideoOptions

    def __init__(self, name: str, options: VideoOptions) -> None:
        super().__init__(name, options)
        self.options = options
        self.copies = 0
        self._capture: Capture | None = None

    @property
    def live(self) -> bool:
        return self.options.camera or self.options.pace == "realtime"

    @property
    def backoff(self) -> Backoff | None:
        return BACKOFF if self.options.camera else None

    @property
    def exclusive(self) -> bool:
        return self.options.camera

    @property
    def max_size(self) -> Size | None:
        return self.options.max_size

    @property
    def paced(self) -> bool:
        return self.live and not self.options.camera

    @property
    def timestamps(self) -> TimestampSource:
        if self.options.camera:
            return "dequeue"
        return "file" if self.paced else "decode"

    def _open(self) -> FrameSpec:
        o = self.options
        try:
            if os.path.isdir(o.path):
                raise self.error(f"cannot play {o.path}: it is a folder", "use kind = 'images' for pictures")
            mode = os.stat(o.path).st_mode
            if not o.camera and not stat.S_ISREG(mode):  # opening a pipe may never end
                raise self.error(f"cannot play {o.path}: it is no file", "record it to a file and play that")
            cv2 = opencv("a source of kind 'video'")
            # an absolute path: FFmpeg takes the part before a colon for a protocol
            path = os.path.abspath(o.path)
            if o.camera:
                self._capture = CameraCapture(cv2, path, size=o.size, rate=o.rate, fail=self.error)
            else:
                with open(path, "rb"):  # the system's reason, not OpenCV's silence
                    pass
                self._capture = ClipCapture(cv2, path, threads=o.threads, loop=o.loop, fail=self.error)
            spec = self._capture.open()
        except OSError as e:
            raise self.os_error(o.path, e) from e
        if o.max_size is not None and (spec.width > o.max_size[0] or spec.height > o.max_size[1]):
            raise self.error(
                f"has pictures of {spec.width}x{spec.height} in {o.path}, larger than "
                f"max_size = [{o.max_size[0]}, {o.max_size[1]}]",
                "raise max_size, or choose a smaller picture",
            )
        self.copies = 0
        return spec

    def _start(self) -> None:
        assert self._capture is not None
        self._capture.start()

    def _advance(self, timeout_s: float) -> float | None:
        assert self._capture is not None
        try:
            return self._capture.advance(timeout_s)
        except OSError as e:
            raise self.os_error(self.options.path, e) from e

    def _fill(self, slot: int, planes: tuple[U8, ...]) -> dict[str, Any] | None:
        assert self._capture is not None
        plane = planes[0]
        picture = self._capture.retrieve(plane)
        if picture is None and self.options.camera:  # a JPEG that was damaged on the cable
            return None
        if picture is None:
            raise self.error(f"cannot decode a picture of {self.options.path}", "check the file with ffprobe")
        self.copied = 0
        # OpenCV fills the array it is given when size and type match; else it returns another one
        if picture.ctypes.data != plane.ctypes.data:
            if picture.shape != plane.shape or picture.dtype != plane.dtype:
                raise self.error(
                    f"got a picture of {picture.shape[1]}x{picture.shape[0]} from {self.options.path}, opened with "
                    f"{plane.shape[1]}x{plane.shape[0]}",
                    "use a file or camera mode whose size does not change",
                )
            plane[...] = picture
            self.copies += 1
            self.copied = plane.nbytes
        return {}

    def _close(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()
