"""The rungs from a camera's driver to a reader's memory, best first, and what it takes to stand on one.

A rung says where its buffers are, how they become visible to the device, and whether that has to be proven. Whatever
it did is undone by `Standing.leave`, once no reader has a frame.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from edged.errors import DeviceError, FatalDeviceError
from edged.frames import U8, Memory
from edged.interfaces import Device, Shared
from edged.memory import Slots, format_bytes
from edged.sources._opencv import opencv
from edged.sources._v4l2_canary import Canary
from edged.sources._v4l2_copies import Copies, Decoded
from edged.sources._v4l2_device import Device as Camera
from edged.sources._v4l2_direct import Direct, DriverBuffers, UserPointers
from edged.sources._v4l2_negotiate import Agreed
from edged.sources._v4l2_queue import Queue, Refused

Make = Callable[[Camera, Agreed, Slots], Queue]
Show = Callable[[Device, Direct, Sequence[U8]], list[Shared]]


def _register(device: Device, queue: Direct, buffers: Sequence[U8]) -> list[Shared]:
    foreign = isinstance(queue, DriverBuffers)
    return _each(lambda i: device.share(buffers[i], foreign=foreign), len(buffers))


def _import(device: Device, queue: Direct, buffers: Sequence[U8]) -> list[Shared]:
    assert isinstance(queue, DriverBuffers)
    exporting = queue

    def one(index: int) -> Shared:
        fd = exporting.exported(index)
        try:
            return device.share_dmabuf(fd, buffers[index].nbytes)
        finally:
            os.close(fd)

    return _each(one, len(buffers))


def _each(share: Callable[[int], Shared], count: int) -> list[Shared]:
    """All or none."""
    made: list[Shared] = []
    try:
        for index in range(count):
            made.append(share(index))
    except BaseException:
        for s in made:
            s.close()
        raise
    return made


def _decoded(camera: Camera, agreed: Agreed, slots: Slots) -> Queue:
    return Decoded(camera, agreed, slots, opencv("a v4l2 source of format MJPG"))


@dataclass(frozen=True, slots=True)
class Rung:
    """One way. `name` and `words`: what `memory` may say for it; `said`: what it means, for people.

    slots: the memory that it wants slots in; None: the driver's buffers are the slots.
    show: how the device finds the buffers; None: it knows slots of its own already.
    proven: by a canary, before it is believed.
    """

    name: str
    words: tuple[str, ...]
    said: str
    make: Make
    slots: Memory | None
    show: Show | None = None
    proven: bool = False


_COPIED = ("copy", "mmap")
_COPY = "MMAP, one copy of each picture into a slot"
_DECODE = "mmap, decoded by OpenCV and copied: not zero-copy"
# by the memory that frames are in on the device (Device.frame_memory)
LADDERS: dict[Memory, tuple[Rung, ...]] = {
    Memory.HOST: (
        Rung("userptr", ("userptr",), "the driver writes into the slots", UserPointers, Memory.HOST),
        Rung("copy", _COPIED, _COPY, Copies, Memory.HOST),
    ),
    Memory.MAPPED: (
        Rung(
            "mmap-register",
            (),
            "the device reads the driver's own buffers, registered",
            DriverBuffers,
            None,
            _register,
            proven=True,
        ),
        Rung(
            "userptr-register",
            ("userptr",),
            "the driver writes into the slots, which are pages registered with the device",
            UserPointers,
            Memory.HOST,
            _register,
            proven=True,
        ),
        Rung(
            "userptr-hostalloc",
            ("userptr",),
            "the driver writes into the slots, which the device allocated",
            UserPointers,
            Memory.MAPPED,
            proven=True,
        ),
        Rung(
            "dmabuf",
            (),
            "the device reads the driver's own buffers, exported and imported",
            DriverBuffers,
            None,
            _import,
            proven=True,
        ),
        Rung("copy", _COPIED, _COPY, Copies, Memory.MAPPED),
    ),
}


def ladder(memory: Memory, *, jpeg: bool) -> tuple[Rung, ...]:
    """All rungs for frames in this kind of memory."""
    if jpeg:
        return (Rung("decode", _COPIED, _DECODE, _decoded, memory),)
    return LADDERS[memory]


class Standing:
    """A rung in use: its queue, the slots that frames are leases of, and what is to be undone.

    `readers`: all slots that were ever made on these buffers. `leave` is called until it says True.
    """

    def __init__(self, rung: Rung, queue: Queue, slots: Slots) -> None:
        self.rung, self.queue, self.slots = rung, queue, slots
        self.canary: Canary | None = None
        self.readers: list[Slots] = []
        self.shared: list[Shared] = []
        self.buffers: Sequence[U8] = ()

    @property
    def copies(self) -> bool:
        return not isinstance(self.queue, Direct)

    @property
    def fact(self) -> str:
        """Name, meaning, and whose memory it is."""
        text = f"{self.rung.name}: {self.rung.said}"
        if self.rung.slots is None:
            size = format_bytes(sum(b.nbytes for b in self.buffers))
            text += f" ({len(self.buffers)} buffers, {size}: the driver's memory, in no region of edged's)"
        return text

    def leave(self) -> bool:
        """Undo it, unless a reader has a frame still: then False. After `give_back`. Idempotent."""
        if any(s.in_use for s in self.readers):
            return False
        shared, self.shared = self.shared, []
        for s in shared:
            s.close()
        self.buffers, self.readers, self.canary = (), [], None
        if isinstance(self.queue, Direct):
            self.slots = self.queue.no_slots()
            maps, self.queue.maps = self.queue.maps, []
            for m in maps:
                with suppress(BufferError):  # views in a traceback or a frame: unmapped when those go
                    m.close()
        return True

    def takes_over(self, older: Standing) -> bool:
        """Pages that a reader kept from being given back are still registered: use them as they are."""
        same = bool(older.shared) and [_at(b) for b in older.buffers] == [_at(b) for b in self.buffers]
        if same:
            self.shared, older.shared = older.shared, []
            self.readers, older.readers = older.readers, []
        return same


def _at(buffer: U8) -> int:
    return int(buffer.ctypes.data)


@dataclass(frozen=True, slots=True)
class Place:
    """What a rung is stood on with. `device`: the reader's; None: the host, which has the slots' memory."""

    camera: Camera
    agreed: Agreed
    device: Device | None
    frames: int  # that exist at once at most
    left: list[Standing]  # those that readers have frames of still


def stand(rung: Rung, place: Place, given: Slots, pictures: int) -> Standing:
    """Stream over this rung; `given` as it wants them. Raises Refused or SourceError, and then nothing is left."""
    made = Standing(rung, rung.make(place.camera, place.agreed, given), given)
    try:
        if isinstance(made.queue, Direct):
            _prepare(made, made.queue, place, given, pictures)
        made.queue.start()
    except BaseException:
        fall(made)
        raise
    return made


def _prepare(made: Standing, queue: Direct, place: Place, given: Slots, pictures: int) -> None:
    rung, device = made.rung, place.device
    made.buffers = queue.memory(place.frames)
    if rung.show is not None:
        assert device is not None
        if not any(made.takes_over(s) for s in place.left):
            try:
                made.shared = rung.show(device, queue, made.buffers)
            except FatalDeviceError:
                raise
            except DeviceError as e:
                raise Refused(e.message) from e
        addresses = [s.address for s in made.shared]
        made.slots = Slots(given.owner, made.buffers, device.frame_memory, addresses)
        made.readers = [*made.readers, made.slots]
    queue.adopt(made.slots)
    if rung.proven:
        assert device is not None
        made.canary = Canary(device, place.agreed.spec, made.slots, pictures)
        made.canary.fill()


def fall(made: Standing) -> bool:
    """Step off while the camera stays open; False: a reader has frames still."""
    made.queue.stop()
    made.queue.give_back()
    gone = made.leave()
    made.queue.free()
    return gone
