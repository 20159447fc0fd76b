"""Which engine runs a model: the one that is named, or for "auto" a TensorRT plan where one fits, else ONNX Runtime."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from edged import registry
from edged.config.schema import ModelConfig
from edged.engines._tensorrt_plan import find_plan
from edged.engines.chosen import ChosenEngine
from edged.engines.tensorrt_library import library
from edged.errors import EngineError, MissingPackage
from edged.interfaces import Device, Engine, Stream
from edged.models.model import Model
from edged.models.plans import PlanStore
from edged.models.state import plan_store

log = logging.getLogger(__name__)

ANYWHERE = "onnxruntime"  # the one that runs on every device
PLAN_ENGINES = ("tensorrt", "tensorrt-rtx")  # what "auto" prefers on a GPU


@dataclass(frozen=True, slots=True)
class Choice:
    """`kind`: of the registry. `why`: in words; "" where the configuration named it."""

    kind: str
    why: str = ""


def choose_engine(
    model: Model, kind: str = "auto", device: Device | None = None, plans: PlanStore | None = None
) -> Choice:
    """What [models.X] engine = `kind` comes to on `device` (None: the CPU) with the plans of this store.

    EngineError for a kind that is unknown.
    """
    if kind == "auto":
        return _auto(model, device, plan_store() if plans is None else plans)
    if kind not in registry.kinds("engines"):
        raise EngineError(
            f"model {model.name}: engine '{kind}' is unknown",
            hint=f"use one of: auto, {', '.join(registry.kinds('engines'))}",
        )
    return Choice(kind)


def _auto(model: Model, device: Device | None, plans: PlanStore) -> Choice:
    if device is None or device.name != "cuda":
        return Choice(ANYWHERE, f"{ANYWHERE}: the device is no GPU")
    try:
        there = {p.sidecar.engine for p in plans.plans(model.sha256)}
    except EngineError as e:  # the store is another user's
        log.warning("model %s: %s runs: %s", model.name, ANYWHERE, e)
        return Choice(ANYWHERE, f"{ANYWHERE}: {e.message}")
    if not there:
        return Choice(
            ANYWHERE, f"{ANYWHERE}: no TensorRT plan of this model (edged model build {model.path})"
        )
    reasons = []
    for kind in PLAN_ENGINES:
        if kind not in there:
            continue
        try:
            find_plan(library(kind), plans, model, device)
        except (EngineError, MissingPackage) as e:
            reasons.append(f"{kind}: {e.message}")
        else:
            return Choice(kind, f"{kind}: a plan that fits")
    return Choice(ANYWHERE, f"{ANYWHERE}: no plan fits: {'; '.join(reasons)}")


def make_engine(
    model: Model,
    config: ModelConfig,
    device: Device | None = None,
    stream: Stream | None = None,
    plans: PlanStore | None = None,
) -> Engine:
    """Load `model` as [models.X] says, to run on `stream` of `device`; None: on the CPU, on any of its streams.

    `plans`: None: the store in the default state_dir. The caller owns the engine; call it in the thread that runs it,
    and close it before the stream. Where the engine cannot be had and the configuration has a `fallback`, that one
    runs and its facts say so under "limited".
    """
    choice = choose_engine(model, config.engine, device, plans)
    # options under "auto" are ONNX Runtime's
    given = config.options if config.engine == choice.kind or choice.kind == ANYWHERE else None
    try:
        return _named(ChosenEngine(_make(choice.kind, model, given, device, stream, plans), choice.why))
    except (EngineError, MissingPackage) as e:
        if config.fallback in (None, choice.kind):
            raise
        log.warning("model %s: %s runs instead of %s: %s", model.name, config.fallback, choice.kind, e)
        limited = f"{config.fallback} instead of {choice.kind}: {e.message}"
        return ChosenEngine(_make(config.fallback, model, None, device, stream, plans), choice.why, limited)


def _named(engine: ChosenEngine) -> Engine:
    """The engine itself where there is nothing to add."""
    return engine if engine.said else engine.inner


def _make(
    kind: str,
    model: Model,
    options: Any,
    device: Device | None,
    stream: Stream | None,
    plans: PlanStore | None,
) -> Engine:
    backend = registry.load("engines", kind)
    more = {"plans": plans} if getattr(backend, "PLANS", False) else {}
    engine: Engine = backend(model, backend.Options() if options is None else options, device, stream, **more)
    return engine
