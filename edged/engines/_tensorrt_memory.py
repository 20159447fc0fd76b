"""What TensorRT holds on the GPU besides the runner's region: its weights, and whatever it asks for later.

It asks us for all of it, so that it is admitted against the budget as any region is, and so that an allocation while
running is seen. Activations are not here: they are in the runner's region.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from edged.engines.tensorrt_library import Library
from edged.errors import EdgedError
from edged.frames import Memory
from edged.interfaces import Device
from edged.memory import Region, Want, format_bytes

log = logging.getLogger(__name__)


class EngineMemory:
    """GPU memory by address, a region each. Thread-safe: TensorRT asks in its own threads, too.

    Once a region that was given to `watch` is frozen, an allocation is `unplanned`: counted, and with `strict`
    refused. Whatever the device refuses (the budget, an allocation during capture) TensorRT does not get, either.
    """

    def __init__(self, who: str, device: Device, *, strict: bool = False) -> None:
        self._who, self._device, self._strict = who, device, strict
        self._lock = threading.Lock()
        self._regions: dict[int, Region] = {}
        self._watched: list[Region] = []
        self._count = 0
        self.unplanned = self.unplanned_bytes = 0
        self.refusals: list[str] = []  # why; for the error of the call that asked

    @property
    def nbytes(self) -> int:
        """Held now."""
        with self._lock:
            return sum(r.nbytes for r in self._regions.values())

    def watch(self, region: Region) -> None:
        with self._lock:
            self._watched = [*(r for r in self._watched if r.is_open), region]

    def allocate(self, nbytes: int) -> int:
        """An address of at least 256 bytes' alignment, or 0. Raises nothing: the caller is C++."""
        if nbytes <= 0:
            return 0
        with self._lock:
            self._count += 1
            name = f"{self._who} {self._count}"
            unplanned = any(r.frozen and r.is_open for r in self._watched)
            if unplanned:
                self.unplanned += 1
                self.unplanned_bytes += nbytes
        if unplanned and self.unplanned == 1:
            log.warning("%s: TensorRT asks for %s while running", self._who, format_bytes(nbytes))
        if unplanned and self._strict:
            return self._refuse(f"{format_bytes(nbytes)} while running, and strict_memory is on")
        try:
            with self._device.current():
                region = self._device.region(name, [Want("memory", nbytes, Memory.DEVICE)])
        except EdgedError as e:
            return self._refuse(e.message)
        address = region.piece("memory").address
        with self._lock:
            self._regions[address] = region
        return address

    def free(self, address: int) -> bool:
        """False for what is not ours; 0 is."""
        with self._lock:
            region = self._regions.pop(address, None)
        if region is not None:
            region.close()
        return region is not None or not address

    def take_refusals(self) -> list[str]:
        with self._lock:
            said, self.refusals = self.refusals, []
        return said

    def close(self) -> None:
        """Free what TensorRT has not given back. Nothing of it may be at work. Idempotent."""
        for address in list(self._regions):
            self.free(address)
        self._watched.clear()

    @property
    def limited(self) -> str:
        """What is not as promised, in words; "" if nothing is."""
        if not self.unplanned:
            return ""
        verb = "was refused" if self._strict else "was given"
        return (
            f"allocates while running: {verb} {format_bytes(self.unplanned_bytes)} in {self.unplanned} pieces"
        )

    def _refuse(self, reason: str) -> int:
        with self._lock:
            self.refusals.append(reason)
        return 0


def allocator(library: Library, memory: EngineMemory) -> Any:
    """An IGpuAllocator that asks `memory`. Keep it as long as what TensorRT made with it."""
    trt = library.module

    class Allocator(trt.IGpuAllocator):  # type: ignore[name-defined,misc]
        """All five methods are needed: the binding calls none of its own. 0 is failure: None would be an exception."""

        def __init__(self) -> None:
            trt.IGpuAllocator.__init__(self)

        def allocate(self, size: int, alignment: int, flags: int) -> int:
            return memory.allocate(size)

        def allocate_async(self, size: int, alignment: int, flags: int, stream: int) -> int:
            return memory.allocate(size)

        def deallocate(self, memory_address: int) -> bool:
            return memory.free(memory_address)

        def deallocate_async(self, memory_address: int, stream: int) -> bool:
            return memory.free(memory_address)

        def reallocate(self, address: int, alignment: int, new_size: int) -> int:
            return 0  # the old memory stays valid, and TensorRT asks for new

    return Allocator()
