"""The devices that contracts run on: the CPU, and CUDA on a GPU (EDGED_TEST_GPU=1) or on the stand-in driver."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from edged.devices.cpu import CpuDevice
from edged.devices.cuda.device import CudaDevice
from edged.interfaces import Device
from edged.memory import Budget
from tests.cuda.standin import standin, standin_device

REAL_GPU = os.environ.get("EDGED_TEST_GPU") == "1"
DEVICES = ("cpu", "cuda")


@cache
def _warmed_up() -> CudaDevice:
    """One that stays: its context makes those of the tests cheap, and keeps the files that CUDA opens for good."""
    device = CudaDevice()
    with device.current():
        device.stream().close()
    return device


@contextmanager
def opened(name: str, budget: Budget | None = None) -> Iterator[Device]:
    """The device, current in this thread; closed at the end."""
    if name == "cpu":
        yield CpuDevice(budget)
    elif REAL_GPU:
        _warmed_up()
        device = CudaDevice(budget)
        with device.current():
            yield device
        device.close()
    else:
        with standin():
            device = standin_device(budget)
            with device.current():
                yield device
            device.close()
