"""/sys/class/thermal: zones with their trip points, and the devices that cool by taking speed away.

See the kernel's Documentation/ABI/testing/sysfs-class-thermal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edged.sensors.readings import Sensor
from edged.sensors.sysfs import number, read

_OFF_C = -40.0  # and below: a Jetson's zone that sleeps with what it measures
_ENDS = ("critical", "hot")
# cooling devices that cool without taking speed away
_HARMLESS = ("fan", "pwm", "tc358")


def zones(root: Path) -> Iterator[Sensor]:
    for folder in _numbered(root, "thermal_zone"):
        trips = list(_trips(folder))
        yield Sensor(
            "temperature",
            read(folder / "type") or folder.name,
            (folder / "temp",),
            0.001,
            least=_OFF_C,
            limit=min((t for kind, t in trips if kind == "passive"), default=None),
            critical=min((t for kind, t in trips if kind in _ENDS), default=None),
        )


def _trips(folder: Path) -> Iterator[tuple[str, float]]:
    for kind in sorted(folder.glob("trip_point_*_type")):
        milli = number(folder / kind.name.replace("_type", "_temp"))
        if milli is not None and milli > 0:  # 0 and below: not set
            yield read(kind) or "", milli / 1000


def coolings(root: Path) -> Iterator[Sensor]:
    for folder in _numbered(root, "cooling_device"):
        name, most = read(folder / "type") or folder.name, number(folder / "max_state")
        if most is not None and not any(word in name.lower() for word in _HARMLESS):
            yield Sensor("throttling", name, (folder / "cur_state",), limit=float(most))


def _numbered(root: Path, prefix: str) -> list[Path]:
    """In the order of their numbers: names that repeat are numbered by it."""
    found = (root / "sys/class/thermal").glob(f"{prefix}[0-9]*")
    return sorted(found, key=lambda f: (len(f.name), f.name))
