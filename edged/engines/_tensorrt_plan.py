"""A plan before it is deserialized: found, read, and compared with this runtime and this GPU.

A plan is executable GPU code, and TensorRT's own complaint about a strange one is a number of its own format. So all
that can be known is checked here, and an error names both sides and the command that mends it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edged.engines.tensorrt_library import Library
from edged.interfaces import Device
from edged.models.model import Model
from edged.models.plans import Plan, PlanError, PlanStore, Sidecar
from edged.models.sidecar import NAMES, header, same_version


def capability_of(device: Device) -> str:
    """Of a CUDA device: "8.7"."""
    return str(getattr(device, "capability", "")) or "unknown"


def find_plan(library: Library, store: PlanStore, model: Model, device: Device, options: Any = None) -> Plan:
    """The plan in the store that fits library, GPU, model and options; nothing of it was read yet. PlanError."""
    what = wanted(model, options)
    return store.find(model.sha256, library.flavour, library.version, capability_of(device), **what)


def wanted(model: Model, options: Any = None) -> dict[str, Any]:
    """What `PlanStore.find` is asked for: by the model, and by the engine's Options (None: their defaults)."""
    return {
        "precision": getattr(options, "precision", None),
        "dla": getattr(options, "dla_core", None),
        "shapes": shapes_of(model, options),
        "model": str(model.path),
    }


def shapes_of(model: Model, options: Any = None) -> dict[str, tuple[int, ...]]:
    """Input -> the shape that it is to have."""
    return {model.input.tensor: model.input.shape(), **model.shapes, **getattr(options, "shapes", {})}


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """The file's pages, read-only, where TensorRT reads them: no copy. PlanError where it cannot be read."""
    try:
        with path.open("rb") as f:
            pages = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as e:  # ValueError: it is empty
        reason = e.strerror or str(e) if isinstance(e, OSError) else "it is empty"
        raise PlanError(
            f"{path}: a plan that cannot be read: {reason}",
            hint="check the folder's permissions, or build it again: edged model build DIR",
        ) from e
    with pages:
        yield pages


def check_plan(
    path: Path,
    pages: Any,
    library: Library,
    capability: str,
    model: str = "DIR",
    sidecar: Sidecar | None = None,
) -> None:
    """PlanError unless this library and GPU may load `pages`, by the plan's own header and by its sidecar.

    Without a sidecar only the header speaks: flavour and version; not whether the file is whole.
    """
    build = f"edged model build {model} --engine {library.flavour}"
    try:
        version = header(bytes(pages[:64]), library.flavour)
    except PlanError as e:
        raise PlanError(f"{path}: {e.message}", hint=build) from e
    if sidecar is None:
        if not same_version(version, library.version):
            raise _other(
                path, f"was built by {NAMES[library.flavour]} {version}", f"this is {library.version}", build
            )
        return
    differences: Mapping[str, tuple[bool, str, str]] = {
        "size": (
            len(pages) != sidecar.plan_bytes,
            f"has {len(pages)} bytes",
            f"its sidecar says {sidecar.plan_bytes}: it is cut short or another file",
        ),
        "header": (
            not same_version(version, sidecar.version),
            f"says of itself that {NAMES[library.flavour]} {version} built it",
            f"its sidecar says {sidecar.version}",
        ),
        "version": (
            not sidecar.fits_version(library.version),
            f"was built by {NAMES[sidecar.engine]} {sidecar.version}",
            f"this is {library.version}",
        ),
        "capability": (
            not sidecar.fits_capability(capability),
            f"is for GPUs of capability {', '.join(sidecar.capabilities) or 'unknown'}",
            f"this one has {capability}",
        ),
    }
    for wrong, plan, here in differences.values():
        if wrong:
            raise _other(path, plan, here, build)


def _other(path: Path, plan: str, here: str, build: str) -> PlanError:
    return PlanError(f"{path}: the plan {plan}; {here}", hint=build)
