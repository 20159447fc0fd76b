"""A network camera: RTSP through OpenCV's FFmpeg, or a GStreamer pipeline (on a Jetson, with its hardware decoder).

Every call that may wait for the network is made by a Reader, a thread of its own (_rtsp_reader.py); this source
waits for it with limits, so that `open`, `read` and `close` return in time whatever the camera does. A stream that
ended stays ended: `close`, then `open` again, also with another size or rate.

Low latency: one decoder thread (several hold back as many pictures), the newest picture wins, and what FFmpeg stored
while it looked at the stream is passed over. Pictures carry the time at which they came, decoded.
"""

from __future__ import annotations

import logging
import os
from typing import Any, ClassVar
from urllib.parse import SplitResult, quote

from edged.backoff import Backoff
from edged.config.schema import Size
from edged.config.words import hide_credentials
from edged.errors import SourceError
from edged.frames import U8, FrameSpec, TimestampSource
from edged.memory import Lease, Slots
from edged.sources._captures import retrieve, spec_of
from edged.sources._opencv import opencv
from edged.sources._rtsp_options import RtspOptions, credentials_of, parts_of
from edged.sources._rtsp_probe import explain
from edged.sources._rtsp_reader import Limits, Reader
from edged.sources.base import SlotSource

BACKOFF = Backoff(first_s=0.5, cap_s=10.0)  # a camera takes half a minute to boot, and does not like a crowd
REFUSED_S = 60.0  # a camera may lock out whom it refuses too often
LEAST_S = 0.5  # for the question why, after an open that used up its time
GRACE_S = 0.7  # beyond the limits that a library promises to keep
CLOSE_S = 0.3  # how long `close` waits for the thread; it is in the library's hands for up to read_timeout_s
LEFT = 3  # threads left behind at once; no more are started
SIZES_FROM = (4, 13)  # the first OpenCV that tells when the size changes in mid-stream

log = logging.getLogger(__name__)


