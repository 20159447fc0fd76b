"""What preprocess.cu is told: a row's Descriptor, the tensor's Target, and the table that graphs read.

Mirrors of the structs of the same names in kernels/preprocess.cu, which checks their sizes when it compiles.
"""

from __future__ import annotations

import ctypes

import numpy as np

from edged.frames import Memory
from edged.memory import Region, Want
from edged.tensors import TensorSpec


class Descriptor(ctypes.Structure):
    """One row of a batch: where its picture is, how to read it and where it goes. 112 bytes, no padding.

    Addresses are the device's. `format` 0 leaves the row of the tensor as it is.
    """

    _fields_ = (
        ("plane0", ctypes.c_uint64),
        ("plane1", ctypes.c_uint64),
        ("pitch0", ctypes.c_int32),
        ("pitch1", ctypes.c_int32),
        ("format", ctypes.c_int32),
        ("one_tap", ctypes.c_int32),
        *((name, ctypes.c_int32) for name in ("roi_x", "roi_y", "roi_w", "roi_h")),
        *((name, ctypes.c_int32) for name in ("place_x", "place_y", "place_w", "place_h")),
        *((name, ctypes.c_float) for name in ("step_x", "step_y", "rest_x", "rest_y")),
        *((name, ctypes.c_float) for name in ("luma_zero", "luma_gain")),
        *((name, ctypes.c_float) for name in ("red_v", "green_u", "green_v", "blue_u", "tie")),
        ("unused", ctypes.c_int32),
    )


class Target(ctypes.Structure):
    """The tensor: size, padding (a grey level) and value = level * scale + shift a channel. 48 bytes."""

    _fields_ = (
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("pad", ctypes.c_float),
        ("reversed", ctypes.c_int32),
        ("vector", ctypes.c_int32),
        ("scale", ctypes.c_float * 3),
        ("shift", ctypes.c_float * 3),
        ("unused", ctypes.c_int32),
    )


DESCRIPTOR_BYTES = ctypes.sizeof(Descriptor)


class DescriptorTable:
    """Descriptors of `rows` rows for each of `tickets` batches in flight, in mapped memory of a runner's region.

    The GPU reads a ticket's rows while its launch runs: write them before the launch or after its event, no sooner.
    Used by the runner's thread.
    """

    def __init__(self, name: str, rows: int, tickets: int = 2) -> None:
        self._name, self.rows, self.tickets = name, rows, tickets
        self._device = 0
        self._rows: list[Descriptor] = []
        self._held: list[Descriptor | None] = []
        self._memory: object = None

    def wants(self) -> list[Want]:
        return [Want(self._name, self.rows * self.tickets * DESCRIPTOR_BYTES, Memory.MAPPED)]

    def bind(self, region: Region) -> None:
        """Take the memory; no row is described yet."""
        shape = (self.tickets, self.rows, DESCRIPTOR_BYTES)
        view = region.tensor(TensorSpec(self._name, shape, np.dtype(np.uint8)))
        array = view.host()
        array[:] = 0
        first = array.ctypes.data
        self._memory, self._device = view, view.address
        count = self.tickets * self.rows
        self._rows = [Descriptor.from_address(first + i * DESCRIPTOR_BYTES) for i in range(count)]
        self._held = [None] * count

    def address(self, ticket: int = 0) -> int:
        """The device address of a ticket's first row."""
        if not self._device:
            raise RuntimeError(f"{self._name}: used before bind")
        return self._device + self._place(0, ticket) * DESCRIPTOR_BYTES

    def write(
        self, descriptor: Descriptor, row: int, ticket: int, plane0: int, plane1: int, format: int
    ) -> None:
        """`descriptor` with these three, which are all that differs from frame to frame of a source.

        On the path of every frame: the rest is copied only where the row held another descriptor.
        """
        if not self._rows:
            raise RuntimeError(f"{self._name}: a frame came before bind")
        place = self._place(row, ticket)
        to = self._rows[place]
        if self._held[place] is not descriptor:
            ctypes.pointer(to)[0] = descriptor
            self._held[place] = descriptor
        to.plane0, to.plane1, to.format = plane0, plane1, format

    def clear(self, row: int, ticket: int = 0) -> None:
        """Leave this row of the tensor as it is."""
        self._rows[self._place(row, ticket)].format = 0

    def _place(self, row: int, ticket: int) -> int:
        if not (0 <= row < self.rows and 0 <= ticket < self.tickets):
            raise IndexError(
                f"{self._name}: row {row} of ticket {ticket}; it has {self.rows} rows, {self.tickets} tickets"
            )
        return ticket * self.rows + row
