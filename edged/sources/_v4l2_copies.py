"""Pictures that come into the driver's own buffers and from there into slots: by one copy, or decoded."""

from __future__ import annotations

import logging
import mmap
from contextlib import suppress
from typing import Any

import numpy as np

from edged.frames import U8, FrameSpec
from edged.memory import Lease, Slots
from edged.sources import _videodev2 as v
from edged.sources._pictures import complete
from edged.sources._v4l2_device import Device
from edged.sources._v4l2_negotiate import Agreed
from edged.sources._v4l2_queue import Queue

DRIVER_BUFFERS = 4  # of its own memory: two being filled or waiting, two in hand

log = logging.getLogger(__name__)


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
            self._memory.append(self.map(index, self._maps))
            self._described.append(self._buffer(index))
        if not self._agreed.layout.jpeg:
            self._pictures = [self._views(planes) for planes in self._memory]
        for index in range(self._count):
            self._offer(index)
        self._stream()

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
