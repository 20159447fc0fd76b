"""Names for the stages of a frame in NVIDIA's profilers (NVTX); off unless `runtime.gpu_ranges` says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from edged.errors import DeviceError

_T = TypeVar("_T")
DOMAIN = "edged"


def ranged(name: str, fn: Callable[..., _T]) -> Callable[..., _T]:
    """`fn` inside a range called `name`. DeviceError without the package nvtx, which is imported here."""
    try:
        import nvtx
    except ImportError as e:
        raise DeviceError(
            "runtime.gpu_ranges needs the Python package 'nvtx', which is not installed",
            hint="pip install nvtx, or remove the key",
        ) from e
    push: Callable[..., object] = nvtx.push_range
    pop: Callable[..., object] = nvtx.pop_range

    @wraps(fn)
    def inside(*args: Any) -> _T:
        push(name, domain=DOMAIN)
        try:
            return fn(*args)
        finally:
            pop(domain=DOMAIN)

    return inside
