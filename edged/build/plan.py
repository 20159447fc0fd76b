"""A model to a plan in the store: build in a process of its own, let the gate look, install."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from edged.build.events import Done, Event
from edged.build.process import run_worker
from edged.build.request import BuildError, Request
from edged.build.worker import CACHE, PLAN, cache_name
from edged.models.durable import exclusive, look_at, make_folder, remedy, replace_file
from edged.models.plans import Plan, PlanStore
from edged.models.sidecar import Sidecar

# Looks at a plan that is built and not installed (its path is in the builder's folder), and returns what it found, for
# the sidecar's `evaluation`. It refuses the plan by raising a PlanError with the reason: then nothing is installed.
Gate: TypeAlias = Callable[[Plan], Mapping[str, Any] | None]


def build_plan(
    request: Request,
    state: Path,
    on_event: Callable[[Event], None] = lambda _: None,
    gate: Gate | None = None,
) -> Plan:
    """Build what is asked for and install it in `state`/plans. Blocks for as long as it takes.

    BuildError, what the gate raises, and PlanErrors of the store: then the store is as it was before.
    """
    store = PlanStore(state / "plans")
    started = time.monotonic()
    with store.work() as folder:
        timing = state / "timing"
        done = run_worker(request, folder, on_event, timing=timing)
        note = _keep_cache(folder / CACHE, timing / cache_name(request.engine, done.version, done.gpu))
        sidecar = _sidecar(request, done, folder / PLAN, time.monotonic() - started, note)
        if gate is not None:
            found = gate(Plan(folder / PLAN, sidecar))
            sidecar = msgspec.structs.replace(sidecar, evaluation=found)
        return store.install(folder / PLAN, sidecar, link=True)


def last_build_s(request: Request, state: Path) -> float | None:
    """Seconds that the newest plan of the same file, engine and precision took; None where there is none."""
    plans = PlanStore(state / "plans").plans(request.onnx_sha256)
    same = (p.sidecar for p in plans if p.sidecar.engine == request.engine)
    return next((s.build_s for s in same if s.precision == request.precision), None)


def _sidecar(request: Request, done: Done, plan: Path, build_s: float, note: str) -> Sidecar:
    try:
        contents = look_at(plan)
    except OSError as e:
        raise BuildError(f"{plan}: the plan cannot be read: {e.strerror or e}", hint=remedy(e)) from e
    return Sidecar(
        engine=request.engine,
        version=done.version,
        gpu=done.gpu,
        capabilities=done.capabilities,
        precision=request.precision,
        profiles=request.profiles,
        onnx_sha256=request.onnx_sha256,
        plan_sha256=contents.sha256,
        plan_bytes=contents.size,
        activation_bytes=done.activation_bytes,
        weight_bytes=done.weight_bytes,
        build_s=round(build_s, 3),
        options=request.options,
        layers=done.layers,
        layers_of="engine" if done.layers_of == "engine" else "network",
        notes=(*done.notes, note) if note else done.notes,
        compatible=_compatible(request),
        built_at=time.time_ns(),
    )


def _compatible(request: Request) -> Literal["none", "version", "hardware", "version+hardware"]:
    if request.version_compatible:
        return "version+hardware" if request.hardware_compatible else "version"
    return "hardware" if request.hardware_compatible else "none"


def _keep_cache(made: Path, cache: Path) -> str:
    """For the next build. What hinders it is a note: the plan is as good without."""
    try:
        data = made.read_bytes()
        if data:
            make_folder(cache.parent)
            with exclusive(cache.parent / ".lock"):
                replace_file(cache, data)
                _forget_others(cache)
    except OSError as e:
        return f"the timing cache is not kept ({e.strerror or e}): {remedy(e)}"
    return ""


def _forget_others(cache: Path) -> None:
    """Those of other versions of the same engine: after an upgrade nothing reads them any more."""
    engine, version, _ = cache.name.split("_", 2)
    for other in cache.parent.glob(f"{engine}_*.cache"):
        if other.name.split("_")[1] != version:
            other.unlink()
