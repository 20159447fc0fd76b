"""Buffers between edged's slots and a driver: written by the driver itself, copied once, or decoded.

A `Queue` asks for buffers, queues them, and turns each filled one into a leased slot. All run in the source's
thread. A slot that the driver owns is an acquired lease; it is given back only after the device is closed, when
nothing can write there any more.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import mmap
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

import numpy as np

from edged.frames import U8, FrameSpec
from edged.memory import PAGE, Lease, Slots, round_up
from edged.sources import _videodev2 as v
from edged.sources._pictures import complete
from edged.sources._v4l2_device import CallError, Device
from edged.sources._v4l2_negotiate import Agreed

DRIVER_BUFFERS = 4  # of its own memory: two being filled or waiting, two in hand
REFUSALS = 10  # times in a row that a driver may refuse a buffer before that is a fault
RETRY_S = 0.01  # between attempts to queue when the driver holds no buffer at all
_CANNOT = (errno.EINVAL, errno.EFAULT, errno.ENOMEM, errno.ENOTTY, errno.EOPNOTSUPP, errno.E2BIG)

log = logging.getLogger(__name__)


class Refused(Exception):
    """The driver cannot write into edged's slots; the text says why."""


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
        """Get buffers, queue them, stream. Raises CallError, UserPointers also Refused; call `stop` after either."""

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
        """STREAMOFF, then free the buffers. A device that is gone refuses both: closing it does the same."""
        if self._streaming:
            self._quietly(v.Ioctl.STREAMOFF, ctypes.c_int32(self._type))
        self._streaming = False
        self._unmap()
        if self._count:
            self._quietly(v.Ioctl.REQBUFS, v.RequestBuffers(0, self._type, self.MEMORY))
        self._count = self.held = 0

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


class UserPointers(Queue):
    """USERPTR: the driver writes into the slots. Buffer n is slot n for ever, so that it pins each page once."""

    MEMORY = v.MEMORY_USERPTR

    def __init__(self, device: Device, agreed: Agreed, slots: Slots) -> None:
        super().__init__(device, agreed, slots)
        self._leases: dict[int, Lease] = {}  # of slots that the driver has, or that it must not have

    def start(self) -> None:
        try:
            self._request(0)  # asks whether there is such a thing; a driver that cannot says EINVAL
        except CallError as e:
            if e.errno in _CANNOT:
                raise Refused(e.reason) from e
            raise
        wanted = min(len(self._slots), v.MAX_FRAME)
        self._described = [self._at(i) for i in range(wanted)]
        self._count = self._request(wanted)
        if self._count > wanted:
            raise Refused(f"the driver wants {self._count} buffers, there are {wanted} slots")
        try:
            self.replenish()
        except CallError as e:
            if e.errno in _CANNOT:
                raise Refused(e.reason) from e
            raise
        if self._waiting:
            raise Refused("VIDIOC_QBUF: EINVAL")
        self._stream()

    def _at(self, index: int) -> tuple[v.Buffer, Any]:
        """The buffer that stands for a slot. Raises Refused where the pictures do not fit as they are."""
        slot = self._slots.buffers[index]
        address, agreed = slot.ctypes.data, self._agreed
        if address % PAGE:
            raise Refused("the slots are not page-aligned")
        if len(set(agreed.pitches)) > 1:
            raise Refused(f"its planes have pitches of {', '.join(map(str, agreed.pitches))}")
        # a slot ends where its pages end; with two memory planes the second begins where the frame's does
        starts = [p.offset for p in agreed.spec.planes][: agreed.layout.buffers]
        ends = [*starts[1:], round_up(slot.nbytes)]
        for wants, start, end in zip(agreed.image_bytes, starts, ends, strict=True):
            if wants > end - start:
                raise Refused(f"the driver wants {wants} bytes for a plane, a slot has {end - start}")
        b, planes = self._buffer(index)
        if self._planes:
            for plane, start, end in zip(planes, starts, ends, strict=True):
                plane.m.userptr, plane.length = address + start, end - start
        else:
            b.m.userptr, b.length = address, ends[0]
        return b, planes

    def replenish(self) -> None:
        super().replenish()
        while (lease := self._slots.acquire()) is not None:
            self._leases[lease.index] = lease
            if lease.index < self._count:  # a driver may take fewer buffers than there are slots
                self._offer(lease.index)

    def _wait_for_buffer(self, left_s: float) -> None:
        if self._waiting:
            time.sleep(left_s)
        elif (lease := self._slots.acquire(left_s)) is not None:
            self._leases[lease.index] = lease
            self._offer(lease.index)

    def acquire(self) -> Lease:
        """The slot that the driver wrote into; from now on the caller's."""
        return self._leases.pop(self.filled.index)

    def fill(self, slot: int) -> bool:
        return True

    def _unmap(self) -> None:
        """Nothing of the driver's is mapped."""

    def give_back(self) -> None:
        leases, self._leases = self._leases, {}
        for lease in leases.values():
            lease.release()


