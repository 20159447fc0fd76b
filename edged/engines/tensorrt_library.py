"""TensorRT, from 10.3 to 11, its lean runtime and TensorRT-RTX: nobody else imports any of them.

They are one API with few differences, which are the table FEATURES below: code asks `Library.has`, never for a
version. A test holds every name that edged uses against the bindings of several versions, and excuses only what is in
that table.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from edged.errors import EngineError, MissingPackage

log = logging.getLogger(__name__)

_KEPT = 64  # errors; what the first ones say is the reason, and TensorRT rarely has more than three

# Flavour -> where it may be, in the order that they are tried. JetPack's has the builder; pip's packages of bindings
# bring their libraries with them, if those are installed.
_MODULES: Mapping[str, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt_bindings", "tensorrt_lean", "tensorrt_lean_bindings"),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
_REMEDIES: Mapping[str, str] = {
    "tensorrt": "on a Jetson: apt install python3-libnvinfer, and a virtual environment made with "
    "--system-site-packages; elsewhere NVIDIA's packages of the version that built the plan",
    "tensorrt-rtx": "pip install 'edged[trt-rtx]'",
}

# What some have and others lack -> the names that it comes with.
FEATURES: Mapping[str, tuple[str, ...]] = {
    # lean runtimes run plans only
    "builder": ("Builder",),
    "inspector": ("EngineInspector.execution_context", "EngineInspector.get_engine_information"),
    # from 10.7 on
    "statistics": ("EngineStat", "ICudaEngine.get_engine_stat"),
    # before 11, and not in RTX: TensorRT chooses precisions itself
    "weak typing": ("BuilderFlag.FP16", "BuilderFlag.INT8"),
    # RTX: its builder is told which GPUs
    "capabilities": (
        "ComputeCapability",
        "IBuilderConfig.num_compute_capabilities",
        "IBuilderConfig.set_compute_capability",
    ),
    # RTX: kernels are compiled on the GPU that runs them
    "kernel specialization": (
        "ICudaEngine.create_runtime_config",
        "IRuntimeConfig.set_execution_context_allocation_strategy",
        "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
        "DynamicShapesKernelSpecializationStrategy.EAGER",
    ),
}


@dataclass(frozen=True)
class Library:
    """A TensorRT of this process: one each, shared by all engines. Thread-safe.

    `version`: of the package ("10.3.0", "1.7.1.116"). `lean`: it has no builder. `logger`: an ILogger that keeps
    errors; the first one given to TensorRT is the whole process's, which is why it is here. `lock`: engines are loaded
    one at a time, since only then an error belongs to who asked, and up to 10.12 the binding lets go of the GIL before
    it has taken hold of the buffer.
    """

    module: Any
    flavour: str
    version: str
    lean: bool
    logger: Any
    lock: threading.Lock = field(default_factory=threading.Lock)

    def has(self, feature: str) -> bool:
        """Whether this one has all names of an entry of FEATURES."""
        return all(self._finds(path) for path in FEATURES[feature])

    def _finds(self, path: str) -> bool:
        found = self.module
        for name in path.split("."):
            found = getattr(found, name, None)
            if found is None:
                return False
        return True

    def __str__(self) -> str:
        return f"{self.flavour} {self.version}{' (lean)' if self.lean else ''}"


@cache
def library(flavour: str, *, build: bool = False) -> Library:
    """The TensorRT of a flavour ("tensorrt" or "tensorrt-rtx"); with `build` one that has a builder.

    MissingPackage where there is none, EngineError where it is there and cannot be loaded. Imports take a second and
    tens of MiB: call it where an engine is wanted, not to look around.
    """
    module = _import(flavour, build)
    lean = not hasattr(module, "Builder")
    return Library(module, flavour, str(module.__version__), lean, _logger(module))


def _import(flavour: str, build: bool) -> Any:
    broken: list[str] = []
    for name in _MODULES[flavour]:
        try:
            module = importlib.import_module(name)
        except ImportError as e:
            if not (isinstance(e, ModuleNotFoundError) and e.name == name):
                broken.append(f"{name}: {e}")
            continue
        if hasattr(module, "Builder") or not build:
            return module
        broken.append(f"{name} {module.__version__} is lean and builds nothing")
    if broken:
        raise EngineError(
            f"engine '{flavour}': TensorRT cannot be used: {'; '.join(broken)}", hint=_REMEDIES[flavour]
        )
    missing = MissingPackage(_MODULES[flavour][0], needed_by=f"engine '{flavour}'", extra="trt-rtx")
    missing.hint = _REMEDIES[flavour]
    raise missing


def _logger(module: Any) -> Any:
    severity = module.ILogger.Severity
    errors, warnings = (severity.INTERNAL_ERROR, severity.ERROR), (severity.WARNING,)

    class Logger(module.ILogger):  # type: ignore[misc]
        """Keeps errors for who asks, oldest first; warnings go to edged's log. Called in any thread of TensorRT's."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self._errors: deque[str] = deque(maxlen=_KEPT)

        def log(self, severity: Any, msg: str) -> None:
            if severity in errors:
                self._errors.append(msg)
                log.debug("TensorRT fails: %s", msg)
            elif severity in warnings:
                log.info("TensorRT warns: %s", msg)

        @property
        def errors(self) -> list[str]:
            return list(self._errors)

        def take(self) -> list[str]:
            """What was said since the last time."""
            said = []
            while self._errors:
                said.append(self._errors.popleft())
            return said

    return Logger()
