"""A GPU's regions: one allocation for each kind of memory that is wanted, cut into pages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from ctypes import byref, c_size_t

from edged.devices.cuda.driver import driver
from edged.devices.cuda.primary import Block, Primary
from edged.errors import MemoryRefused
from edged.frames import Memory
from edged.memory import (
    PAGE,
    Piece,
    Region,
    Want,
    available_bytes,
    cut,
    format_bytes,
    host_memory,
    round_up,
    wanted_bytes,
)

MEMINFO = "/proc/meminfo"
KINDS = (Memory.HOST, Memory.MAPPED, Memory.DEVICE)


def free_device_memory() -> int:
    """Of the current context's GPU, in bytes."""
    free, total = c_size_t(), c_size_t()
    driver().cuMemGetInfo(byref(free), byref(total))
    return free.value


def check_fits(wants: Sequence[Want], who: str, *, integrated: bool, meminfo: str = MEMINFO) -> None:
    """MemoryRefused with figures unless the machine can give `wants` now.

    An integrated GPU has no memory of its own: there all kinds come from the system's.
    """
    device = wanted_bytes(w for w in wants if w.memory is Memory.DEVICE)
    host = wanted_bytes(wants) - device
    for what, wanted, free in (
        (
            "GPU memory",
            0 if integrated else device,
            free_device_memory if device and not integrated else None,
        ),
        (
            "memory (MemAvailable)",
            host + device if integrated else host,
            lambda: available_bytes(meminfo) or sys.maxsize,
        ),
    ):
        if free is not None and wanted and wanted > (has := free()):
            raise MemoryRefused(
                f"{who}: the system has no {format_bytes(wanted)} of {what}; {format_bytes(has)} are free",
                hint="free memory, or lower frame sizes (max_size), instances or in_flight",
            )


class CudaRegion(Region):
    """See Region. Made and closed with its device current, or current to be: `current` enters it.

    HOST pieces are plain pages, MAPPED ones pinned and seen by every GPU, DEVICE ones the GPU's alone. All are zeroed.
    """

    def __init__(
        self,
        owner: str,
        wants: Sequence[Want],
        primary: Primary,
        current: Callable[[], AbstractContextManager[None]],
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._primary, self._current = primary, current
        self._blocks = ExitStack()
        super().__init__(owner, wants, on_close)

    def _make(self) -> dict[str, Piece]:
        pieces: dict[str, Piece] = {}
        with self._current(), ExitStack() as blocks:
            for kind in KINDS:
                wants = [w for w in self.wants if w.memory is kind]
                if wants:
                    pieces.update(self._allocate(kind, wants, blocks))
            self._blocks = blocks.pop_all()
        return {w.name: pieces[w.name] for w in self.wants}

    def _allocate(self, kind: Memory, wants: Sequence[Want], blocks: ExitStack) -> dict[str, Piece]:
        nbytes = max(wanted_bytes(wants), PAGE)
        if kind is Memory.HOST:
            whole = host_memory(nbytes)
            return cut(wants, whole, whole.ctypes.data)
        make = self._primary.mapped_memory if kind is Memory.MAPPED else self._primary.device_memory
        # the driver aligns small allocations to less than a page
        block: Block = make(nbytes + PAGE)
        blocks.callback(block.free)
        skip = round_up(block.address) - block.address
        if block.array is None:
            driver().cuMemsetD8(block.address + skip, 0, nbytes)
            # on the default stream, which ours do not wait for: else it might clear what was copied there since
            driver().cuStreamSynchronize(None)
            return cut(wants, None, block.address + skip, kind)
        block.array[:] = 0
        return cut(wants, block.array[skip:], block.address + skip, kind)

    def _free(self) -> None:
        with self._current():
            self._blocks.close()
