"""The health of every pipeline, from what the supervisor has heard and the pipelines' last results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edged.health import Health, Observation, Patience, step
from edged.pipeline import Pipeline
from edged.supervisor import Core

FIRST_GAP_S = 10.0  # one result says nothing of how soon the next is due
SILENT_GAPS = 3.0  # no result for so many usual gaps is late, if that is longer than Patience says


@dataclass(frozen=True, slots=True)
class Change:
    pipeline: str
    was: Health
    now: Health


def _told(h: Health) -> tuple[str, str]:
    """What of a health is news when it changes: why it is faulted, and which check it is degraded by."""
    if h.state == "degraded":
        return h.state, h.reason.partition(":")[0]
    return h.state, h.reason if h.state == "faulted" else ""


class Board:
    """Used by the main thread; any may read `healths`, which is replaced and never changed.

    `needs`: of each pipeline, the units that it stands on, its source first. `limited(unit)`: why it works, but not as
    asked, also of "pipeline NAME"; "": it does, or has no such thing.
    """

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        needs: Mapping[str, Sequence[str]],
        limited: Callable[[str], str] = lambda unit: "",
    ) -> None:
        self._pipelines = pipelines
        self._needs = needs
        self._limited = limited
        self.healths: Mapping[str, Health] = dict.fromkeys(pipelines, Health())

    def swap(
        self, now: float, pipelines: Mapping[str, Pipeline], needs: Mapping[str, Sequence[str]]
    ) -> list[Change]:
        """Others run from now on. A pipeline that is another than before begins anew; returns those."""
        anew = Health("starting", "configured anew", now)
        healths, changes = {}, []
        for name, pipeline in pipelines.items():
            was = self.healths.get(name)
            same = was is not None and pipeline is self._pipelines.get(name)
            healths[name] = was if was is not None and same else anew
            if was is not None and not same:
                changes.append(Change(name, was, anew))
        self._pipelines, self._needs, self.healths = pipelines, needs, healths
        return changes

    def look(self, now: float, core: Core) -> list[Change]:
        """Step every pipeline's health; `now` is CLOCK_MONOTONIC in seconds. Returns the changes that are news."""
        changes, healths = [], dict(self.healths)
        for name, was in self.healths.items():
            phase = core.phases[f"pipeline {name}"]
            if was.state in ("stopped", "faulted") and phase in ("ended", "faulted"):
                continue  # it is over: what happens to the daemon afterwards is not its story
            pipeline = self._pipelines[name]
            gap_s, patience = pipeline.usual_gap_s, Patience()
            silent_s = FIRST_GAP_S if gap_s is None else max(patience.silent_s, SILENT_GAPS * gap_s)
            silent_s = max(silent_s, SILENT_GAPS * pipeline.least_gap_s)
            patience = replace(patience, silent_s=round(silent_s, 1))
            health = step(was, now, self._observe(name, phase, pipeline, core), patience)
            healths[name] = health
            if _told(health) != _told(was):
                changes.append(Change(name, was, health))
        self.healths = healths
        return changes

    def _observe(self, name: str, phase: str, pipeline: Pipeline, core: Core) -> Observation:
        units = self._needs[name]
        source = core.recoveries.get(units[0])
        # a file that failed has still its last frames to show: then its pipeline says so
        faults = [u for u in units[1:] if core.phases[u] == "faulted"]
        if phase == "faulted" or (source is not None and source.down):
            faults.insert(0, units[0])
        last, refused = pipeline.last_result, pipeline.refused
        opening = [u for u in units if core.phases[u] == "starting"]
        faults += [u for u in units[1:] if u not in faults and (r := core.recoveries.get(u)) and r.down]
        return Observation(
            stopped="no frame comes any more" if phase == "ended" else "",
            paused=pipeline.lineage.paused,
            looping=next((r.looping for u in units if (r := core.recoveries.get(u)) and r.looping), ""),
            fault=core.reasons[faults[0]] if faults else refused.message if refused is not None else "",
            waiting=f"{opening[0]} is not open yet" if opening else "",
            result_s=None if last is None else last[0] / 1e9,
            invalid="" if last is None else last[1].reason or "",
            limited=next((said for u in (*units, f"pipeline {name}") if (said := self._limited(u))), ""),
        )
