"""Which engine runs a model."""

from __future__ import annotations

from edged import registry
from edged.config.schema import ModelConfig
from edged.errors import EngineError
from edged.interfaces import Device, Engine, Stream
from edged.models.model import Model


def choose_engine(model: Model, kind: str = "auto") -> str:
    """The engine's kind for [models.X] engine = `kind`: "auto" is ONNX Runtime, the one that runs anywhere."""
    kind = "onnxruntime" if kind == "auto" else kind
    if kind not in registry.kinds("engines"):
        raise EngineError(
            f"model {model.name}: engine '{kind}' is unknown",
            hint=f"use one of: auto, {', '.join(registry.kinds('engines'))}",
        )
    return kind


def make_engine(
    model: Model, config: ModelConfig, device: Device | None = None, stream: Stream | None = None
) -> Engine:
    """Load `model` as [models.X] says, to run on `stream` of `device`; None: on the CPU, on any of its streams.

    The caller owns the engine; call it in the thread that runs it, and close it before the stream.
    """
    backend = registry.load("engines", choose_engine(model, config.engine))
    options = backend.Options() if config.options is None else config.options
    engine: Engine = backend(model, options, device, stream)
    return engine
