"""/sys/class/hwmon: power rails (ina3221, ina238 and others), over-current alarms of a Jetson, fans.

See the kernel's Documentation/hwmon: sysfs-interface.rst, ina3221.rst, ina238.rst. Numbers of hwmon devices change
from boot to boot, so nothing is named by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from edged.sensors.readings import Reading, Sensor, of_kind
from edged.sensors.sysfs import read

# the rail that feeds all others, by the boards' names for it
_INPUTS = ("VDD_IN", "VIN", "POM_5V_IN", "VIN_SYS_5V0", "SYS5V", "TOTAL")
_CHANNEL = re.compile(r"(?:curr|power)(\d+)_input")
# chip -> channels that are no rail: an ina3221's curr4 is the sum of its currents, its in4 the first shunt's volts
_NO_RAIL = {"ina3221": ("4",)}
_SCALES = {"in": 1e-3, "curr": 1e-3, "power": 1e-6}  # mV, mA, uW


def rails(root: Path) -> Iterator[Sensor]:
    """Volts, amperes and watts of every channel whose current or power is measured."""
    for folder in _devices(root):
        channels = {m[1] for f in folder.glob("*_input") if (m := _CHANNEL.fullmatch(f.name))}
        channels.difference_update(_NO_RAIL.get(read(folder / "name") or "", ()))
        for n in sorted(channels, key=int):
            yield from _rail(folder, n)


def _rail(folder: Path, n: str) -> Iterator[Sensor]:
    labels = (read(folder / f"{quantity}{n}_label") for quantity in ("in", "power", "curr"))
    # without one of its own, a channel has the chip's, which a device tree may give, or is called as the chip
    name = next((said for said in labels if said), "") or _chip(folder)
    volts, amperes, watts = (folder / f"{quantity}{n}_input" for quantity in _SCALES)
    if volts.exists():
        yield Sensor("voltage", name, (volts,), _SCALES["in"])
    if amperes.exists():
        yield Sensor("current", name, (amperes,), _SCALES["curr"])
    if watts.exists():
        yield Sensor("power", name, (watts,), _SCALES["power"])
    elif volts.exists():
        yield Sensor("power", name, (volts, amperes), _SCALES["in"] * _SCALES["curr"])


def overcurrents(root: Path) -> Iterator[Sensor]:
    """By alarm ("oc1"), of hwmon soctherm_oc."""
    for folder in _devices(root):
        for file in sorted(folder.glob("oc*_event_cnt")):
            yield Sensor("overcurrents", file.name.partition("_")[0], (file,))


def fans(root: Path) -> Iterator[Sensor]:
    """Rounds a minute, and what part of its power a fan is given."""
    for folder in _devices(root):
        for file in [*sorted(folder.glob("fan*_input")), folder / "rpm"]:  # the latter of NVIDIA's pwm_tach
            if file.exists():
                yield Sensor("fan_speed", _chip(folder), (file,))
        for file in sorted(folder.glob("pwm[0-9]")):
            yield Sensor("fan_duty", _chip(folder), (file,), 1 / 255)


def total_w(readings: Sequence[Reading]) -> float | None:
    """Of the whole board: its input rail; None where no rail is known to be that."""
    watts = {r.name: r.value for r in of_kind(readings, "power")}
    return next((watts[name] for name in _INPUTS if name in watts), None)


def _devices(root: Path) -> list[Path]:
    """In an order that does not depend on their numbers where the bus tells them apart."""
    found = (root / "sys/class/hwmon").glob("hwmon*")
    return sorted(found, key=lambda f: (_chip(f), str((f / "device").resolve()), len(f.name), f.name))


def _chip(folder: Path) -> str:
    return read(folder / "label") or read(folder / "name") or "hwmon"
