"""A V4L2 camera, straight from the kernel: no copy where driver and device can share memory.

    open: resolve the name → negotiate → choose a rung (_v4l2_ladder.py)     read: requeue → poll → dequeue

One thread uses it, its SourceUnit's; `facts` may be read from any. A fault (SourceError) leaves the source to be
closed and opened again. Tags of a frame: "sequence" (the driver's own number) and, for one that came damaged,
"torn"; a JPEG that came damaged is lost.
"""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

from edged.backoff import Backoff
from edged.config.schema import Size
from edged.frames import U8, FrameSpec, Memory, TimestampSource
from edged.interfaces import Device as Target
from edged.memory import Lease, Slots
from edged.sources import _videodev2 as v
from edged.sources._v4l2_clock import DriverClock, Sequence
from edged.sources._v4l2_device import SYSTEM, Device, Kernel
from edged.sources._v4l2_ladder import Ladder
from edged.sources._v4l2_negotiate import Agreed, negotiate
from edged.sources._v4l2_options import V4l2Options
from edged.sources._v4l2_queue import Queue, Refused
from edged.sources._v4l2_rungs import Standing
from edged.sources.base import BACKOFF, SlotSource

FIRST_S = 5.0  # a camera may take so long for its first picture
SILENT_S, SILENT_PICTURES = 2.0, 5  # then it has failed when nothing came for both of these
UNKNOWN_RATE = 1.0  # of a driver that does not say
DRIVER_SLOTS = 3  # slots that a driver holds besides the one that it fills, so that it never runs out
_MICRO, _SECOND = 1000, 1_000_000_000
_REFUSED = "the driver refused a buffer (VIDIOC_QBUF: EINVAL); it was offered again"


class V4l2Source(SlotSource):
    """See the module. `facts`: what was negotiated and chosen, and why, in words; for the snapshot.

    `extra_slots`: slots it wants besides those that its readers use. Frames of some rungs are in memory that is let
    go of when their last reader has: `close` once more after that.
    """

    Options: ClassVar[type[V4l2Options]] = V4l2Options

    def __init__(self, name: str, options: V4l2Options, kernel: Kernel = SYSTEM) -> None:
        self.options = options
        self._kernel = kernel
        self.facts: dict[str, str] = {}
        self._device: Device | None = None
        self._agreed: Agreed | None = None
        self._standing: Standing | None = None
        self._stopping = threading.Event()
        self._ladder = Ladder(f"source '{name}'", options.memory, self._tell)
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
    def exclusive(self) -> bool:
        return True

    @property
    def paced(self) -> bool:
        return False

    @property
    def timestamps(self) -> TimestampSource:
        """Of the last frame."""
        return self._timestamps

    @property
    def extra_slots(self) -> int:
        copied = self.options.memory in ("copy", "mmap") or self.options.format == "MJPG"
        return 0 if copied else DRIVER_SLOTS

    def attach(self, device: Target, frames: int) -> None:
        """Before `open`: who reads its frames, and how many of them exist at once. Default: the CPU; its slots."""
        self._ladder.device, self._ladder.frames = device, frames

    def interrupt(self) -> None:
        """Any thread: an `open` that waits for a picture gives up, as the process is to end."""
        self._stopping.set()

    @property
    def slot_memory(self) -> Memory | None:
        """Once open: where its slots are to be; None: it wants none, frames are in the driver's memory."""
        assert self._ladder.rung is not None
        return self._ladder.rung.slots

    @property
    def frame_slots(self) -> Slots | None:
        """Once started: those that its frames are leases of; perhaps its own."""
        return None if self._standing is None else self._standing.slots

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
        self._ladder.choose(self._device, self._agreed, FIRST_S, self._stopping.is_set)
        return self._agreed.spec

    def start(self, slots: Slots) -> None:
        """As every source. Streams when it returns; a failure closes the device.

        `slots` are as `slot_memory` says; frames are leases of `frame_slots`.
        """
        self._may_start()
        assert self._device is not None
        assert self._agreed is not None
        try:
            if self.slot_memory is not None:
                self._check_slots(slots)
            self._standing = self._ladder.start(self._device, self._agreed, slots)
            self.copied = self._agreed.spec.nbytes if self._standing.copies else 0
            super().start(self._standing.slots)
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        """The ladder did."""

    def _advance(self, timeout_s: float) -> float | None:
        """Give the driver what is free and take the next picture from it."""
        queue = self._queue
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
        lease = self._queue.acquire()
        if lease is None:
            self._silent_s = 0.0
        return lease

    def _fill(self, slot: int, planes: tuple[U8, ...]) -> dict[str, Any] | None:
        queue = self._queue
        tags: dict[str, Any] = {"sequence": queue.filled.sequence}
        if not queue.fill(slot):
            self._spoilt += 1
            self._check_silence()  # pictures that nobody can use are no better than none
            return None
        if queue.torn:
            tags["torn"] = True
        else:
            self._prove(slot)
        self._silent_s, self._patience_s = 0.0, self._silence_s
        return tags

    def _prove(self, slot: int) -> None:
        """The first whole pictures: see _v4l2_canary.py."""
        standing, device = self._standing, self._device
        assert standing is not None
        assert device is not None
        canary = standing.canary
        if canary is None:
            return
        try:
            canary.check(slot)
        except Refused as e:
            raise self._ladder.distrust(device, standing.rung, str(e)) from e
        if not canary.left:
            standing.canary = None

    @property
    def _queue(self) -> Queue:
        assert self._standing is not None
        return self._standing.queue

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

    def _close(self) -> None:
        standing, self._standing = self._standing, None
        device, self._device = self._device, None
        self._agreed = None
        try:
            if standing is not None:
                standing.queue.stop()
                standing.queue.free()
        finally:
            if device is not None:
                device.close()
            if standing is not None:
                standing.queue.give_back()
                self._ladder.leave(standing)
            self._ladder.sweep()
