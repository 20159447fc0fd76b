"""The kernels on a CPU: the .cu files compiled by g++ with emulate.h, behind the seam that the GPU's functions have.

A device made of it runs the code of edged/devices/cuda above the driver as it is. Nothing here is fast.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edged.devices.cpu import CpuDevice
from edged.devices.cpu_stream import CpuStream
from edged.devices.cuda.compiled import Argument, Function, Macros, options_of, source_of
from edged.memory import Region, Want
from edged.tensors import TensorView
from tests.compiled import shared_library

HERE = Path(__file__).parent

# How each kernel is called with the addresses of its arguments, as cuLaunchKernel is
CALLS = {
    "preprocess.cu": {
        "preprocess_rows": "(*(const Descriptor**)a[0], *(const float2**)a[1], *(Target*)a[2], *(Element**)a[3])",
        "preprocess_one": "(*(Descriptor*)a[0], *(const float2**)a[1], *(Target*)a[2], *(Element**)a[3])",
    },
    "decode_yolo.cu": {
        "decode": "(*(const Element**)a[0], *(Head*)a[1], *(Counter**)a[2], *(float**)a[3])",
    },
}


@dataclass
class EmulatedFunction:
    call: Any

    def launch(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[Argument],
        stream_handle: int,
        shared_bytes: int = 0,
    ) -> None:
        addresses = (ctypes.c_void_p * len(args))(*(ctypes.addressof(a) for a in args))
        self.call((ctypes.c_int * 3)(*grid), (ctypes.c_int * 3)(*block), addresses)


@dataclass
class Emulation:
    """compiled.Functions on a CPU."""

    libraries: dict[str, Path] = field(default_factory=dict)

    def prepare(self, file: str, variants: Iterable[Macros]) -> None:
        """Compile several, two at a time."""
        todo = {self._name(file, v): options_of(v) for v in variants}
        with ThreadPoolExecutor(2) as pool:
            made = {name: pool.submit(self._compile, file, name, o) for name, o in todo.items()}
        self.libraries.update({name: future.result() for name, future in made.items()})

    @staticmethod
    def _name(file: str, macros: Macros) -> str:
        return "-".join([file.partition(".")[0], *(f"{k}{v}" for k, v in sorted(macros.items()))])

    def library(self, file: str, macros: Macros) -> Path:
        """Compiled where it was not before."""
        key = self._name(file, macros)
        if key not in self.libraries:
            self.prepare(file, [macros])
        return self.libraries[key]

    @staticmethod
    def _compile(file: str, name: str, options: list[str]) -> Path:
        exported = "".join(
            f'extern "C" void call_{n}(const int* grid, const int* block, void** a)'
            f"{{ fibres::launch(grid, block, [&] {{ {n}{call}; }}); }}\n"
            for n, call in CALLS[file].items()
        )
        text = f'#include "emulate.h"\n#line 1 "{file}"\n{source_of(file)}\n{exported}'
        command = ["g++", "-std=c++17", "-O0", "-fPIC", "-shared", "-Wall", "-Werror", "-Wno-unknown-pragmas"]
        command += ["-Wno-unused", "-Wno-maybe-uninitialized", f"-I{HERE}", *options, "-xc++", "-"]
        return shared_library(name, command, text, [HERE / "emulate.h"])

    multiprocessors = 1  # so that a few blocks make many rows

    def get(self, file: str, name: str, macros: Macros) -> Function:
        return EmulatedFunction(ctypes.CDLL(str(self.library(file, macros)))[f"call_{name}"])


class EmulatedStream(CpuStream):
    """Kernels run when they are launched, and so do copies."""

    def copy(self, target: TensorView, source: TensorView) -> None:
        ctypes.memmove(target.address, source.address, source.spec.nbytes)


class EmulatedDevice(CpuDevice):
    """A device whose mapped and device memory is the host's. Work is done when it is queued."""

    def __init__(self, functions: Emulation) -> None:
        super().__init__()
        self.functions = functions

    def region(self, owner: str, wants: Sequence[Want]) -> Region:
        return Region(owner, wants)

    def stream(self, priority: int = 0, name: str = "") -> CpuStream:
        return EmulatedStream(name or "emulated")
