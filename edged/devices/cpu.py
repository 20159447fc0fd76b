"""The CPU device: regions of host memory, threads as streams, OpenCV as preprocessor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from edged.devices.cpu_convert import opencv
from edged.devices.cpu_preprocess import CpuPreprocess
from edged.devices.cpu_stream import CpuStream
from edged.errors import DeviceError, MemoryRefused
from edged.frames import U8, FrameSpec, Memory
from edged.interfaces import Shared, T
from edged.memory import Budget, Region, Want, format_bytes, wanted_bytes
from edged.parsers.base import Head
from edged.tensors import ImageInput, TensorSpec
from edged.views import WHOLE, View


@dataclass(frozen=True, slots=True)
class _HostPages:
    """interfaces.Shared"""

    address: int

    def close(self) -> None:
        """There is nothing to undo."""


class CpuDevice:
    """Thread-safe; holds no resource of its own. Regions are counted against `budget` until they close."""

    name = "cpu"
    frame_memory = Memory.HOST
    tensor_memory = Memory.HOST
    graphs = False
    patience_s = 0.001

    def __init__(self, budget: Budget | None = None, why: str = "") -> None:
        self.budget = budget or Budget()
        self.facts: Mapping[str, str] = {"device": f"cpu: {why}" if why else "cpu"}
        self._count = itertools.count()

    def current(self) -> AbstractContextManager[None]:
        """Nothing: every thread is on it."""
        return nullcontext()

    def check(self) -> None:
        """It is never lost."""

    def close(self) -> None:
        """It holds nothing."""

    def ranged(self, name: str, fn: Callable[..., T]) -> Callable[..., T]:
        """As it is: profilers of the CPU see Python's own names."""
        return fn

    def admit(self, plan: Mapping[str, Sequence[Want]]) -> None:
        """See interfaces.Device."""
        self.budget.try_all({owner: wanted_bytes(wants) for owner, wants in plan.items()})

    def region(self, owner: str, wants: Sequence[Want]) -> Region:
        """Admit and allocate; raises MemoryRefused with figures, and then holds nothing.

        The caller owns the region; closing it gives its bytes back to the budget.
        """
        for want in wants:
            if want.memory is not Memory.HOST:
                raise DeviceError(
                    f"region {owner}: {want.name} wants {want.memory.value} memory, which the CPU has not",
                    hint="use a source or an engine that works in host memory, or another runtime.device",
                )
        nbytes = wanted_bytes(wants)
        self.budget.admit(owner, nbytes)
        try:
            return Region(owner, wants, on_close=lambda: self.budget.give_back(owner, nbytes))
        except (OSError, MemoryError, OverflowError) as e:  # the last: more than the address space holds
            self.budget.give_back(owner, nbytes)
            raise MemoryRefused(
                f"region {owner}: the system has no {format_bytes(nbytes)}: {e}",
                hint="free memory, or set runtime.memory_budget to what this machine can give",
            ) from e
        except BaseException:
            self.budget.give_back(owner, nbytes)
            raise

    def share(self, pages: U8, *, foreign: bool = False) -> Shared:
        """The host's memory is the device's: nothing is done."""
        return _HostPages(pages.ctypes.data)

    def share_dmabuf(self, fd: int, nbytes: int) -> Shared:
        raise DeviceError("the CPU imports no dmabuf", hint="map it and share its pages")

    def stream(self, priority: int = 0, name: str = "") -> CpuStream:
        """A stream; `name` names its thread. `priority` has no effect: an unprivileged thread cannot raise it."""
        return CpuStream(name or f"cpu-stream-{next(self._count)}")

    def preprocessor(
        self,
        name: str,
        src: FrameSpec,
        dst: TensorSpec,
        image: ImageInput,
        tickets: int = 1,
        view: View = WHOLE,
    ) -> CpuPreprocess:
        """Frames of `src` to `dst`. MissingPackage without OpenCV, ModelError when dst and image disagree.

        ConfigError when frames of `src` have nothing of what `view` shows.
        """
        # the engine owns the cores; more threads here cost the engine what they gain
        opencv().setNumThreads(1)
        return CpuPreprocess(name, src, dst, image, view)

    def decoder(self, name: str, outputs: Sequence[TensorSpec], head: Head, tickets: int = 1) -> None:
        """None: outputs are in the parser's reach as they are."""
