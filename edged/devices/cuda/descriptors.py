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
_EMPTY = bytes(DESCRIPTOR_BYTES)


class DescriptorTable:
    """Descriptors of `rows` rows for each of `tickets` batches in flight, in mapped memory of a runner's region.

    The GPU reads a ticket's rows while its launch runs: write them before the launch or after its event, no sooner.
    Used by the runner's thread.
    """

    def __init__(self, name: str, rows: int, tickets: int = 2) -> None:
        self._name, self.rows, self.tickets = name, rows, tickets
        self._host = self._device = 0
        self._memory: object = None

    def wants(self) -> list[Want]:
        return [Want(self._name, self.rows * self.tickets * DESCRIPTOR_BYTES, Memory.MAPPED)]

    def bind(self, region: Region) -> None:
        """Take the memory; no row is described yet."""
        shape = (self.tickets, self.rows, DESCRIPTOR_BYTES)
        view = region.tensor(TensorSpec(self._name, shape, np.dtype(np.uint8)))
        array = view.host()
        array[:] = 0
        self._memory, self._host, self._device = view, array.ctypes.data, view.address

    def address(self, ticket: int = 0) -> int:
        """The device address of a ticket's first row."""
        if not self._device:
            raise RuntimeError(f"{self._name}: used before bind")
        return self._device + self._offset(0, ticket)

    def write(self, descriptor: Descriptor, row: int, ticket: int = 0) -> None:
        """Half a microsecond: this is on the path of every frame."""
        if not self._host:
            raise RuntimeError(f"{self._name}: a frame came before bind")
        ctypes.memmove(self._host + self._offset(row, ticket), ctypes.addressof(descriptor), DESCRIPTOR_BYTES)

    def clear(self, row: int, ticket: int = 0) -> None:
        """Leave this row of the tensor as it is."""
        ctypes.memmove(self._host + self._offset(row, ticket), _EMPTY, DESCRIPTOR_BYTES)

    def _offset(self, row: int, ticket: int) -> int:
        if not (0 <= row < self.rows and 0 <= ticket < self.tickets):
            raise IndexError(
                f"{self._name}: row {row} of ticket {ticket}; it has {self.rows} rows, {self.tickets} tickets"
            )
        return (ticket * self.rows + row) * DESCRIPTOR_BYTES
