"""The configuration as frozen values. Reading and checking is in load.py; nothing here does I/O.

Paths in a loaded Config are absolute. Sizes are (width, height) in pixels. Docstrings and the `description`
of a field are what editors show (json_schema.py).
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
# an amount of memory: text with a unit or a number in the file, bytes once loaded (see walk.py)
Bytes = Annotated[int, Meta(ge=1, extra={"quantity": "bytes"}, extra_json_schema={"x-quantity": "bytes"})]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every configuration table and of every backend's Options."""


class DeviceConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[device]: who speaks. `id` is part of every topic; default: the host's name."""

    id: str = ""


class RuntimeConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[runtime]. `memory_budget` is in bytes after loading ("1 GiB" in the file); None: no limit."""

    device: Literal["auto", "cpu"] = "auto"
    memory_budget: Bytes | None = None


class BatchConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[models.X.batch]: frames of several pipelines in one inference."""

    max_size: Positive = 1  # only 1 for now: check.py
    max_wait_ms: Annotated[float, Meta(ge=0)] = 0.0


class ModelConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[models.X]: a model directory and the engine that runs it.

    `options` are those of the engine (for example engines/onnxruntime.py Options). In the file `engine` may
    be "auto"; once loaded it names the engine chosen.
    """

    path: str
    engine: str = "auto"
    instances: Annotated[int, Meta(ge=1, le=16)] = 1
    priority: int = 0
    in_flight: Annotated[int, Meta(ge=1, le=2)] | None = None  # None: 1 with a live source, else 2
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
    """A whole, checked configuration. `file` is where it came from ("" when made in memory).

    `warnings` are what is legal but surely not meant (a table that nothing uses). `origin` has the key path of
    each source that has no [sources.X] of its own.
    """

    schema: Literal[1] = 1
    file: str = ""
    device: DeviceConfig = DeviceConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    models: Mapping[str, ModelConfig] = {}
    sources: Mapping[str, Backend] = {}
    sinks: Mapping[str, Backend] = {}
    pipelines: Mapping[str, PipelineConfig] = {}
    warnings: tuple[str, ...] = ()
    origin: Mapping[str, str] = {}
