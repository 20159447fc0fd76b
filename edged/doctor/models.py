"""Model directories, and the plans in the store against the runtimes and GPUs of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edged.config.schema import ModelConfig
from edged.doctor.base import Outcome, failed, not_here, passed, refused, warned
from edged.doctor.place import Place
from edged.engines._tensorrt_plan import wanted
from edged.engines.choose import PLAN_ENGINES
from edged.errors import ConfigError, EdgedError
from edged.memory import format_bytes
from edged.models.load import check_hash, load_model
from edged.models.model import Model
from edged.models.plans import Plan, PlanStore


def models(place: Place) -> Iterator[Outcome]:
    """Each model directory that the configuration names: read, and its file's hash compared."""
    if place.config is None:
        yield not_here("no configuration was given", "edged model verify DIR looks at one model")
        return
    for name, entry in place.config.models.items():
        try:
            model = load_model(Path(entry.path))
            check_hash(model.file, model.sha256)
        except ConfigError as e:
            yield from (failed(f"{name}: {e.file}: {p.text}", p.hint) for p in e.problems)
        except EdgedError as e:
            yield failed(f"{name}: {e.message}", e.hint)
        else:
            size = format_bytes(model.file.stat().st_size)
            version = f" {model.version}" if model.version else ""
            yield passed(f"{name}: {model.name}{version}, {model.file.name} {size}, sha256 fits")


def plans(place: Place) -> Iterator[Outcome]:
    """Each model that TensorRT is to run has a plan that fits; then every other plan of the store.

    Without a configuration, or for models that it does not name, only the second.
    """
    used: set[Path] = set()
    seen: set[str] = set()
    if place.config is not None:
        for name, entry in place.config.models.items():
            try:
                model = load_model(Path(entry.path))
            except EdgedError:  # the check of the models tells
                continue
            seen.add(model.sha256)
            if entry.engine in PLAN_ENGINES:
                yield _milder(_wanted(place, name, model, entry, used), entry.fallback)
    for sha256 in dict.fromkeys([*seen, *place.store.models()]):
        for broken in place.store.broken(sha256):
            yield failed(
                f"{broken.path}: {broken.reason}",
                f"rm -r {broken.path}; then edged model build DIR builds it again",
            )
        for plan in place.store.plans(sha256):
            if plan.path not in used:
                yield _other(place, plan)


def _wanted(place: Place, name: str, model: Model, entry: ModelConfig, used: set[Path]) -> Outcome:
    """The plan that the daemon would load."""
    engine, gpu, options = entry.engine, entry.gpu, entry.options
    runtime = place.runtimes.get(engine)
    if runtime is None or runtime.broken or gpu >= len(place.capabilities):
        lacks = "GPU" if runtime is not None and not runtime.broken else engine
        return failed(
            f"{name}: wants {engine}, and there is no {lacks} to look for a plan for", f"see {lacks} above"
        )
    try:
        plan = place.store.find(
            model.sha256, engine, runtime.version, place.capabilities[gpu], **wanted(model, options)
        )
    except EdgedError as e:
        return refused(e)
    used.add(plan.path)
    return _verified(place.store, plan) or passed(
        f"{name}: {plan.sidecar} ({plan.path.parent.name}) is whole and fits"
    )


def _milder(outcome: Outcome, fallback: str | None) -> Outcome:
    """With a fallback the daemon runs all the same, degraded."""
    if outcome.state != "fail" or fallback is None:
        return outcome
    return warned(f"{outcome.text}; {fallback} runs in its place", outcome.remedy)


def _other(place: Place, plan: Plan) -> Outcome:
    """One that nothing asks for: whole or not, and whether it could be loaded here."""
    s = plan.sidecar
    bad = _verified(place.store, plan)
    if bad is not None:
        return bad
    runtime = place.runtimes.get(s.engine)
    if runtime is None or runtime.broken:
        return not_here(f"{plan.path}: {s}: whole; there is no {s.engine} here to run it with")
    if not s.fits_version(runtime.version):
        return warned(f"{plan.path}: {s}: the runtime here is {runtime.version}", _rebuild(plan))
    if not place.capabilities:
        return not_here(f"{plan.path}: {s}: whole; there is no GPU here to run it on")
    if not any(s.fits_capability(c) for c in place.capabilities):
        return warned(f"{plan.path}: {s}: the GPU here has {', '.join(place.capabilities)}", _rebuild(plan))
    return passed(f"{plan.path}: {s}: whole, fits")


def _verified(store: PlanStore, plan: Plan) -> Outcome | None:
    """None: it is what was installed."""
    try:
        store.verify(plan)
    except EdgedError as e:
        return refused(e)
    return None


def _rebuild(plan: Plan) -> str:
    return f"edged model build DIR --engine {plan.sidecar.engine}; or, if nobody needs it: rm -r {plan.path.parent}"
