"""The stand-in driver (standin.c), compiled at test time, and CUDA devices on it.

Kernels on it are those of edged/devices/cuda/kernels, compiled for the CPU by tests/devices/cuda/emulation.py.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from edged.devices.cuda import driver as driver_module
from edged.devices.cuda.compiled import Function, Macros
from edged.devices.cuda.decode import HeadArgument
from edged.devices.cuda.descriptors import Descriptor, Target
from edged.devices.cuda.device import CudaDevice
from edged.devices.cuda.driver import Module
from edged.memory import Budget
from tests.compiled import shared_library, version_of
from tests.devices.cuda.emulation import Emulation

# bytes of each argument: the driver copies them when a kernel is launched
TARGET = ctypes.sizeof(Target)
SIZES = {
    "preprocess_one": f"{ctypes.sizeof(Descriptor)},8,{TARGET},8",
    "preprocess_rows": f"8,8,{TARGET},8",
    "decode": f"8,{ctypes.sizeof(HeadArgument)},8,8",
}


def build() -> Path:
    """The compiled library; skips without the compilers for it and for the kernels."""
    version_of("g++")
    source = Path(__file__).with_name("standin.c")
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-shared", "-fPIC", "-xc", "-"]
    command += ["-lpthread", "-ldl"]
    return shared_library("libcuda-standin", command, source.read_text())


class Standin:
    """What tests ask of the driver and have it do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lib = ctypes.CDLL(str(path))
        self._lib.standin_allocations.restype = self._lib.standin_graph_launches.restype = ctypes.c_long
        self._lib.standin_known.argtypes = (ctypes.c_uint64, ctypes.c_size_t)

    def fault(self, call: str, status: int, after: int = 0) -> None:
        """The call `after` more of this name fails once; 700 to 799 is forever."""
        self._lib.standin_fault(call.encode(), after, status)

    def reset(self) -> None:
        self._lib.standin_fault(b"", 0, 0)
        self._lib.standin_stick(0)
        self._lib.standin_gpus(2)
        self.lie(False)
        self.dmabufs(False)

    def stick(self, status: int) -> None:
        self._lib.standin_stick(status)

    def gpus(self, count: int) -> None:
        self._lib.standin_gpus(count)

    def lie(self, on: bool) -> None:
        """Whether the device finds what is registered from now on elsewhere, where zeros are."""
        self._lib.standin_lie(int(on))

    def dmabufs(self, on: bool) -> None:
        """Whether it imports them."""
        self._lib.standin_dmabufs(int(on))

    def live(self) -> dict[str, int]:
        """What was not given back."""
        kinds = {"device": b"d", "mapped": b"h", "registered": b"r"}
        out = {k: int(self._lib.standin_live(ctypes.c_char(v))) for k, v in kinds.items()}
        names = ("streams", "events", "graphs", "depth", "externals")
        return {**out, **{n: int(getattr(self._lib, f"standin_{n}")()) for n in names}}

    @property
    def allocations(self) -> int:
        return int(self._lib.standin_allocations())

    @property
    def graph_launches(self) -> int:
        return int(self._lib.standin_graph_launches())


class StandinFunctions:
    """compiled.Functions: the emulated kernels as modules of the stand-in."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._modules: dict[Path, Module] = {}

    multiprocessors = 2

    def get(self, file: str, name: str, macros: Macros) -> Function:
        library = self._emulation.library(file, macros)
        if library not in self._modules:
            sizes = "\n".join(f"{k}={v}" for k, v in SIZES.items())
            self._modules[library] = Module(f"standin:{library}\n{sizes}\n".encode())
        return self._modules[library].function(name)


@cache
def _emulation() -> Emulation:
    return Emulation()


@contextmanager
def standin() -> Iterator[Standin]:
    """The stand-in as the process's driver; nothing of it may be left at the end."""
    path = build()
    made = Standin(path)
    before = os.environ.get("EDGED_LIBCUDA")
    os.environ["EDGED_LIBCUDA"] = str(path)
    driver_module.driver.cache_clear()
    made.reset()
    try:
        yield made
        left = {k: n for k, n in made.live().items() if n}
        assert not left, f"left with the driver: {left}"
    finally:
        made.reset()
        driver_module.driver.cache_clear()
        if before is None:
            del os.environ["EDGED_LIBCUDA"]
        else:
            os.environ["EDGED_LIBCUDA"] = before


def standin_device(budget: Budget | None = None, gpu: int = 0) -> CudaDevice:
    """Needs the stand-in to be active."""
    return CudaDevice(budget, gpu, functions=StandinFunctions(_emulation()))
