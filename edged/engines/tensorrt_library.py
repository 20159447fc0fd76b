"""The only place that imports a TensorRT."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from edged.errors import MissingPackage


@dataclass(frozen=True, slots=True)
class Library:
    """A TensorRT: its module, flavour and version; `logger` keeps what went wrong (`take()`)."""

    module: Any
    flavour: str
    version: str
    lean: bool
    logger: Any


def library(flavour: str, *, build: bool = False) -> Library:
    """The TensorRT of this process. MissingPackage where it is absent."""
    name = "tensorrt"
    try:
        if flavour == "tensorrt-rtx":
            importlib.import_module("tensorrt_rtx_libs")
            name = "tensorrt_rtx_bindings"
        module = importlib.import_module(name)
    except ImportError as e:
        raise MissingPackage(name, needed_by=f"engine '{flavour}'", extra="trt-rtx") from e

    class Logger(module.ILogger):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Library(module, flavour, module.__version__, False, Logger())
