"""Holds live pipelines back as far as the pressure says: feeds pressure.py, and tells pipelines what they take."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edged.config.schema import PressureConfig
from edged.metrics import PressureUse
from edged.pipeline import Pipeline
from edged.pressure import Facts, Late, Pressure, every, levels, ordinal, step
from edged.sensors.readings import Reading, of_kind
from edged.sensors.thread import Sensors

LEAST = 5  # results by which a share of late ones may be judged
PATIENT = 4  # windows that a slow pipeline has to give so many

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class News:
    """A step that was taken: an event of the unit "pressure"."""

    state: Literal["degraded", "running"]
    reason: str


class Thinner:
    """Used by the main thread; `use` may be read by any. `sensors` are read, not owned.

    `options` may be replaced while it works, and so may the pipelines from one look to the next.
    """

    def __init__(self, options: PressureConfig, sensors: Sensors) -> None:
        self.options = options
        self.sensors = sensors
        self.use = PressureUse()
        self._pressure = Pressure()
        self._alarms: dict[str, float] = {}  # counts since boot, as they were seen last
        self._windows: dict[str, Window] = {}
        self._checked: PressureConfig | None = None  # whose sensors were looked for

    def limited(self, unit: str) -> str:
        """Of "pipeline NAME": how far it is held back, and why; "": not at all."""
        n = self.use.every.get(unit.removeprefix("pipeline "), 1)
        return f"every {ordinal(n)} frame: {self.use.reason}" if n > 1 else ""

    def look(self, now: float, pipelines: Mapping[str, Pipeline]) -> list[News]:
        """Judge what is known at `now` (CLOCK_MONOTONIC, s), and let pipelines skip accordingly.

        Returns the step that was taken, if one was.
        """
        readings = self.sensors.readings
        self._tell_missing(readings)
        priorities = _priorities(pipelines)
        facts = Facts(readings, self._late(now, pipelines), self._new_alarms(readings))
        most = levels(priorities.values(), self.options)
        was, self._pressure = self._pressure, step(self._pressure, now, facts, most, self.options)
        level, reason = self._pressure.level, self._pressure.reason
        before, after = self.use.every, every(level, priorities, self.options)
        self.use = PressureUse(level=level, most=most, reason=reason, every=after)
        for name, n in after.items():
            pipelines[name].thin(n)
        if level == was.level:
            return []
        self._windows.clear()  # what was counted at another level says nothing of this one
        why = reason
        if was.level > most:
            why = "there are fewer pipelines to hold back"
        elif level < was.level:
            why = f"nothing near a limit for {self.options.calm_s:g} s"
        news = self._news({n: k for n, k in after.items() if before.get(n, 1) != k}, why)
        log.warning("pressure: %s", news.reason)
        return [news]

    def _news(self, changed: Mapping[str, int], why: str) -> News:
        """`changed`: pipelines and the new n of "every nth frame"."""
        said = "; ".join(
            f"{'pipeline' if len(names) == 1 else 'pipelines'} {', '.join(names)}: "
            + (f"every {ordinal(n)} frame" if n > 1 else "every frame again")
            for n in sorted(set(changed.values()))
            if (names := [name for name, k in changed.items() if k == n])
        )
        return News("degraded" if self._pressure.level else "running", f"{said}: {why}" if said else why)

    def _new_alarms(self, readings: Sequence[Reading]) -> dict[str, int]:
        """Over-current alarms since the look before; those of before the first look are history."""
        new = {}
        for r in of_kind(readings, "overcurrents"):
            new[r.name] = int(r.value - self._alarms.get(r.name, r.value))
            self._alarms[r.name] = r.value
        return new

    def _late(self, now: float, pipelines: Mapping[str, Pipeline]) -> dict[str, Late]:
        """What the last whole window of each live pipeline with a deadline said."""
        shares, windows = {}, {}
        for name, p in pipelines.items():
            if not p.live or p.config.deadline_ms is None:
                continue
            inferred, late = p.inferred, p.late
            window = self._windows.get(name)
            if window is None or window.inferred > inferred:  # a pipeline of that name is new
                window = Window(now, inferred, late)
            windows[name] = window
            window.look(now, inferred, late, self.options.hold_s)
            shares[name] = Late(window.share, p.config.deadline_ms)
        self._windows = windows
        return shares

    def _tell_missing(self, readings: Sequence[Reading]) -> None:
        """Once, with the first readings: that a limit is on a sensor which is not there, nobody would notice."""
        if not readings or self._checked is self.options:
            return
        self._checked = self.options
        for key, kind, limits in (
            ("celsius", "temperature", self.options.celsius),
            ("watts", "power", self.options.watts),
        ):
            there = [r.name for r in readings if r.kind == kind]
            for name in limits:
                if name not in there:
                    log.warning(
                        "pressure.%s: no sensor '%s' answers now; there are: %s",
                        key,
                        name,
                        ", ".join(there) or "none",
                    )


@dataclass(slots=True)
class Window:
    """Late results are counted in windows, one after the other; `share` is that of the last one."""

    since_s: float
    inferred: int
    late: int
    share: float = 0.0

    def look(self, now: float, inferred: int, late: int, window_s: float) -> None:
        """Ends the window when it is over. `inferred` and `late` count since the start of the pipeline."""
        results, waited_s = inferred - self.inferred, now - self.since_s
        if waited_s < window_s or (results < LEAST and waited_s < PATIENT * window_s):
            return
        # the two are read without holding up a runner, which may come in between
        self.share = min(1.0, (late - self.late) / results) if results else 0.0
        self.since_s, self.inferred, self.late = now, inferred, late


def _priorities(pipelines: Mapping[str, Pipeline]) -> dict[str, int]:
    """Of those that can be thinned. Members of a sync group have that of its highest: sets stay whole."""
    live = {name: p.config for name, p in pipelines.items() if p.live and p.state not in ("ended", "faulted")}
    groups: dict[str, int] = {}
    for config in live.values():
        if config.sync_group is not None:
            groups[config.sync_group] = max(config.priority, groups.get(config.sync_group, config.priority))
    return {
        name: config.priority if config.sync_group is None else groups[config.sync_group]
        for name, config in live.items()
    }
