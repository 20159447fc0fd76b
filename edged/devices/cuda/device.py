"""A GPU as a runner's device: its primary context, regions, streams and preprocessors."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from edged.devices.cuda.cache import KernelCache
from edged.devices.cuda.compiled import Functions, Kernels
from edged.devices.cuda.decode import CudaDecode
from edged.devices.cuda.dewarp import CudaDewarp
from edged.devices.cuda.driver import Module, cuda_version, driver
from edged.devices.cuda.external import Imported, Registered, Within
from edged.devices.cuda.memory import CudaRegion, check_fits
from edged.devices.cuda.nvrtc import find
from edged.devices.cuda.preprocess import CudaPreprocess
from edged.devices.cuda.primary import Primary, open_primary
from edged.devices.cuda.probe import Gpu, describe
from edged.devices.cuda.ranges import ranged
from edged.devices.cuda.status import OUT_OF_MEMORY, CudaError
from edged.devices.cuda.stream import CudaStream
from edged.errors import DeviceError, FatalDeviceError, MemoryRefused, ModelError
from edged.frames import U8, FrameSpec, Memory
from edged.interfaces import Described, Shared, T
from edged.memory import Budget, Region, Want, format_bytes, wanted_bytes
from edged.parsers.base import Head
from edged.tensors import ImageInput, TensorSpec
from edged.views import WHOLE, View


def cache_folder() -> Path | None:
    """Where compiled kernels are kept: $CACHE_DIRECTORY (systemd), else the user's cache; None where neither is."""
    for variable, rest in (("CACHE_DIRECTORY", ""), ("XDG_CACHE_HOME", "edged"), ("HOME", ".cache/edged")):
        root = os.environ.get(variable, "").split(":")[0]
        if root:
            return Path(root, rest, "kernels")
    return None