class Copies(Queue):
    """MMAP: the driver writes into its own buffers; each picture is copied once, into a slot."""

    MEMORY = v.MEMORY_MMAP

    def __init__(self, device: Device, agreed: Agreed, slots: Slots) -> None:
        super().__init__(device, agreed, slots)
        self._maps: list[mmap.mmap] = []
        self._memory: list[list[U8]] = []  # of each buffer, its memory planes
        self._pictures: list[tuple[U8, ...]] = []  # of each buffer, views as a frame's planes
        self._targets = [agreed.spec.views(b) for b in slots.buffers]

    def start(self) -> None:
        self._count = self._request(DRIVER_BUFFERS)
        for index in range(self._count):
            self._memory.append(self._map(index))
            self._described.append(self._buffer(index))
        if not self._agreed.layout.jpeg:
            self._pictures = [self._views(planes) for planes in self._memory]
        for index in range(self._count):
            self._offer(index)
        self._stream()

    def _map(self, index: int) -> list[U8]:
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
            self._maps.append(self._device.mmap(length, offset))
            out.append(np.frombuffer(self._maps[-1], np.uint8))
        return out

    def _views(self, memory: list[U8]) -> tuple[U8, ...]:
        """A buffer's memory as the planes of a frame."""
        spec = self._agreed.spec
        if len(memory) == 1:
            return spec.views(memory[0])
        views = []
        for plane, raw, pitch in zip(spec.planes, memory, self._agreed.pitches, strict=True):
            channels = plane.shape[2] if len(plane.shape) == 3 else 1
            strides = (pitch or plane.row_bytes, channels, 1)[: len(plane.shape)]
            views.append(np.lib.stride_tricks.as_strided(raw, plane.shape, strides))
        return tuple(views)

    def acquire(self) -> Lease | None:
        lease = self._slots.acquire()
        if lease is None:
            self._offer(self.filled.index)
        return lease

    def fill(self, slot: int) -> bool:
        self._copy(slot, self.filled.index)
        self._offer(self.filled.index)
        return True

    def _copy(self, slot: int, index: int) -> None:
        """Apart, so that the traceback of a failing `_offer` keeps no view of the driver's memory."""
        for target, picture in zip(self._targets[slot], self._pictures[index], strict=True):
            np.copyto(target, picture)

    def _unmap(self) -> None:
        self._pictures, self._memory = [], []  # a map with views cannot be closed
        maps, self._maps = self._maps, []
        for m in maps:
            with suppress(BufferError):  # the traceback of a fault has a view still: unmapped when that goes
                m.close()

    def give_back(self) -> None:
        """The driver has no slots."""


class Decoded(Copies):
    """MJPG: OpenCV decodes each picture into memory of its own, then it is copied into a slot."""

    def __init__(self, device: Device, agreed: Agreed, slots: Slots, cv2: Any) -> None:
        super().__init__(device, agreed, slots)
        self._cv2 = cv2

    def fill(self, slot: int) -> bool:
        data = self._memory[self.filled.index][0][: self.payload[0]].tobytes()
        self._offer(self.filled.index)  # before decoding, which may take longer than the driver can wait
        picture = self._decode(data)
        if picture is None:
            return False
        np.copyto(self._targets[slot][0], picture)
        return True

    def _decode(self, data: bytes) -> U8 | None:
        """None: cut off, nothing that could be used, or of another size (its header is damaged)."""
        cv2 = self._cv2
        # OpenCV 4 fills what is missing with grey, 5 refuses; libjpeg writes a line on stderr about each
        if not data or not complete(data):
            return None
        try:
            flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
            picture: U8 | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error as e:
            log.debug("%s: %s", self._device.path, e.err)
            return None
        spec: FrameSpec = self._agreed.spec
        return picture if picture is not None and picture.shape == (spec.height, spec.width, 3) else None
