"""See primary.Primary: by pycuda. Imported on use, where pycuda is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_int
from typing import Any

import numpy as np

from edged.devices.cuda.driver import driver
from edged.devices.cuda.primary import Block, sleep_while_waiting
from edged.devices.cuda.status import error_of


@contextmanager
def translated() -> Iterator[None]:
    """Pycuda's errors as ours. They say "cuMemAlloc failed: out of memory" and carry no code but their class."""
    import pycuda.driver as cuda

    try:
        yield
    except cuda.MemoryError as e:
        raise error_of(_call(e), 2, "CUDA_ERROR_OUT_OF_MEMORY", str(e)) from e
    except cuda.Error as e:
        # a sticky error shows again, with its code, in the next call of the driver itself
        driver().cuCtxSynchronize()
        raise error_of(_call(e), 1, type(e).__name__, str(e)) from e


def _call(e: Exception) -> str:
    return str(e).partition(" ")[0]


class PycudaPrimary:
    """Made in any thread; `push` and `pop` pair in each."""

    def __init__(self, gpu: int) -> None:
        import pycuda
        import pycuda.driver as cuda

        self.how = f"pycuda {pycuda.VERSION_TEXT}"
        self._cuda: Any = cuda
        with translated():
            cuda.init()
            device = cuda.Device(gpu)
            sleep_while_waiting(c_int(gpu))
            self._context: Any = device.retain_primary_context()

    def push(self) -> None:
        with translated():
            self._context.push()

    def pop(self) -> None:
        self._cuda.Context.pop()

    def device_memory(self, nbytes: int) -> Block:
        with translated():
            held = self._cuda.mem_alloc(nbytes)
        return Block(int(held), None, self._free(held))

    def mapped_memory(self, nbytes: int) -> Block:
        flags = self._cuda.host_alloc_flags
        with translated():
            array = self._cuda.pagelocked_empty(nbytes, np.uint8, mem_flags=flags.PORTABLE | flags.DEVICEMAP)
            held = array.base
            return Block(int(held.get_device_pointer()), array, self._free(held))

    def close(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            context.detach()

    def _free(self, held: Any) -> Callable[[], None]:
        def free() -> None:
            with translated():
                held.free()

        return free
