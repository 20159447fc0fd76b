"""What a plan says about itself: the sidecar beside it, and the header in it. Nothing here does I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from edged.errors import EngineError

Flavour = Literal["tensorrt", "tensorrt-rtx"]
Precision = Literal["fp32", "fp16", "best"]
Shape = tuple[int, ...]
Range = tuple[Shape, Shape, Shape]  # min, opt, max
Profile = Mapping[str, Range]  # input -> the shapes it may have

FORMAT = 1
NAMES: dict[str, str] = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
MAGIC: dict[bytes, Flavour] = {b"ftrt": "tensorrt", b"vtrt": "tensorrt-rtx"}
_VERSION = slice(24, 28)


class PlanError(EngineError):
    """A plan that is absent, is not whole, or is for another runtime or GPU."""


class Sidecar(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a plan. None: could not be known where it was built.

    engine, version: of the builder ("10.3.0"). gpu: the name of the one it was built on; None: on none.
    capabilities: of the GPUs it is for, as ("8.7",). compatible: also with newer versions of the same major, with
        other GPUs from Ampere on ("hardware"), or both.
    profiles: one mapping an optimization profile; input -> (min, opt, max) shapes.
    options: what else changed the plan. layers: precision -> how many; layers_of: of the engine, or of the network
        before fusion where the engine cannot be asked. notes: for people. evaluation: what the agreement gate found.
    sequence: the store's own count of what was installed of this ONNX file: the greatest is the last.
    Sizes are in bytes, build_s in seconds, built_at in ns UTC.
    """

    format: int = FORMAT
    engine: Flavour
    version: str
    gpu: str | None
    capabilities: tuple[str, ...]
    precision: Precision
    profiles: tuple[Profile, ...]
    onnx_sha256: str
    plan_sha256: str
    plan_bytes: int
    activation_bytes: int | None = None
    weight_bytes: int | None = None
    build_s: float
    options: Mapping[str, Any] = {}
    layers: Mapping[str, int] | None = None
    layers_of: Literal["engine", "network"] | None = None
    notes: tuple[str, ...] = ()
    compatible: Literal["none", "version", "hardware", "version+hardware"] = "none"
    built_at: int
    sequence: int = 0
    evaluation: Mapping[str, Any] | None = None

    def fits_version(self, version: str) -> bool:
        """Whether a runtime of `version` may load it: the same one, or a newer of its major where that was asked for.

        Only as many numbers are compared as both have: the package says "10.3.0", the library "10.3.0.26".
        """
        if same_version(self.version, version):
            return True
        own, other = numbers(self.version), numbers(version)
        return "version" in self.compatible and own[:1] == other[:1] and own < other

    def fits_capability(self, capability: str) -> bool:
        """Whether a GPU of `capability` ("8.7") may run it."""
        if capability in self.capabilities:
            return True
        return "hardware" in self.compatible and numbers(capability) >= (8, 0)

    @property
    def dla(self) -> int | None:
        """The core of the deep learning accelerator that it was built for; None: for the GPU."""
        core = self.options.get("dla")
        return core if isinstance(core, int) else None

    def holds(self, shapes: Mapping[str, Shape]) -> bool:
        """Whether a profile takes inputs of these shapes. What no profile names has the file's shape."""
        return not self.profiles or any(
            all(_within(shapes[name], range_) for name, range_ in profile.items() if name in shapes)
            for profile in self.profiles
        )

    def __str__(self) -> str:
        """The short of it, for messages."""
        where = ", ".join(self.capabilities) or "unknown"
        more = "" if self.compatible == "none" else f", compatible by {self.compatible.replace('+', ' and ')}"
        dla = "" if self.dla is None else f", DLA core {self.dla}"
        return f"{NAMES[self.engine]} {self.version}, capability {where}, {self.precision}{dla}{more}"


def _within(shape: Shape, range_: Range) -> bool:
    low, _, high = range_
    return len(shape) == len(low) and all(a <= s <= b for a, s, b in zip(low, shape, high, strict=True))


def numbers(version: str) -> tuple[int, ...]:
    """("10.3.0") -> (10, 3, 0); what follows the first part that is no number does not count."""
    found = []
    for part in version.split("."):
        if not (part.isascii() and part.isdigit()):
            break
        found.append(int(part))
    return tuple(found)


def same_version(a: str, b: str) -> bool:
    """Whether two versions agree in as many numbers as both have."""
    one, two = numbers(a), numbers(b)
    shared = min(len(one), len(two))
    return shared > 0 and one[:shared] == two[:shared]


def fingerprint(sidecar: Sidecar) -> str:
    """32 hexadecimal digits of what makes a plan another plan: building the same again replaces the one before."""
    s = sidecar
    what = (s.onnx_sha256, s.engine, s.version, s.gpu, s.capabilities, s.precision, s.profiles, s.options)
    text = msgspec.json.encode((*what, s.compatible), order="deterministic")
    return hashlib.sha256(text).hexdigest()[:32]


def header(buffer: bytes | bytearray | memoryview, engine: str | None = None) -> str:
    """The version ("10.3.0.26") in the first bytes of a plan, which may be all there is of it in `buffer`.

    PlanError for what is no plan, and for one of another flavour where `engine` is given.
    """
    start = bytes(memoryview(buffer)[: _VERSION.stop])
    flavour = MAGIC.get(start[:4])
    if flavour is None or len(start) < _VERSION.stop:
        raise PlanError(
            f"not a TensorRT plan: it begins with {start[:8].hex(' ') or 'nothing'}",
            hint="build one with edged model build DIR",
        )
    version = ".".join(str(b) for b in start[_VERSION])
    if engine is not None and engine != flavour:
        raise PlanError(
            f"a plan of {NAMES[flavour]} {version}, not of {NAMES.get(engine, engine)}",
            hint=f"edged model build DIR --engine {engine}",
        )
    return version
