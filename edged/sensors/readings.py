"""What a sensor is, and what it read: plain values with stable names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import msgspec

from edged.sensors.sysfs import number

Kind = Literal[
    "temperature",
    "voltage",
    "current",
    "power",
    "load",
    "frequency",
    "throttling",
    "overcurrents",
    "fan_speed",
    "fan_duty",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNITS: Mapping[Kind, str] = {
    "temperature": "celsius",
    "voltage": "volts",
    "current": "amperes",
    "power": "watts",
    "load": "ratio",
    "frequency": "hertz",
    "throttling": "step",  # of a cooling device; speed is taken away while it is above 0
    "overcurrents": "total",  # how often the supply was too weak since boot
    "fan_speed": "rpm",
    "fan_duty": "ratio",
}


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """(kind, name) tells what was read, on every boot of a machine the same; `unit` follows from the kind.

    limit: of a temperature, where the kernel begins to slow down (its lowest passive trip point); of a frequency or
        throttling, the most there is. critical: of a temperature, where the machine ends itself.
    """

    kind: Kind
    name: str
    value: float
    unit: str
    limit: float | None = None
    critical: float | None = None


@dataclass(frozen=True, slots=True)
class Sensor:
    """Where a reading comes from: the product of the files' numbers times `scale`.

    `least`: what is not above it is no reading (a sensor that is off).
    """

    kind: Kind
    name: str
    files: tuple[Path, ...]
    scale: float = 1.0
    least: float = -math.inf
    limit: float | None = None
    critical: float | None = None

    def read(self) -> Reading | None:
        """None: it is off, or does not answer now."""
        value = self.scale
        for file in self.files:
            n = number(file)
            if n is None:
                return None
            value *= n
        if value <= self.least:
            return None
        return Reading(
            kind=self.kind,
            name=self.name,
            value=round(value, 6),
            unit=UNITS[self.kind],
            limit=self.limit,
            critical=self.critical,
        )


def read_all(sensors: Iterable[Sensor]) -> tuple[Reading, ...]:
    """Of those that answer now. May take some milliseconds: many are at the end of an I2C bus."""
    return tuple(r for s in sensors if (r := s.read()) is not None)


def of_kind(readings: Sequence[Reading], kind: Kind) -> Iterator[Reading]:
    return (r for r in readings if r.kind == kind)


def unique(sensors: Iterable[Sensor]) -> Iterator[Sensor]:
    """With a number after the name of the second and further ones of a kind that have the same."""
    seen: dict[tuple[str, str], int] = {}
    for s in sensors:
        n = seen[s.kind, s.name] = seen.get((s.kind, s.name), 0) + 1
        yield s if n == 1 else replace(s, name=f"{s.name} {n}")
