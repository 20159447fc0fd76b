"""What is seen of the parts of a running daemon, as the values of a Snapshot. Any thread; nothing is held up."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edged.health import Health
from edged.metrics import ModelUse, PipelineCounts, PressureUse, RegionUse, SinkCounts, Snapshot, SourceUse
from edged.parts import Parts
from edged.pipeline import Pipeline
from edged.runner import Runner
from edged.sensors.readings import Reading
from edged.sinks.worker import SinkWorker
from edged.sources.unit import SourceUnit
from edged.supervisor import Core
from edged.units import Unit


def observe(
    parts: Parts,
    core: Core,
    healths: Mapping[str, Health],
    *,
    at: int,
    wall_s: float,
    sensors: tuple[Reading, ...],
    pressure: PressureUse,
    errors: tuple[str, ...],
) -> Snapshot:
    return Snapshot(
        at=at,
        wall_s=wall_s,
        pipelines={n: pipeline_counts(p, healths.get(n, Health())) for n, p in parts.pipelines.items()},
        sources={n.removeprefix("source "): source_use(u, core) for n, u in parts.sources.items()},
        sinks={n: sink_counts(_phase(core, f"sink {n}"), w) for n, w in parts.sinks.items()},
        regions={k: v for u in parts.units.values() for k, v in region_uses(u).items()},
        models={n.removeprefix("model "): model_use(r, core) for n, r in parts.runners.items()},
        sync_groups={n: g.counts() for n, g in parts.sync_groups.items()},
        sensors=sensors,
        pressure=pressure,
        errors=errors,
    )


def _phase(core: Core, unit: str) -> str:
    """What a change has just brought, or taken away, has none for a moment."""
    return core.phases.get(unit, "starting")


def pipeline_counts(pipeline: Pipeline, health: Health) -> PipelineCounts:
    return msgspec.structs.replace(pipeline.counts(), state=health.state, reason=health.reason)


def model_use(runner: Runner, core: Core) -> ModelUse:
    return ModelUse(state=_phase(core, runner.name), facts=dict(runner.facts))


def source_use(unit: SourceUnit, core: Core) -> SourceUse:
    recovery, spec, phase = core.recoveries.get(unit.name), unit.spec, _phase(core, unit.name)
    down = phase == "faulted" or (recovery is not None and recovery.down)
    return SourceUse(
        state="faulted" if down else phase,
        reason=core.reasons.get(unit.name, "") if down else "",
        frame="" if spec is None else f"{spec.width}x{spec.height} {spec.format.value}",
        faults=0 if recovery is None else recovery.faults,
        facts=dict(getattr(unit.source, "facts", {})),
    )


def region_uses(unit: Unit) -> dict[str, RegionUse]:
    """By owner: the unit's own, and what it allocated for others."""
    uses = {}
    for owner, region in unit.regions.items():
        slots = unit.leased if isinstance(unit, SourceUnit) and owner == unit.name else None
        use = (0, 0) if slots is None else (len(slots), slots.high_water)
        uses[owner] = RegionUse(region.nbytes, region.used_bytes, *use)
    return uses


def sink_counts(state: str, w: SinkWorker) -> SinkCounts:
    return SinkCounts(state=state, **w.counts())
