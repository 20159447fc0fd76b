"""A V4L2 camera, straight from the kernel: no copy where the driver can write into edged's slots.

    open: resolve the name → negotiate     start: USERPTR, else MMAP     read: requeue → poll → dequeue

One thread uses it, its SourceUnit's; `facts` may be read from any. A fault (SourceError) leaves the source to be
closed and opened again. Tags of a frame: "sequence" (the driver's own number) and, for one that came damaged,
"torn"; a JPEG that came damaged is lost.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from edged.backoff import Backoff
from edged.config.schema import Size
from edged.frames import U8, FrameSpec, TimestampSource
from edged.memory import Lease, Slots
from edged.sources import _videodev2 as v
from edged.sources._opencv import opencv
from edged.sources._v4l2_buffers import Copies, Decoded, Queue, Refused, UserPointers
from edged.sources._v4l2_clock import DriverClock, Sequence
from edged.sources._v4l2_device import SYSTEM, Device, Kernel
from edged.sources._v4l2_negotiate import Agreed, negotiate
from edged.sources._v4l2_options import V4l2Options
from edged.sources.base import BACKOFF, SlotSource

FIRST_S = 5.0  # a camera may take so long for its first picture
SILENT_S, SILENT_PICTURES = 2.0, 5  # then it has failed when nothing came for both of these
UNKNOWN_RATE = 1.0  # of a driver that does not say
DRIVER_SLOTS = 3  # slots that a driver holds besides the one that it fills, so that it never runs out
_MICRO, _SECOND = 1000, 1_000_000_000
_REFUSED = "the driver refused a buffer (VIDIOC_QBUF: EINVAL); it was offered again"


class V4l2Source(SlotSource):
    """See the module. `facts`: what was negotiated and chosen, and why, in words; for the snapshot.

    `extra_slots`: slots it wants besides those that its readers use.
    """

    Options: ClassVar[type[V4l2Options]] = V4l2Options

    def __init__(self, name: str, options: V4l2Options, kernel: Kernel = SYSTEM) -> None:
        self.options = options
        self._kernel = kernel
        self.facts: dict[str, str] = {}
        self._device: Device | None = None
        self._agreed: Agreed | None = None
        self._queue: Queue | None = None
        super().__init__(name, options)

    @property
    def live(self) -> bool:
        return True

    @property
    def backoff(self) -> Backoff:
        return BACKOFF

    @property
    def max_size(self) -> Size | None:
        return self.options.max_size

    @property
    def paced(self) -> bool:
        return False

    @property
    def timestamps(self) -> TimestampSource:
        """Of the last frame."""
        return self._timestamps

    @property
    def extra_slots(self) -> int:
        return 0 if self.options.memory == "mmap" or self.options.format == "MJPG" else DRIVER_SLOTS

    def _reset(self) -> None:
        super()._reset()
        self._clock, self._sequence = DriverClock(), Sequence()
        self._timestamps: TimestampSource = "driver"
        self._silent_s = 0.0  # spent waiting for the driver since the last picture that could be used
        self._patience_s = FIRST_S
        self._spoilt = 0  # pictures that could not be decoded

    def _open(self) -> FrameSpec:
        self.facts = {}
        self._device = Device(self.options.device, f"source '{self.name}'", self._kernel)
        self._device.open()
        self._agreed = negotiate(self._device, self.options)
        self.facts = dict(self._agreed.facts)
        return self._agreed.spec

    def start(self, slots: Slots) -> None:
        """As every source. Streams when it returns; a failure closes the device."""
        super().start(slots)
        try:
            self._begin(slots)
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        """Needs the slots: see `_begin`."""

    def _begin(self, slots: Slots) -> None:
        assert self._device is not None
        assert self._agreed is not None
        device, agreed = self._device, self._agreed
        if agreed.layout.jpeg:
            cv2 = opencv("a v4l2 source of format MJPG")
            self._tell("memory", "mmap, decoded by OpenCV and copied: not zero-copy")
            self._use(Decoded(device, agreed, slots, cv2))
            return
        why = "memory = 'mmap'"
        if self.options.memory != "mmap":
            try:
                self._use(UserPointers(device, agreed, slots))
                self._tell("memory", "userptr: the driver writes into the slots")
                return
            except Refused as e:
                if self.options.memory == "userptr":
                    raise self.error(
                        f"cannot have {device.path} write into its slots: {e}",
                        "set memory = 'auto' or 'mmap'",
                    ) from e
                why = f"no USERPTR: {e}"
            self._let_go()
        self._tell("memory", f"mmap, one copy a picture ({why})")
        self._use(Copies(device, agreed, slots))

    def _use(self, queue: Queue) -> None:
        self._queue = queue
        assert self._agreed is not None
        self.copied = 0 if isinstance(queue, UserPointers) else self._agreed.spec.nbytes
        queue.start()

    def _advance(self, timeout_s: float) -> float | None:
        """Give the driver what is free and take the next picture from it."""
        queue = self._queue
        assert queue is not None
        queue.replenish()
        begin = time.monotonic()
        came = queue.dequeue(begin + timeout_s)
        self._silent_s += time.monotonic() - begin
        if not came:
            if not queue.held:  # all slots are with readers: the camera cannot be blamed
                self._silent_s = 0.0
            self._check_silence()
            return None
        self._take(queue)
        return 0.0

    def _take(self, queue: Queue) -> None:
        """The filled buffer's number and time."""
        now, b = time.monotonic_ns(), queue.filled
        stamp = None
        if b.flags & v.BUF_FLAG_TIMESTAMP_MASK == v.BUF_FLAG_TIMESTAMP_MONOTONIC:
            stamp = b.timestamp.tv_sec * _SECOND + b.timestamp.tv_usec * _MICRO
        self._taken_ns, self._timestamps = self._clock.captured(stamp, now)
        lost = self._sequence.step(b.sequence) - 1
        self._seq += lost
        self.lost += lost
        said = {
            "clock": self._clock.fact,
            "sequence": self._sequence.fact,
            "refused": _REFUSED if queue.refused else "",
        }
        for key, fact in said.items():
            if fact and fact != self.facts.get(key):
                self._tell(key, fact)

    def _acquire(self, slots: Slots, timeout_s: float) -> Lease | None:
        assert self._queue is not None
        lease = self._queue.acquire()
        if lease is None:
            self._silent_s = 0.0
        return lease

    def _fill(self, slot: int, planes: tuple[U8, ...]) -> dict[str, Any] | None:
        queue = self._queue
        assert queue is not None
        tags: dict[str, Any] = {"sequence": queue.filled.sequence}
        if not queue.fill(slot):
            self._spoilt += 1
            self._check_silence()  # pictures that nobody can use are no better than none
            return None
        if queue.torn:
            tags["torn"] = True
        self._silent_s, self._patience_s = 0.0, self._silence_s
        return tags

    @property
    def _silence_s(self) -> float:
        rate = self._agreed.rate if self._agreed is not None else None
        return max(SILENT_S, SILENT_PICTURES / (rate or UNKNOWN_RATE))

    def _check_silence(self) -> None:
        if self._silent_s > self._patience_s:
            spoilt = f", {self._spoilt} came damaged" if self._spoilt else ""
            raise self.error(
                f"got no picture from {self.options.device} for {self._patience_s:g} s{spoilt}",
                "check the cable; a camera that waits for a trigger or for light needs other controls",
            )

    def _tell(self, key: str, fact: str) -> None:
        """Readers in other threads see the old or the new table, never one that changes."""
        self.facts = {**self.facts, key: fact}

    def _let_go(self) -> None:
        """Stop the queue; its slots are given back, as nothing of it streams."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.stop()
            queue.give_back()

    def _close(self) -> None:
        queue, self._queue = self._queue, None
        device, self._device = self._device, None
        self._agreed = None
        try:
            if queue is not None:
                queue.stop()
        finally:
            if device is not None:
                device.close()
            if queue is not None:
                queue.give_back()