class RtspSource(SlotSource):
    """One stream. `copies` counts pictures that OpenCV put elsewhere and that were copied into the slot."""

    Options: ClassVar[type[RtspOptions]] = RtspOptions

    def __init__(self, name: str, options: RtspOptions) -> None:
        super().__init__(name, options)
        self.options = options
        self.copies = 0
        self._cv2: Any = None  # loaded at open
        self._reader: Reader | None = None
        self._warned = False
        self._interrupted = False
        self._left: list[Reader] = []  # closed, and still in the library's hands
        url = parts_of(options.url)
        self._address = "its pipeline" if options.pipeline is not None else hide_credentials(url.geturl())

    @property
    def live(self) -> bool:
        return True

    @property
    def backoff(self) -> Backoff | None:
        return BACKOFF

    @property
    def max_size(self) -> Size | None:
        return self.options.max_size

    @property
    def paced(self) -> bool:
        return False

    @property
    def timestamps(self) -> TimestampSource:
        return "dequeue"

    def interrupt(self) -> None:
        """Any thread: an `open` that waits, or is about to, gives up at once, as the process is to end."""
        self._interrupted = True  # before the look at the reader, as `_open` makes it before it looks here
        reader = self._reader
        if reader is not None:
            reader.stop()

    def _open(self) -> FrameSpec:
        o = self.options
        self._cv2 = cv2 = opencv("a source of kind 'rtsp'")
        self.copies = 0
        self._left = [r for r in self._left if r.is_alive()]
        if len(self._left) >= LEFT:
            raise self._failed("open", (f"{LEFT} earlier attempts still hang in the system", "restart edged"))
        url, credentials = parts_of(o.url), self._credentials()

        def why(left_s: float) -> tuple[str, str]:
            if o.pipeline is not None:
                return "GStreamer cannot play it", "try it with gst-launch-1.0, fakesink instead of appsink"
            return explain(url, credentials, max(LEAST_S, left_s))

        limits = Limits(o.open_timeout_s, o.read_timeout_s)
        self._reader = Reader(f"rtsp {self.name}", cv2, self._ways(cv2, url, credentials), limits, why)
        if self._interrupted:
            self._reader.stop()
        self._reader.start()
        if not self._reader.opened(o.open_timeout_s + LEAST_S + GRACE_S):
            error = self._failed("open", self._reader.fault or self._silence())
            if "(401)" in error.message:
                error.wait_s = REFUSED_S
            raise error
        spec = spec_of(cv2, self._reader.handle)
        if spec is None:
            raise self._failed("open", ("its pictures have no size", "check the stream with another player"))
        if o.max_size is not None and (spec.width > o.max_size[0] or spec.height > o.max_size[1]):
            raise self.error(
                f"has pictures of {spec.width}x{spec.height} from {self._address}, larger than max_size = "
                f"[{o.max_size[0]}, {o.max_size[1]}]",
                "raise max_size, or choose the camera's smaller stream",
            )
        if (
            o.pipeline is None
            and not self._warned
            and tuple(map(int, cv2.__version__.split(".")[:2])) < SIZES_FROM
        ):
            self._warned = True
            log.warning(
                "source '%s': this OpenCV (%s) damages pictures unseen if the camera changes their size in mid-stream; "
                "4.13 and later tell",
                self.name,
                cv2.__version__,
            )
        return spec

    def _credentials(self) -> tuple[str, str] | None:
        """Read at each open, so that a changed password needs no restart."""
        o = self.options
        if o.username is None:
            return credentials_of(parts_of(o.url))
        if o.password_env is not None:
            password = os.environ.get(o.password_env)
            if password is None:
                raise self.error(
                    f"finds no environment variable {o.password_env}", "set it, or use password_file"
                )
            return o.username, password
        assert o.password_file is not None  # RtspOptions.problems
        try:
            with open(o.password_file, encoding="utf-8") as f:
                return o.username, f.readline().rstrip("\r\n")
        except OSError as e:
            raise self.os_error(o.password_file, e) from e
        except UnicodeDecodeError as e:
            raise self.error(f"finds no text in {o.password_file}", "write the password there") from e

    def _ways(self, cv2: Any, url: SplitResult, credentials: tuple[str, str] | None) -> list[tuple[Any, ...]]:
        """Arguments of VideoCapture.open, to be tried in this order."""
        o = self.options
        host = url.netloc.rpartition("@")[2]
        # decoded and encoded again: quoted so that no sign of a password ends it for FFmpeg
        user = "" if credentials is None else ":".join(quote(c, safe="") for c in credentials) + "@"
        full = url._replace(netloc=user + host, fragment="")
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(o.open_timeout_s * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            round(o.read_timeout_s * 1000),
        ]
        backends = cv2.videoio_registry.getBackends()
        if o.pipeline is not None:
            if cv2.CAP_GSTREAMER not in backends:
                raise self.error(
                    f"cannot play its pipeline: this OpenCV ({cv2.__version__}) has no GStreamer",
                    "use the system's OpenCV (on a Jetson: a virtual environment with --system-site-packages), or url",
                )
            text = o.pipeline.replace("{url}", full.geturl())
            return [(text, cv2.CAP_GSTREAMER, limits), (text, cv2.CAP_GSTREAMER)]  # old ones know no limits
        if cv2.CAP_FFMPEG not in backends:
            raise self.error(
                f"cannot open {self._address}: this OpenCV ({cv2.__version__}) has no FFmpeg",
                "install opencv-python-headless, or give a pipeline for GStreamer",
            )
        # FFmpeg takes the transport from the address and cuts it off. The other way, an environment variable
        # of the process, would be the same for all cameras, and cannot be changed safely beside other threads.
        query = f"{url.query}&{o.transport}" if url.query else o.transport
        address = full._replace(query=query).geturl()
        return [(address, cv2.CAP_FFMPEG, [*limits, cv2.CAP_PROP_N_THREADS, o.threads])]

    def _silence(self) -> tuple[str, str]:
        return (
            f"no picture within {self.options.open_timeout_s:g} s",
            "check the camera and the name server; a slow camera needs a larger open_timeout_s",
        )

    def _failed(self, verb: str, why: tuple[str, str]) -> SourceError:
        return self.error(f"cannot {verb} {self._address}: {why[0]}", why[1])

    def _start(self) -> None:
        assert self._reader is not None
        self._reader.begin()

    def _advance(self, timeout_s: float) -> float | None:
        assert self._reader is not None
        taken = self._reader.take(timeout_s)
        if taken is None:
            if (fault := self._reader.fault) is not None:
                raise self._failed("read", fault)
            return None
        self._taken_ns, passed = taken
        if self._seq == 0:  # pictures of before `start` are no losses
            return 0.0
        self._seq += passed
        self.lost += passed
        return 0.0

    def _acquire(self, slots: Slots, timeout_s: float) -> Lease | None:
        assert self._reader is not None
        lease = super()._acquire(slots, timeout_s)
        if lease is None:
            self._reader.done()
        return lease

    def _fill(self, slot: int, planes: tuple[U8, ...]) -> dict[str, Any] | None:
        assert self._reader is not None
        plane = planes[0]
        try:
            picture = retrieve(self._cv2, self._reader.handle, plane)
        finally:
            self._reader.done()
        if picture is None:
            return None
        if picture.shape != plane.shape or picture.dtype != plane.dtype:
            raise self.error(
                f"got a picture of {picture.shape[1]}x{picture.shape[0]} from {self._address}, opened with "
                f"{plane.shape[1]}x{plane.shape[0]}",
                "it is opened again with the new size; max_size limits it",
            )
        self.copied = 0
        if picture.ctypes.data != plane.ctypes.data:
            plane[...] = picture
            self.copies += 1
            self.copied = plane.nbytes
        return {}

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is None:
            return
        reader.done()  # after a fault with a picture in hand
        reader.stop()
        reader.join(CLOSE_S)
        if reader.is_alive():
            self._left.append(reader)
