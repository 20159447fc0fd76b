"""Queues whose buffers are the slots: the driver writes where readers read.

A slot that the driver has is an acquired lease, and goes back into the queue once its last reader has released it.
Leases of the driver's are given back only after the device is closed, when nothing can write there any more.
"""

from __future__ import annotations

import mmap
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NoReturn

from edged.frames import U8
from edged.memory import PAGE, Lease, Slots, round_up
from edged.sources import _videodev2 as v
from edged.sources._v4l2_device import CallError, Device
from edged.sources._v4l2_negotiate import Agreed
from edged.sources._v4l2_queue import CANNOT, Queue, Refused


class Direct(Queue):
    """Buffer n is slot n for ever, so that the driver pins each page once. `memory`, then `adopt`, then `start`."""

    def __init__(self, device: Device, agreed: Agreed, slots: Slots) -> None:
        super().__init__(device, agreed, slots)
        self._leases: dict[int, Lease] = {}  # of slots that the driver has, or that it must not have
        self.maps: list[mmap.mmap] = []  # of the driver's memory: whoever has slots on it unmaps it

    @abstractmethod
    def memory(self, count: int) -> Sequence[U8]:
        """What slots are to be made of, `count` or as many as the driver gives. Raises Refused."""

    def adopt(self, slots: Slots) -> None:
        """The slots that were made of `memory`."""
        self._slots = slots

    def no_slots(self) -> Slots:
        """Let go of every view of its memory."""
        self._slots = Slots(self._slots.owner, ())
        return self._slots

    def start(self) -> None:
        self._ready()
        try:
            self.replenish()
        except CallError as e:
            _refuse(e)
        if self._waiting:
            raise Refused("VIDIOC_QBUF: EINVAL")
        self._stream()

    @abstractmethod
    def _ready(self) -> None:
        """Have the driver know every buffer, and describe each."""

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
        """Readers may have frames still: see `maps`."""

    def give_back(self) -> None:
        leases, self._leases = self._leases, {}
        for lease in leases.values():
            lease.release()

    def _one_piece(self) -> None:
        """Raises Refused where the planes of a picture do not lie as a frame's do."""
        if len(set(self._agreed.pitches)) > 1:
            raise Refused(f"its planes have pitches of {', '.join(map(str, self._agreed.pitches))}")


def _refuse(e: CallError) -> NoReturn:
    """A refusal where the driver cannot, else the camera's own fault."""
    if e.errno in CANNOT:
        raise Refused(e.reason) from e
    raise e


class UserPointers(Direct):
    """USERPTR: the driver writes into memory that is given to it."""

    MEMORY = v.MEMORY_USERPTR

    def memory(self, count: int) -> Sequence[U8]:
        """The slots that it was made with."""
        try:
            self._request(0)  # asks whether there is such a thing; a driver that cannot says EINVAL
        except CallError as e:
            _refuse(e)
        return self._slots.buffers

    def _ready(self) -> None:
        wanted = min(len(self._slots), v.MAX_FRAME)
        self._described = [self._at(i) for i in range(wanted)]
        self._count = self._request(wanted)
        if self._count > wanted:
            raise Refused(f"the driver wants {self._count} buffers, there are {wanted} slots")

    def _at(self, index: int) -> tuple[v.Buffer, Any]:
        """The buffer that stands for a slot. Raises Refused where the pictures do not fit as they are."""
        slot = self._slots.buffers[index]
        address, agreed = slot.ctypes.data, self._agreed
        if address % PAGE:
            raise Refused("the slots are not page-aligned")
        self._one_piece()
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


class DriverBuffers(Direct):
    """MMAP: the driver's own buffers are the slots."""

    MEMORY = v.MEMORY_MMAP

    def memory(self, count: int) -> Sequence[U8]:
        self._one_piece()
        if self._agreed.layout.buffers > 1:
            raise Refused("a picture is in two of the driver's buffers, a frame is in one piece")
        try:
            self._count = self._request(min(count, v.MAX_FRAME))
        except CallError as e:
            _refuse(e)
        self._described = [self._buffer(i) for i in range(self._count)]
        found = [self.map(i, self.maps)[0] for i in range(self._count)]
        short = min(m.nbytes for m in found)
        if short < self._agreed.spec.nbytes:
            raise Refused(f"its buffers have {short} bytes, a frame {self._agreed.spec.nbytes}")
        return found

    def _ready(self) -> None:
        """The driver made them."""

    def exported(self, index: int) -> int:
        """A dmabuf of the buffer: a file descriptor, the caller's. Raises Refused."""
        b = v.ExportBuffer(type=self._type, index=index, flags=v.EXPORT_FLAGS)
        try:
            self._device.ioctl(v.Ioctl.EXPBUF, b)
        except CallError as e:
            _refuse(e)
        return b.fd
