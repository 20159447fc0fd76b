"""A GPU's primary context and the two kinds of memory that regions are made of.

By pycuda where it is installed. Without it (and on a stand-in driver, which pycuda cannot be linked to) by the driver
directly; both keep one contract and one set of tests.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from ctypes import byref, c_int, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edged.devices.cuda.driver import driver
from edged.frames import U8

SCHED_BLOCKING_SYNC = 4  # whoever waits for the GPU sleeps: its core is the decoder's or another GPU's
HOSTALLOC_PORTABLE, HOSTALLOC_DEVICEMAP = 1, 2


@dataclass(frozen=True, slots=True)
class Block:
    """One allocation. `array` is the host view of pinned memory; `free` is called once, in the context."""

    address: int
    array: U8 | None
    free: Callable[[], None]


class Primary(Protocol):
    """Pushed before any other call in a thread and popped at its end. Memory comes from the context pushed."""

    @property
    def how(self) -> str:
        """What makes it, for people."""
        ...

    def push(self) -> None: ...
    def pop(self) -> None: ...
    def device_memory(self, nbytes: int) -> Block:
        """Contents are undefined. CudaError 2 when there is not so much."""
        ...

    def mapped_memory(self, nbytes: int) -> Block:
        """Pinned, and seen by every GPU of the process."""
        ...

    def close(self) -> None:
        """Let go of the context; the last one to do so ends it. No thread may have it pushed."""
        ...


class DriverPrimary:
    """See Primary: by the driver alone."""

    def __init__(self, gpu: int) -> None:
        self._driver, self._device = driver(), c_int()
        self._driver.cuDeviceGet(byref(self._device), gpu)
        sleep_while_waiting(self._device)
        self._context: c_void_p | None = c_void_p()
        self._driver.cuDevicePrimaryCtxRetain(byref(self._context), self._device)

    how = "the driver (pycuda is not installed)"

    def push(self) -> None:
        self._driver.cuCtxPushCurrent(self._context)

    def pop(self) -> None:
        self._driver.cuCtxPopCurrent(byref(c_void_p()))

    def device_memory(self, nbytes: int) -> Block:
        at = c_uint64()
        self._driver.cuMemAlloc(byref(at), nbytes)
        address = at.value
        return Block(address, None, lambda: _freed(self._driver.cuMemFree(address)))

    def mapped_memory(self, nbytes: int) -> Block:
        host, at = c_void_p(), c_uint64()
        self._driver.cuMemHostAlloc(byref(host), nbytes, HOSTALLOC_PORTABLE | HOSTALLOC_DEVICEMAP)
        pointer = host.value
        assert pointer is not None
        self._driver.cuMemHostGetDevicePointer(byref(at), pointer, 0)
        array = np.ctypeslib.as_array((ctypes.c_ubyte * nbytes).from_address(pointer))
        return Block(at.value, array, lambda: _freed(self._driver.cuMemFreeHost(pointer)))

    def close(self) -> None:
        if self._context is not None:
            self._context = None
            self._driver.cuDevicePrimaryCtxRelease(self._device)


def sleep_while_waiting(device: c_int) -> None:
    """Of a context that does not exist yet or has the same flags; what others made of it stays."""
    driver().unchecked("cuDevicePrimaryCtxSetFlags")(device, SCHED_BLOCKING_SYNC)


def _freed(_: int) -> None:
    """The status was checked."""


def open_primary(gpu: int) -> Primary:
    """The primary context of GPU `gpu`, retained. CudaError when there is no such GPU, or it is taken."""
    if "EDGED_LIBCUDA" in os.environ:
        return DriverPrimary(gpu)
    driver()  # tells what is wrong with it; pycuda's import says less
    try:
        import pycuda.driver  # noqa: F401
    except ImportError:
        return DriverPrimary(gpu)
    from edged.devices.cuda._pycuda import PycudaPrimary

    return PycudaPrimary(gpu)
