"""How far a machine must hold back: one pure function of what its sensors and its deadlines say, on any clock.

    evidence over a limit for hold_s ──► level + 1 ──► … ──► level - 1 ◄── no evidence at all for calm_s

A level stands for one step: the pipelines of the lowest priority take every 2nd frame, then every 3rd, and so on to
every `max_every`-th; then those of the next priority begin. So a pipeline is never thinned more than one of a lower
priority.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from edged.config.schema import Cause, PressureConfig
from edged.sensors.readings import Reading, of_kind

_POWER_BACK = 0.9  # a rail must fall below this part of its limit
_LATE_BACK = 0.5  # and the share of late results below this part of theirs


@dataclass(frozen=True, slots=True)
class Late:
    """Of a pipeline: the share of results, 0 to 1, that were older than `deadline_ms`."""

    share: float
    deadline_ms: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at one moment.

    `late`: by pipeline. `alarms`: how many of a supply that was too weak since the moment before, by name.
    """

    readings: Sequence[Reading] = ()
    late: Mapping[str, Late] = field(default_factory=dict)
    alarms: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something near its limit, which forbids calm, or `over` it. `size`: in parts of the limit."""

    text: str
    over: bool
    size: float


def _heat(facts: Facts, c: PressureConfig) -> Iterator[Evidence]:
    for zone in of_kind(facts.readings, "temperature"):
        trip = None if zone.limit is None else zone.limit - c.heat_margin
        limit = c.celsius.get(zone.name, trip)
        if limit is not None and limit > 0 and zone.value > limit - c.hysteresis:
            text = f"{zone.name} at {zone.value:.1f} °C, limit {limit:g} °C"
            yield Evidence(text, zone.value >= limit, zone.value / limit)


def _power(facts: Facts, c: PressureConfig) -> Iterator[Evidence]:
    for rail in of_kind(facts.readings, "power"):
        limit = c.watts.get(rail.name, math.inf)
        if rail.value > limit * _POWER_BACK:
            text = f"{rail.name} at {rail.value:.1f} W, limit {limit:g} W"
            yield Evidence(text, rail.value >= limit, rail.value / limit)
    for name, count in facts.alarms.items():
        if count > 0:
            yield Evidence(f"the supply was too weak ({name})", True, math.inf)


def _late(facts: Facts, c: PressureConfig) -> Iterator[Evidence]:
    for name, late in facts.late.items():
        if late.share > c.late_share * _LATE_BACK:
            text = f"{late.share:.0%} of the results of pipeline {name} older than {late.deadline_ms:g} ms"
            size = late.share / c.late_share if c.late_share else math.inf
            yield Evidence(f"{text}, limit {c.late_share:.0%}", late.share > c.late_share, size)


_CAUSES: Mapping[Cause, Callable[[Facts, PressureConfig], Iterable[Evidence]]] = {
    "heat": _heat,
    "power": _power,
    "deadlines": _late,
}


def worst(facts: Facts, c: PressureConfig) -> Evidence | None:
    """What is farthest over its limit, or nearest to it; None: all is calm."""
    found = (e for cause in c.causes for e in _CAUSES[cause](facts, c))
    return max(found, key=lambda e: (e.over, e.size), default=None)


@dataclass(frozen=True, slots=True)
class Pressure:
    """`level`: steps taken, 0 for none. `reason`: why the last step up was taken, "" at level 0.

    `changed_s`: when the level changed last; `pressed_s`: when there was evidence last.
    """

    level: int = 0
    reason: str = ""
    changed_s: float = -math.inf
    pressed_s: float = -math.inf


def step(p: Pressure, now: float, facts: Facts, most: int, c: PressureConfig) -> Pressure:
    """The pressure at `now` (seconds, never falls): at most one level from `p`. `most`: levels that there are."""
    evidence = worst(facts, c)
    pressed_s = p.pressed_s if evidence is None else now
    if p.level > most:  # pipelines have gone
        return replace(p, level=most, reason=p.reason if most else "", changed_s=now, pressed_s=pressed_s)
    if evidence is not None and evidence.over and p.level < most and now - p.changed_s >= c.hold_s:
        return Pressure(p.level + 1, evidence.text, now, now)
    if p.level and now - max(p.changed_s, pressed_s) >= c.calm_s:
        return Pressure(p.level - 1, p.reason if p.level > 1 else "", now, pressed_s)
    return replace(p, pressed_s=pressed_s)


def levels(priorities: Iterable[int], c: PressureConfig) -> int:
    """How many levels there are for pipelines of these priorities."""
    return len(set(priorities)) * (c.max_every - 1)


def every(level: int, priorities: Mapping[str, int], c: PressureConfig) -> dict[str, int]:
    """Of how many frames each pipeline takes one, at a level; 1: all."""
    per_class = c.max_every - 1
    ranks = {priority: rank for rank, priority in enumerate(sorted(set(priorities.values())))}
    return {
        name: 1 + min(per_class, max(0, level - ranks[priority] * per_class))
        for name, priority in priorities.items()
    }


def ordinal(n: int) -> str:
    """2 as "2nd"."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