class CudaDevice:
    """GPU number `gpu`. Thread-safe. Its context is made at the first use and ends with `close`.

    `functions`: where kernels come from; None: compiled by NVRTC on first use, and kept in a cache.
    """

    name = "cuda"
    frame_memory = Memory.MAPPED
    tensor_memory = Memory.DEVICE
    graphs = True

    def __init__(
        self,
        budget: Budget | None = None,
        gpu: int = 0,
        *,
        ranges: bool = False,
        functions: Functions | None = None,
    ) -> None:
        self.budget = budget or Budget()
        self.gpu = gpu
        self.ranges = ranges
        self._lock = threading.Lock()
        self._primary: Primary | None = None
        self._found: Gpu | None = None
        self._facts: Mapping[str, str] = {"device": f"cuda {gpu}"}
        self._functions = functions
        self._count = itertools.count()
        self._depth = threading.local()

    def _open(self) -> Primary:
        with self._lock:
            if self._primary is None:
                self._primary, self._found = open_primary(self.gpu), describe(self.gpu)
                device = f"cuda {self.gpu}: {self._found}"
                self._facts = {"device": device, "memory": f"by {self._primary.how}"}
            return self._primary

    @property
    def facts(self) -> Mapping[str, str]:
        """What the GPU is and what its memory comes from, once it was used."""
        return self._facts

    @property
    def capability(self) -> str:
        """The GPU's compute capability: "8.7". Plans are built for one."""
        self._open()
        assert self._found is not None
        return ".".join(map(str, self._found.capability))

    @contextmanager
    def current(self) -> Iterator[None]:
        """Its context, pushed for the calling thread. Entering it again in a thread costs next to nothing."""
        depth = getattr(self._depth, "value", 0)
        primary = None if depth else self._open()
        if primary is not None:
            primary.push()
        self._depth.value = depth + 1
        try:
            yield
        finally:
            self._depth.value = depth
            if primary is not None:
                primary.pop()

    def check(self) -> None:
        """FatalCudaError when an earlier error has ended the context."""
        if self._primary is None:
            return
        with self.current():
            # waits for nothing, and tells an earlier error all the same
            status = driver().unchecked("cuStreamQuery")(None)
        error = driver().error("cuStreamQuery", status)
        if isinstance(error, FatalDeviceError):
            raise error

    def ranged(self, name: str, fn: Callable[..., T]) -> Callable[..., T]:
        """See interfaces.Device; as it is unless `ranges`."""
        return ranged(name, fn) if self.ranges else fn

    def admit(self, plan: Mapping[str, Sequence[Want]]) -> None:
        """See interfaces.Device: the budget first, then what the machine has."""
        self.budget.try_all({owner: wanted_bytes(wants) for owner, wants in plan.items()})
        wants = [w for ws in plan.values() for w in ws]
        if wants:
            self._check_fits(wants, "all that was asked for")

    def _check_fits(self, wants: Sequence[Want], who: str) -> None:
        with self.current():
            assert self._found is not None
            check_fits(wants, who, integrated=self._found.integrated)

    def region(self, owner: str, wants: Sequence[Want]) -> Region:
        """Admit and allocate; raises MemoryRefused with figures, and then holds nothing."""
        for want in wants:
            if want.memory is Memory.DMABUF:
                raise DeviceError(
                    f"region {owner}: {want.name} wants dmabuf memory, which is imported and not allocated",
                    hint="a defect in edged: use devices/cuda/external.py",
                )
        nbytes = wanted_bytes(wants)
        self.budget.admit(owner, nbytes)
        try:
            self._check_fits(wants, f"region {owner}")
            primary = self._open()
            return CudaRegion(
                owner, wants, primary, self.current, lambda: self.budget.give_back(owner, nbytes)
            )
        except BaseException as e:
            self.budget.give_back(owner, nbytes)
            if isinstance(e, MemoryRefused) or not _is_shortage(e):
                raise
            raise MemoryRefused(
                f"region {owner}: the system has no {format_bytes(nbytes)}: {e}",
                hint="free memory, or set runtime.memory_budget to what this machine can give",
            ) from e

    def share(self, pages: U8, *, foreign: bool = False) -> Shared:
        """Register them (cuMemHostRegister). CudaError where the system refuses, with what it said first."""
        with self.current():
            try:
                made = Registered(pages.ctypes.data, pages.nbytes)
            except CudaError as e:
                if not foreign or isinstance(e, FatalDeviceError):
                    raise
                # a driver's mapping without pages of the system behind it (VM_IO, VM_PFNMAP)
                try:
                    made = Registered(pages.ctypes.data, pages.nbytes, io=True)
                except CudaError:
                    raise e from None
            return Within(self.current, made)

    def share_dmabuf(self, fd: int, nbytes: int) -> Shared:
        """Import it as external memory. CudaError where the driver cannot (before CUDA 13, and off Tegra)."""
        with self.current():
            return Within(self.current, Imported(fd, nbytes))

    def stream(self, priority: int = 0, name: str = "") -> CudaStream:
        """In the current context. `priority`: higher numbers are served first, within what the GPU has."""
        return CudaStream(name or f"cuda-stream-{next(self._count)}", priority)

    def preprocessor(
        self,
        name: str,
        src: FrameSpec,
        dst: TensorSpec,
        image: ImageInput,
        tickets: int = 1,
        view: View = WHOLE,
    ) -> Described:
        """Frames of `src` to `dst`. The first of its kind compiles a kernel (a second), or finds it cached."""
        view.check(name, src)
        tickets = max(tickets, 1)
        with self.current():
            kernels = self._kernels()
            if view.lens is not None:
                return CudaDewarp(name, src, dst, image, kernels, view.lens, self.stream, tickets=tickets)
            return CudaPreprocess(name, src, dst, image, kernels, roi=view.roi, tickets=tickets)

    def decoder(self, name: str, outputs: Sequence[TensorSpec], head: Head, tickets: int = 1) -> CudaDecode:
        """For the output that `head` names, or the only one. ModelError when no kernel reads it."""
        output = next((t for t in outputs if t.name == head.tensor or not head.tensor), None)
        if output is None:
            raise ModelError(
                f"{name}: there is no output '{head.tensor}'", hint="set [output] tensor in model.toml"
            )
        with self.current():
            return CudaDecode(name, output, head, self._kernels(), max(tickets, 1))

    def _kernels(self) -> Functions:
        with self._lock:
            if self._functions is None:
                assert self._found is not None
                compiler = partial(find, cuda_version() // 1000)
                cache = KernelCache(cache_folder())
                gpu = self._found
                self._functions = Kernels(gpu.arch, gpu.multiprocessors, Module, compiler, cache)
            return self._functions

    def close(self) -> None:
        """Let go of the context. Idempotent; its kernels go with it."""
        with self._lock:
            primary, self._primary = self._primary, None
        if primary is not None:
            primary.close()


def _is_shortage(e: BaseException) -> bool:
    return isinstance(e, (OSError, MemoryError)) or (isinstance(e, CudaError) and e.code == OUT_OF_MEMORY)
