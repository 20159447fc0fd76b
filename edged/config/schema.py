"""The configuration as frozen values. Reading and checking is in load.py; nothing here does I/O.

Paths in a loaded Config are absolute. Sizes are (width, height) in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
Unit = Annotated[float, Meta(ge=0, le=1)]
Size = tuple[Positive, Positive]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every configuration table and of every backend's Options."""


class DeviceConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[device]"""

    id: str = ""  # default: the host's name


class RuntimeConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[runtime]. `memory_budget` is in bytes after loading ("1 GiB" in the file); None: no limit."""

    device: Literal["auto", "cpu"] = "auto"
    memory_budget: int | None = None


class BatchConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[models.X.batch]: frames of several pipelines in one inference."""

    max_size: Annotated[int, Meta(ge=1, le=1)] = 1
    max_wait_ms: Annotated[float, Meta(ge=0)] = 0.0


class ModelConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[models.X]. `options` are those of the engine (for example engines/onnxruntime.py Options)."""

    path: str
    engine: str = "auto"
    instances: Annotated[int, Meta(ge=1, le=16)] = 1
    priority: int = 0
    in_flight: Annotated[int, Meta(ge=1, le=2)] = 1
    batch: BatchConfig = BatchConfig()
    options: Any = None


class DeliverConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sinks.X.deliver]: "latest" keeps the newest result a pipeline; "queue" a bounded FIFO of all."""

    result: Literal["latest", "queue"] = "latest"
    queue_size: Positive = 1024


class Backend(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source or sink: its kind and that kind's Options (already checked). `deliver` is for sinks."""

    kind: str
    options: Any
    deliver: DeliverConfig = DeliverConfig()


class PipelineConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[pipelines.X]: one source through one model to its sinks; names refer to the other tables."""

    source: str
    model: str
    sinks: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()  # labels to keep; empty: all
    min_score: Unit | None = None
    min_size: Size | None = None  # smallest box to keep
    deadline_ms: PositiveFloat | None = None


class Config(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole, checked configuration. `file` is where it came from ("" when made in memory)."""

    schema: Literal[1] = 1
    file: str = ""
    device: DeviceConfig = DeviceConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    models: Mapping[str, ModelConfig] = {}
    sources: Mapping[str, Backend] = {}
    sinks: Mapping[str, Backend] = {}
    pipelines: Mapping[str, PipelineConfig] = {}
