"""What video.py reads from: a file's decoder or a camera, both through OpenCV's VideoCapture."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from edged.errors import SourceError
from edged.frames import U8, FrameSpec, PixelFormat
from edged.interfaces import EndOfStream
from edged.sources._containers import size_before_cut

Fail = Callable[[str, str], SourceError]  # (what is wrong, remedy): names the source

# A step between two frames that is not above 0 and at most this is no time; the frame rate is used then.
MAX_STEP_S = 10.0
DEFAULT_RATE = 25.0  # of a file that does not say
STALL_S = 5.0  # a camera that delivers nothing for so long has failed


class Capture(Protocol):
    """Used by one thread."""

    def open(self) -> FrameSpec: ...
    def start(self) -> None: ...
    def advance(self, timeout_s: float) -> float | None: ...
    def retrieve(self, plane: U8) -> U8 | None:
        """The picture, in `plane` where OpenCV can; None: it cannot be decoded."""
        ...

    def close(self) -> None: ...


def spec_of(cv2: Any, handle: Any) -> FrameSpec | None:
    """The size that a capture says; None when it says none."""
    w, h = int(handle.get(cv2.CAP_PROP_FRAME_WIDTH)), int(handle.get(cv2.CAP_PROP_FRAME_HEIGHT))
    return FrameSpec(w, h, PixelFormat.BGR) if w > 0 and h > 0 else None


def retrieve(cv2: Any, handle: Any, plane: U8) -> U8 | None:
    """OpenCV says in two ways that a picture cannot be decoded: False, and for some formats an exception."""
    try:
        ok, picture = handle.retrieve(plane)
    except cv2.error:
        return None
    return picture if ok else None


class ClipCapture:
    """A video file. `grab` decodes ahead of time; only the conversion to BGR is left for when it is due.

    Times are the file's own; where they make no sense, its frame rate. At the end of a loop the file is opened
    again (about 10 ms): a seek to the start is not exact in every container.
    """

    def __init__(self, cv2: Any, path: str, *, threads: int, loop: bool, fail: Fail) -> None:
        self._cv2, self._path, self._threads, self._loop, self._fail = cv2, path, threads, loop, fail
        self.handle = cv2.VideoCapture()
        self._decoded = 0  # frames since the file was opened
        self._media_s = 0.0
        self._last_s: float | None = None  # the file's time of the frame before

    def open(self) -> FrameSpec:
        size = os.path.getsize(self._path)
        if size == 0:
            raise self._fail(f"cannot use {self._path}: it is empty (0 bytes)", "replace it")
        if not any(self.handle.open(self._path, *how) for how in self._ways()):
            wanted = size_before_cut(self._path)
            if wanted is not None:
                raise self._fail(
                    f"cannot open {self._path}: it is cut off ({size} of {wanted} bytes)", "copy it again"
                )
            raise self._fail(
                f"cannot open {self._path}: it is no video that OpenCV can decode",
                "check it with ffprobe, or convert it: ffmpeg -i FILE -c:v mjpeg FILE.avi",
            )
        spec = spec_of(self._cv2, self.handle)
        if spec is None:
            raise self._fail(f"finds no picture size in {self._path}", "check the file with ffprobe")
        rate = self.handle.get(self._cv2.CAP_PROP_FPS)
        self._interval_s = 1 / rate if 0.1 <= rate <= 1000 else 1 / DEFAULT_RATE
        self._decoded, self._last_s = 0, None
        return spec

    def _ways(self) -> list[tuple[Any, ...]]:
        """(backend, parameters) in the order to try: FFmpeg takes a thread count, GStreamer does not.

        Others are not asked: OpenCV's picture-sequence backend takes a file name for a numbering scheme.
        """
        c = self._cv2
        backends = set(c.videoio_registry.getBackends())
        threads = getattr(c, "CAP_PROP_N_THREADS", None)
        parameters = [] if threads is None else [threads, self._threads]
        ways: list[tuple[Any, ...]] = [(c.CAP_FFMPEG, parameters), (c.CAP_GSTREAMER, [])]
        return [w for w in ways if w[0] in backends]

    def start(self) -> None:
        """Nothing to prepare."""

    def advance(self, timeout_s: float) -> float | None:
        if not self.handle.grab():
            self._refuse_incomplete()
            if not self._loop:
                raise EndOfStream
            self.handle.release()
            self.open()
            if not self.handle.grab():
                raise self._fail(f"cannot decode {self._path} again", "do not change files in use")
        self._decoded += 1
        return self._step()

    def _step(self) -> float:
        """The media time of the frame that was grabbed, in seconds since the first; always rises."""
        at = self.handle.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
        step = self._interval_s if self._last_s is None else at - self._last_s
        self._media_s += step if 0 < step <= MAX_STEP_S else self._interval_s
        self._last_s = at
        return self._media_s

    def retrieve(self, plane: U8) -> U8 | None:
        return retrieve(self._cv2, self.handle, plane)

    def _refuse_incomplete(self) -> None:
        """Raise when the file ended early: frames are missing and so are bytes, or nothing could be decoded."""
        promised = int(self.handle.get(self._cv2.CAP_PROP_FRAME_COUNT))
        wanted = size_before_cut(self._path)
        if wanted is not None and self._decoded < promised:
            raise self._fail(
                f"has a truncated file: {self._path} ends at frame {self._decoded} of {promised} "
                f"({os.path.getsize(self._path)} of {wanted} bytes)",
                "copy the file again, or cut it to what is there: ffmpeg -i FILE -c copy NEW",
            )
        if self._decoded == 0:
            raise self._fail(f"cannot decode a single frame of {self._path}", "check it with ffprobe")

    def close(self) -> None:
        self.handle.release()


class CameraCapture:
    """A V4L2 camera. `open` waits for one picture: a camera that delivers nothing is refused there.

    OpenCV copies and converts each picture to BGR: this is not zero-copy.
    """

    def __init__(
        self, cv2: Any, path: str, *, size: tuple[int, int] | None, rate: float | None, fail: Fail
    ) -> None:
        self._cv2, self._path, self._size, self._rate, self._fail = cv2, path, size, rate, fail
        self.handle = cv2.VideoCapture()
        self._heard = 0.0  # when the last picture came (time.monotonic)
        self._waiting = False  # a picture was grabbed and not retrieved: OpenCV grabs no other before

    def open(self) -> FrameSpec:
        if not stat.S_ISCHR(os.stat(self._path).st_mode):
            raise self._fail(
                f"cannot use {self._path}: it is no device", "list cameras: v4l2-ctl --list-devices"
            )
        if not os.access(self._path, os.R_OK | os.W_OK):
            raise self._fail(
                f"may not open {self._path}", "add the user to the group 'video': usermod -aG video USER"
            )
        if not self.handle.open(self._path, self._cv2.CAP_V4L2):
            raise self._fail(
                f"cannot open {self._path}: it is busy or no camera that OpenCV can read",
                f"see who uses it: fuser -v {self._path}; and what it is: v4l2-ctl -d {self._path} --all",
            )
        width, height = self._size or (None, None)
        for key, value in (("FRAME_WIDTH", width), ("FRAME_HEIGHT", height), ("FPS", self._rate)):
            if value is not None:  # a wish: the driver takes the nearest, and the FrameSpec says which
                self.handle.set(getattr(self._cv2, f"CAP_PROP_{key}"), value)
        spec = spec_of(self._cv2, self.handle)
        if spec is None or not self.handle.grab():
            raise self._fail(f"gets no picture from {self._path}", "check the cable, or another size or rate")
        self._waiting = True
        return spec

    def start(self) -> None:
        """Drop what the driver kept since open: those pictures are old."""
        for _ in range(8):  # OpenCV has 4 buffers, and more may come meanwhile
            if not self._grab(0.0):
                break
        self._heard = time.monotonic()

    def advance(self, timeout_s: float) -> float | None:
        came = self._grab(timeout_s)
        now = time.monotonic()
        if came:
            self._heard = now
            return 0.0  # not paced
        if now - self._heard > STALL_S:
            raise self._fail(
                f"got no picture from {self._path} for {STALL_S:.0f} s", "check the camera's cable"
            )
        return None

    def _grab(self, timeout_s: float) -> bool:
        # waitAny takes 0 for no limit; it grabs when a picture is ready
        try:
            if self._waiting:
                self.handle.retrieve()
            ready, _ = self._cv2.VideoCapture_waitAny([self.handle], max(1, round(timeout_s * 1e9)))
        except self._cv2.error as e:
            raise self._fail(f"lost {self._path}: {e.err}", "is it unplugged? v4l2-ctl --list-devices") from e
        self._waiting = bool(ready)
        return self._waiting

    def retrieve(self, plane: U8) -> U8 | None:
        self._waiting = False
        return retrieve(self._cv2, self.handle, plane)

    def close(self) -> None:
        with suppress(self._cv2.error):  # a device that is gone
            self.handle.release()
