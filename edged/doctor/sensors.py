"""Temperatures, throttling and power from sysfs. What is absent is absent, never zero; `root` may be a copied tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edged.doctor.place import number, read

_HOT_TRIPS = ("critical", "hot")
# cooling devices that cool without taking speed away
_HARMLESS = ("fan", "pwm", "tc358")
_TOTALS = ("VDD_IN", "VIN", "POM_5V_IN", "VIN_SYS_5V0", "SYS5V", "TOTAL")  # the rail that feeds all others


@dataclass(frozen=True, slots=True)
class Zone:
    """A thermal zone, in degrees Celsius. `slows_at`, `ends_at`: lowest passive, and hot or critical trip point."""

    name: str
    celsius: float
    slows_at: float | None = None
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class Cooling:
    """A device that takes speed away while `now` is above 0."""

    name: str
    now: int
    most: int


def zones(root: Path) -> list[Zone]:
    """Those that give a temperature now (some of a Jetson's sleep with what they measure)."""
    found = []
    for folder in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        milli = number(folder / "temp")
        if milli is None or milli <= -40_000:  # a sensor that is off
            continue
        trips = list(_trips(folder))
        slows = [t for kind, t in trips if kind == "passive"]
        ends = [t for kind, t in trips if kind in _HOT_TRIPS]
        name = read(folder / "type") or folder.name
        found.append(Zone(name, milli / 1000, min(slows, default=None), min(ends, default=None)))
    return found


def _trips(folder: Path) -> Iterator[tuple[str, float]]:
    for kind in sorted(folder.glob("trip_point_*_type")):
        milli = number(folder / kind.name.replace("_type", "_temp"))
        if milli is not None and milli > 0:  # 0 and below: not set
            yield read(kind) or "", milli / 1000


def coolings(root: Path) -> list[Cooling]:
    """Those that may slow something down."""
    found = []
    for folder in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        name = read(folder / "type") or folder.name
        now, most = number(folder / "cur_state"), number(folder / "max_state")
        if now is None or most is None or any(word in name.lower() for word in _HARMLESS):
            continue
        found.append(Cooling(name, now, most))
    return found


def overcurrents(root: Path) -> dict[str, int]:
    """How often a Jetson's supply was too weak since boot, by alarm ("oc1"); hwmon soctherm_oc."""
    return {
        f.name.split("_")[0]: n
        for f in sorted((root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt"))
        if (n := number(f)) is not None
    }


def power_w(root: Path) -> dict[str, float]:
    """Watts by rail: from INA monitors in volts and amperes (ina3221, ina238), or from power*_input."""
    found: dict[str, float] = {}
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        for label in sorted(folder.glob("in*_label")):
            n = label.name[2:].partition("_")[0]
            mv, ma = number(folder / f"in{n}_input"), number(folder / f"curr{n}_input")
            name = read(label)
            if name and mv is not None and ma is not None:
                found[name] = mv * ma / 1e6
        for file in sorted(folder.glob("power*_input")):
            micro = number(file)
            name = (
                read(folder / file.name.replace("_input", "_label")) or read(folder / "name") or folder.name
            )
            if micro is not None:
                found.setdefault(name, micro / 1e6)
    return found


def total_w(root: Path) -> float | None:
    """Of the whole board: its input rail; None where no rail is known to be that."""
    rails = power_w(root)
    return next((rails[name] for name in _TOTALS if name in rails), None)
