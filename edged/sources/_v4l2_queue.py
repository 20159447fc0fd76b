"""The driver's queue: buffers are asked for, queued, filled and dequeued. What is in them is for others to say.

`_v4l2_direct.py` has queues whose buffers are the slots themselves, `_v4l2_copies.py` those that are copied from. All
run in the source's thread.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import mmap
import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from edged.frames import U8
from edged.memory import Lease, Slots
from edged.sources import _videodev2 as v
from edged.sources._v4l2_device import CallError, Device
from edged.sources._v4l2_negotiate import Agreed

REFUSALS = 10  # times in a row that a driver may refuse a buffer before that is a fault
RETRY_S = 0.01  # between attempts to queue when the driver holds no buffer at all
CANNOT = (errno.EINVAL, errno.EFAULT, errno.ENOMEM, errno.ENOTTY, errno.EOPNOTSUPP, errno.E2BIG)

log = logging.getLogger(__name__)


class Refused(Exception):
    """A way of having pictures in memory that cannot be; the text says why. No fault of the camera's."""


class Queue(ABC):
    """The driver's queue. `filled` is the buffer that `dequeue` got; valid until the next call."""

    MEMORY: int

    def __init__(self, device: Device, agreed: Agreed, slots: Slots) -> None:
        self._device, self._agreed, self._slots = device, agreed, slots
        self._type = agreed.identity.buffer_type
        self._planes = agreed.layout.buffers if agreed.identity.multiplanar else 0
        self.filled, self._filled_planes = self._buffer()
        self._needed = _needed(agreed)
        self._described: list[tuple[v.Buffer, Any]] = []  # each buffer as it is queued, with its planes
        self._count = 0
        self.held = 0  # buffers that the driver has
        self._waiting: list[int] = []  # those that it refused, to be offered again
        self.refused = 0
        self._refused_in_a_row = 0
        self._streaming = False

    def _buffer(self, index: int = 0) -> tuple[v.Buffer, Any]:
        """A v4l2_buffer and its planes, which it points to (none in the single-planar API)."""
        b = v.Buffer(index=index, type=self._type, memory=self.MEMORY)
        planes = (v.Plane * max(1, self._planes))()
        if self._planes:
            b.m.planes, b.length = ctypes.cast(planes, ctypes.POINTER(v.Plane)), self._planes
        return b, planes

    def _request(self, count: int) -> int:
        """REQBUFS; returns how many the driver made of it."""
        r = v.RequestBuffers(count=count, type=self._type, memory=self.MEMORY)
        self._device.ioctl(v.Ioctl.REQBUFS, r)
        return r.count

    @abstractmethod
    def start(self) -> None:
        """Queue the buffers, stream. Raises CallError or Refused; call `stop` and `free` after either."""

    def map(self, index: int, maps: list[mmap.mmap]) -> list[U8]:
        """The memory planes of the driver's own buffer, mapped; the mappings are added to `maps`."""
        b, planes = self._buffer(index)
        self._device.ioctl(v.Ioctl.QUERYBUF, b)
        where = [(p.length, p.m.mem_offset) for p in planes] if self._planes else [(b.length, b.m.offset)]
        for (length, _), needed in zip(where, self._needed, strict=True):
            if length < needed:
                raise self._device.fail(
                    f"gets buffers of {length} bytes from {self._device.path}, a picture takes {needed}",
                    "set another format or size; the driver has a defect",
                )
        out = []
        for length, offset in where:
            maps.append(self._device.mmap(length, offset))
            out.append(np.frombuffer(maps[-1], np.uint8))
        return out

    def _stream(self) -> None:
        self._device.ioctl(v.Ioctl.STREAMON, ctypes.c_int32(self._type))
        self._streaming = True

    def _offer(self, index: int) -> None:
        """Queue a buffer. One that is refused (EINVAL) is offered again later, REFUSALS in a row are a fault."""
        b = self._described[index][0]
        b.flags = 0  # the driver wrote its own there
        try:
            self._device.ioctl(v.Ioctl.QBUF, b)
        except CallError as e:
            self._refused_in_a_row += 1
            if e.errno != errno.EINVAL or self._refused_in_a_row >= REFUSALS:
                raise
            self.refused += 1
            self._waiting.append(index)
            return
        self.held += 1
        self._refused_in_a_row = 0

    def replenish(self) -> None:
        """Give the driver all that is free."""
        waiting, self._waiting = self._waiting, []
        for index in waiting:
            self._offer(index)

    def dequeue(self, deadline: float) -> bool:
        """The next filled buffer becomes `filled`; False: none until `deadline`. Raises CallError."""
        while not self.held:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._wait_for_buffer(min(left, RETRY_S) if self._waiting else left)
            self.replenish()
        b = self.filled
        b.flags = 0
        if self._planes:  # the driver may have changed it
            b.length = self._planes
        if not self._device.dequeue(b, deadline):
            return False
        self.held -= 1
        if any(p.data_offset for p in self._filled_planes):
            raise self._device.fail(
                f"gets pictures behind a header from {self._device.path}", "set another format"
            )
        return True

    def _wait_for_buffer(self, left_s: float) -> None:
        """Wait until a buffer may be free for the driver."""
        time.sleep(left_s)

    @property
    def payload(self) -> tuple[int, ...]:
        """Bytes that the driver wrote, of each memory plane."""
        if not self._planes:
            return (self.filled.bytesused,)
        return tuple(p.bytesused for p in self._filled_planes)

    @property
    def torn(self) -> bool:
        """The driver says that the picture is damaged, or wrote only a part of it."""
        if self.filled.flags & v.BUF_FLAG_ERROR:
            return True
        return any(have < need for have, need in zip(self.payload, self._needed, strict=True))

    @abstractmethod
    def acquire(self) -> Lease | None:
        """The slot for the filled buffer's picture; None: none is free, the picture is lost."""

    @abstractmethod
    def fill(self, slot: int) -> bool:
        """Bring the picture into the slot; False: it cannot be decoded."""

    def stop(self) -> None:
        """STREAMOFF: the driver fills nothing any more. A device that is gone refuses it: closing does the same."""
        if self._streaming:
            self._quietly(v.Ioctl.STREAMOFF, ctypes.c_int32(self._type))
        self._streaming = False
        self.held = 0
        self._unmap()

    def free(self) -> None:
        """The driver forgets the buffers. After `stop`; one that is mapped still goes with its mapping."""
        if self._count:
            self._quietly(v.Ioctl.REQBUFS, v.RequestBuffers(0, self._type, self.MEMORY))
        self._count = 0

    def _quietly(self, request: v.Ioctl, argument: v.RequestBuffers | ctypes.c_int32) -> None:
        try:
            self._device.ioctl(request, argument)
        except CallError as e:
            log.debug("%s, while closing", e.message)

    @abstractmethod
    def _unmap(self) -> None:
        """Let go of the driver's memory."""

    @abstractmethod
    def give_back(self) -> None:
        """Release the slots that the driver had; after the device is closed."""


def _needed(agreed: Agreed) -> tuple[int, ...]:
    """Bytes that each memory plane of a whole picture has; a driver may leave out the last row's padding."""
    if agreed.layout.jpeg:
        return (1,)
    planes = agreed.spec.planes
    if agreed.layout.buffers == 1:
        last = planes[-1]
        return (last.offset + last.pitch * (last.rows - 1) + last.row_bytes,)
    return tuple(
        (pitch or p.row_bytes) * (p.rows - 1) + p.row_bytes
        for p, pitch in zip(planes, agreed.pitches, strict=True)
    )
