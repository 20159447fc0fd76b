"""What this machine has of a GPU and of what edged needs for it. No context is made, nothing is kept."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import byref, c_int
from dataclasses import dataclass
from importlib.util import find_spec

from edged.devices.cuda.driver import driver
from edged.errors import EdgedError

# CUdevice_attribute
_INTEGRATED, _MAJOR, _MINOR, _MULTIPROCESSORS = 18, 75, 76, 16
LEAST = (7, 5)  # what the kernels are compiled for at least


@dataclass(frozen=True, slots=True)
class Lack:
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as the driver describes it."""

    name: str
    capability: tuple[int, int]
    pci: str
    integrated: bool
    multiprocessors: int

    def __str__(self) -> str:
        kind = "integrated" if self.integrated else "discrete"
        return f"{self.name}, compute capability {'.'.join(map(str, self.capability))}, {kind}, {self.pci}"

    @property
    def arch(self) -> int:
        """87 for compute capability 8.7."""
        return self.capability[0] * 10 + self.capability[1]


@dataclass(frozen=True, slots=True)
class Finding:
    """`missing`: what keeps a GPU from being used; `remarks`: what would be better."""

    gpus: tuple[str, ...]
    missing: tuple[Lack, ...] = ()
    remarks: tuple[Lack, ...] = ()


def describe(gpu: int) -> Gpu:
    """CudaError when there is no such GPU."""
    d, device = driver(), c_int()
    d.cuDeviceGet(byref(device), gpu)

    def attribute(number: int) -> int:
        value = c_int()
        d.cuDeviceGetAttribute(byref(value), number, device)
        return value.value

    name, pci = ctypes.create_string_buffer(256), ctypes.create_string_buffer(32)
    d.cuDeviceGetName(name, len(name), device)
    d.cuDeviceGetPCIBusId(pci, len(pci), device)
    return Gpu(
        name.value.decode(errors="replace"),
        (attribute(_MAJOR), attribute(_MINOR)),
        pci.value.decode(errors="replace"),
        bool(attribute(_INTEGRATED)),
        attribute(_MULTIPROCESSORS),
    )


def describe_all() -> tuple[Gpu, ...]:
    """Every GPU that the driver sees, in its order. DeviceError without a driver."""
    count = c_int()
    driver().cuDeviceGetCount(byref(count))
    return tuple(describe(i) for i in range(count.value))


def probe() -> Finding:
    """Look at the driver, its GPUs and the packages. Raises nothing for what is missing."""
    gpus: tuple[Gpu, ...] = ()
    missing: list[Lack] = []
    try:
        gpus = describe_all()
    except EdgedError as e:
        missing.append(Lack(e.message, e.hint))
    else:
        if not gpus:
            missing.append(Lack("the driver sees no GPU", "check nvidia-smi and CUDA_VISIBLE_DEVICES"))
        old = [g for g in gpus if g.capability < LEAST]
        if old:
            missing.append(Lack(f"{old[0]} is too old", f"use one of {'.'.join(map(str, LEAST))} or later"))
    missing += _packages()
    remarks = []
    if find_spec("pycuda") is None:
        remarks.append(
            Lack("pycuda is not installed; the driver is used directly", "pip install 'edged[cuda]'")
        )
    return Finding(tuple(map(str, gpus)), tuple(missing), tuple(remarks))


def _packages() -> Iterator[Lack]:
    from edged.devices.cuda import nvrtc

    try:
        nvrtc.find()
    except EdgedError as e:
        yield Lack(e.message, e.hint)
