"""Memory that others allocated, made visible to the GPU: pages of this process, and dmabufs of other drivers.

All of it in the current context. The page ladder of the v4l2 source and NVMM frames are built on these calls.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from ctypes import byref, c_int, c_uint, c_uint64, c_ulonglong, c_void_p

from edged.devices.cuda.driver import driver
from edged.memory import PAGE

REGISTER_PORTABLE, REGISTER_DEVICEMAP, REGISTER_IOMEMORY = 1, 2, 4
_DMABUF_FD, _OPAQUE_FD = 9, 1


class Registered:
    """Host pages that the GPU reads and writes where they are. `address`: where it finds them.

    The pages must stay mapped until `close`, and no work on them may be left. `io`: memory of another device
    (a driver's mmap that has no struct pages behind it). CudaError where the system refuses.
    """

    def __init__(self, host: int, nbytes: int, *, io: bool = False) -> None:
        if host % PAGE:
            raise ValueError(f"{host:#x} is not the beginning of a page")
        self._driver, self._host = driver(), host
        flags = REGISTER_PORTABLE | REGISTER_DEVICEMAP | (REGISTER_IOMEMORY if io else 0)
        self._driver.cuMemHostRegister(host, nbytes, flags)
        self._open = True
        at = c_uint64()
        try:
            self._driver.cuMemHostGetDevicePointer(byref(at), host, 0)
        except BaseException:
            self.close()
            raise
        self.address = at.value

    def close(self) -> None:
        """Idempotent."""
        if self._open:
            self._open = False
            self._driver.cuMemHostUnregister(self._host)


class _Handle(ctypes.Union):
    _fields_ = (("fd", c_int), ("win32", c_void_p * 2))


class _HandleDesc(ctypes.Structure):
    """CUDA_EXTERNAL_MEMORY_HANDLE_DESC."""

    _fields_ = (
        ("type", c_int),
        ("handle", _Handle),
        ("size", c_ulonglong),
        ("flags", c_uint),
        ("reserved", c_uint * 16),
    )


class _BufferDesc(ctypes.Structure):
    """CUDA_EXTERNAL_MEMORY_BUFFER_DESC."""

    _fields_ = (("offset", c_ulonglong), ("size", c_ulonglong), ("flags", c_uint), ("reserved", c_uint * 16))


class Imported:
    """A dmabuf (or an opaque fd) as device memory. The caller keeps its `fd`: the driver is given a copy."""

    def __init__(self, fd: int, nbytes: int, *, opaque: bool = False) -> None:
        self._driver, self._memory = driver(), c_void_p()
        kind = _OPAQUE_FD if opaque else _DMABUF_FD
        copy = os.dup(fd)
        try:
            self._driver.cuImportExternalMemory(
                byref(self._memory), byref(_HandleDesc(kind, _Handle(fd=copy), nbytes))
            )
        except BaseException:
            os.close(copy)  # an import that succeeds takes an opaque fd over
            raise
        self._fd = -1 if opaque else copy
        at = c_uint64()
        try:
            self._driver.cuExternalMemoryGetMappedBuffer(
                byref(at), self._memory, byref(_BufferDesc(0, nbytes))
            )
        except BaseException:
            self.close()
            raise
        self.address = at.value

    def close(self) -> None:
        """No work on it may be left. Idempotent."""
        memory, self._memory = self._memory, c_void_p()
        if not memory:
            return
        try:
            if getattr(self, "address", 0):
                self._driver.cuMemFree(self.address)
            self._driver.cuDestroyExternalMemory(memory)
        finally:
            if self._fd >= 0:
                os.close(self._fd)


class Within:
    """One of the above as interfaces.Shared: closed from any thread, in the context that `current` enters."""

    def __init__(
        self, current: Callable[[], AbstractContextManager[None]], made: Registered | Imported
    ) -> None:
        self._current, self._made = current, made
        self.address = made.address

    def close(self) -> None:
        """Idempotent."""
        with self._current():
            self._made.close()
