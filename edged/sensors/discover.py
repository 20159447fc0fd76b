"""All sensors of a machine, or of a copied tree of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edged.sensors import clocks, hwmon, thermal
from edged.sensors.readings import Reading, Sensor, read_all, unique

FINDERS: Sequence[Callable[[Path], Iterable[Sensor]]] = (
    thermal.zones,
    thermal.coolings,
    hwmon.rails,
    hwmon.overcurrents,
    hwmon.fans,
    clocks.engines,
    clocks.cpus,
)


def discover(root: Path) -> tuple[Sensor, ...]:
    """Every sensor below `root`, whether it answers now or not. May take tens of milliseconds."""
    return tuple(unique(sensor for find in FINDERS for sensor in find(root)))


def look(root: Path) -> tuple[Reading, ...]:
    """What the sensors below `root` say now, for who asks once."""
    return read_all(discover(root))
