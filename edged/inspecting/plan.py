"""What is known of a plan: header, sidecar, and where a runtime can load it, the engine's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.doctor.child import ask
from edged.doctor.place import Place
from edged.errors import EdgedError
from edged.models.files import unreadable
from edged.models.plans import PLAN, PlanStore
from edged.models.sidecar import MAGIC, NAMES, Sidecar, header, same_version

LOAD_S = 120.0
_HEAD = 64


@dataclass(frozen=True, slots=True)
class PlanLayer:
    """One layer. `name` lists what was fused ("a + b"); `precision`: of the first output, in TensorRT's words."""

    name: str
    kind: str
    precision: str
    output: tuple[int, ...] | None
    ms: float | None = None  # on the GPU, median; None: not run, or of no name that the profiler knows


@dataclass(frozen=True, slots=True)
class PlanReport:
    """`store`: whether it is what was installed, or why not. `unloaded`: why the engine itself was not asked."""

    file: str
    engine: str
    version: str
    nbytes: int
    store: str
    sidecar: Sidecar | None
    layers: tuple[PlanLayer, ...]
    activation_bytes: int | None
    unloaded: str


def is_plan(path: Path) -> bool:
    """By its first bytes."""
    try:
        with path.open("rb") as f:
            return f.read(4) in MAGIC
    except OSError as e:
        raise unreadable(path, e) from e


def read_plan(path: Path, place: Place, *, load: bool = True, model: Path | None = None) -> PlanReport:
    """PlanError for what is no plan, ModelError for what cannot be read.

    `load`: ask the engine and run it, in a process of its own. `model`: its directory; only a plan of open shapes runs
    without.
    """
    try:
        with path.open("rb") as f:
            start, size = f.read(_HEAD), path.stat().st_size
    except OSError as e:
        raise unreadable(path, e) from e
    version, engine = header(start), MAGIC[start[:4]]
    real, root = path.resolve(), place.store.root.resolve()
    sidecar, store, strange = _in_store(real, root)
    why = "not asked for" if not load else _cannot_load(place, engine, version, sidecar) or strange
    answer: dict[str, Any] = {}
    if not why:
        try:
            words = (str(real), engine, str(root), *(() if model is None else (str(model),)))
            answer = ask("edged.inspecting.try_plan", *words, timeout_s=LOAD_S)
            why = answer["why_no_layers"]
        except EdgedError as e:
            why = e.message
    said = None if sidecar is None else sidecar.activation_bytes
    return PlanReport(
        file=str(path),
        engine=engine,
        version=version,
        nbytes=size,
        store=store,
        sidecar=sidecar,
        layers=layers_of(answer.get("layers", ()), answer.get("times", {})),
        activation_bytes=answer.get("activation_bytes", said),
        unloaded=why,
    )


def _in_store(path: Path, root: Path) -> tuple[Sidecar | None, str, str]:
    """The sidecar; what is told of the store; and why the plan is not loaded, which is code: "" for one that was
    installed in the store `root`, whole.
    """
    alone = None, "in no store: nothing but its header is known", f"it is not of the store {root}"
    if path.name != PLAN or len(path.parents) < 4:
        return alone
    store, sha256 = PlanStore(path.parents[2]), path.parents[1].name
    plan = next((p for p in store.plans(sha256) if p.path == path), None)
    if plan is None:
        broken = next((b for b in store.broken(sha256) if b.path == path.parent), None)
        return alone if broken is None else (None, broken.reason, broken.reason)
    if store.root != root:
        trusted = f"to trust that store: --state-dir {store.home}"
        return plan.sidecar, f"of another store than {root}, sealed with another key; {trusted}", trusted
    try:
        store.verify(plan)
    except EdgedError as e:
        return plan.sidecar, e.message, e.message
    return plan.sidecar, "whole: size, hash, seal and header fit", ""


def _cannot_load(place: Place, engine: str, version: str, sidecar: Sidecar | None) -> str:
    """Before a runtime is given the plan: without a driver, deserializing ends the process."""
    runtime = place.runtimes.get(engine)
    if runtime is None or runtime.broken:
        return f"{NAMES[engine]} is not here" if runtime is None else runtime.broken
    if not place.gpus:
        return "there is no GPU here"
    fits = (
        same_version(version, runtime.version) if sidecar is None else sidecar.fits_version(runtime.version)
    )
    if not fits:
        return f"it is of {NAMES[engine]} {version}; the runtime here is {runtime.version}"
    if sidecar is not None and not sidecar.fits_capability(place.capabilities[0]):
        return f"it is for capability {', '.join(sidecar.capabilities)}; the GPU here has {place.capabilities[0]}"
    return ""


def layers_of(raw: Sequence[Mapping[str, Any]], times: Mapping[str, float]) -> tuple[PlanLayer, ...]:
    """Of the inspector's words, with ms by layer; those that only the profiler knows follow.

    A plan that was built without detailed verbosity has names alone.
    """
    named = [_layer(la, times) for la in raw]
    rest = times.keys() - {la.name for la in named}
    return (*named, *(PlanLayer(n, "", "", None, ms) for n, ms in times.items() if n in rest))


def _layer(raw: Mapping[str, Any], times: Mapping[str, float]) -> PlanLayer:
    name = str(raw.get("Name", ""))
    outputs: Sequence[dict[str, Any]] = raw.get("Outputs") or [{}]
    first = outputs[0]
    shape = first.get("Dimensions")
    return PlanLayer(
        name=name,
        kind=str(raw.get("LayerType", "")),
        precision=str(first.get("Datatype") or first.get("Format/Datatype") or ""),  # in 11, in 10.3
        output=tuple(shape) if shape else None,
        ms=times.get(name),
    )
