"""Plans for tests of the store: no plan that any TensorRT would load, but with a header like theirs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edged.models.plans import Plan, PlanStore, Sidecar

ONNX = "ab" * 32


def plan_bytes(version: str = "10.3.0.26", magic: bytes = b"ftrt", payload: bytes = b"code" * 64) -> bytes:
    """A header as TensorRT writes it (version in bytes 24 to 27), then `payload`."""
    return magic + bytes(20) + bytes(int(v) for v in version.split(".")) + payload


def sidecar_of(plan: bytes, **changes: Any) -> Sidecar:
    """What belongs to `plan`: TensorRT 10.3.0 on capability 8.7."""
    facts: dict[str, Any] = {
        "engine": "tensorrt",
        "version": "10.3.0",
        "gpu": "Orin",
        "capabilities": ("8.7",),
        "precision": "fp16",
        "profiles": ({"x": ((1, 3, 4, 6), (1, 3, 4, 6), (2, 3, 4, 6))},),
        "onnx_sha256": ONNX,
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
        "plan_bytes": len(plan),
        "build_s": 1.5,
        "built_at": 1_700_000_000_000_000_000,
    }
    return Sidecar(**{**facts, **changes})


def install(store: PlanStore, folder: Path, plan: bytes | None = None, **changes: Any) -> Plan:
    """Put a plan into the store, from a file in `folder`."""
    data = plan_bytes() if plan is None else plan
    source = folder / "built.plan"
    source.write_bytes(data)
    return store.install(source, sidecar_of(data, **changes))
