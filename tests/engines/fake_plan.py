"""Plans of the fake TensorRT (fake_tensorrt.py): a header as the real ones have it, what is known of the engine, and
the ONNX file that ONNX Runtime computes with in its place.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edged.models.files import sha256_of
from edged.models.plans import Plan, PlanStore, Sidecar

MAGIC = {"tensorrt": b"ftrt", "tensorrt-rtx": b"vtrt"}
VERSIONS = {"tensorrt": "10.3.0", "tensorrt-rtx": "1.7.1.116"}
CAPABILITY = "9.0"  # the stand-in driver's GPU


@dataclass(frozen=True)
class PlanFacts:
    """What TensorRT would have put into the plan. `profiles`: input -> (min, opt, max), one mapping each."""

    capability: str = CAPABILITY
    weights: int = 4096
    activations: int = 8192
    aux_streams: int = 0
    host_code: bool = False
    profiles: list[dict[str, list[list[int]]]] = field(default_factory=list)


def pack(onnx: bytes, flavour: str = "tensorrt", version: str = "", facts: PlanFacts | None = None) -> bytes:
    """The bytes of a plan."""
    numbers = [int(n) for n in (version or VERSIONS[flavour]).split(".")]
    header = MAGIC[flavour] + bytes(20) + bytes([*numbers, 26][:4])
    told = json.dumps(asdict(facts or PlanFacts())).encode()
    body = len(told).to_bytes(4, "little") + told + onnx
    return header + hashlib.sha256(body).digest()[:8] + body


def unpack(plan: bytes) -> tuple[PlanFacts, bytes] | None:
    """What is in a plan; None where it is damaged."""
    digest, body = plan[28:36], plan[36:]
    if hashlib.sha256(body).digest()[:8] != digest:
        return None
    length = int.from_bytes(body[:4], "little")
    return msgspec.json.decode(body[4 : 4 + length], type=PlanFacts), body[4 + length :]


def sidecar(onnx: Path, plan: bytes, flavour: str = "tensorrt", **changes: Any) -> Sidecar:
    """What belongs to `plan` in the store."""
    found: dict[str, Any] = {
        "engine": flavour,
        "version": VERSIONS[flavour],
        "gpu": "Stand-in 0",
        "capabilities": (CAPABILITY,),
        "precision": "fp32",
        "profiles": (),
        "onnx_sha256": sha256_of(onnx),
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
        "plan_bytes": len(plan),
        "build_s": 0.1,
        "built_at": 1_700_000_000_000_000_000,
    }
    return Sidecar(**{**found, **changes})


def install(
    store: PlanStore, onnx: Path, flavour: str = "tensorrt", facts: PlanFacts | None = None, **changes: Any
) -> Plan:
    """Build a plan of `onnx` and put it into the store."""
    version = changes.get("version", "")
    plan = pack(onnx.read_bytes(), flavour, version, facts)
    source = onnx.with_suffix(".built")
    source.write_bytes(plan)
    return store.install(source, sidecar(onnx, plan, flavour, **changes))
