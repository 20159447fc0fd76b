"""The GPU that TensorRT builds for: asked of the driver, without making a context."""

from __future__ import annotations

from ctypes import byref, c_int, create_string_buffer
from dataclasses import dataclass

from edged.build.request import BuildError
from edged.errors import DeviceError

_INTEGRATED, _MAJOR, _MINOR = 18, 75, 76  # CUdevice_attribute
_NAME = 256


@dataclass(frozen=True, slots=True)
class Gpu:
    """`capability` is as in "8.7". `integrated`: its memory is the system's."""

    name: str
    capability: str
    integrated: bool


def gpu_at_hand(number: int = 0) -> Gpu:
    """GPU `number`, as the driver counts them. BuildError where there is none."""
    from edged.devices.cuda.driver import driver

    device, major, minor, integrated = c_int(), c_int(), c_int(), c_int()
    name = create_string_buffer(_NAME)
    try:
        cuda = driver()
        cuda.cuDeviceGet(byref(device), number)
        cuda.cuDeviceGetName(name, _NAME, device)
        cuda.cuDeviceGetAttribute(byref(major), _MAJOR, device)
        cuda.cuDeviceGetAttribute(byref(minor), _MINOR, device)
        cuda.cuDeviceGetAttribute(byref(integrated), _INTEGRATED, device)
    except DeviceError as e:
        raise BuildError(
            f"TensorRT builds for the GPU at hand, and there is none: {e.message}",
            hint="build on the device; without a GPU: --engine tensorrt-rtx --capability 8.6",
        ) from e
    capability = f"{major.value}.{minor.value}"
    return Gpu(name.value.decode(errors="replace"), capability, bool(integrated.value))
