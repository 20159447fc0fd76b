"""Load and clocks: devfreq (a Jetson's GPU and its other engines) and cpufreq.

See the kernel's Documentation/ABI/testing/sysfs-class-devfreq and sysfs-devices-system-cpu. The memory's clock is
reported where it is a devfreq device; debugfs, where a Jetson has it, is root's alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edged.sensors.readings import Sensor
from edged.sensors.sysfs import number

_ADDRESS = re.compile(r"^[0-9a-f]+\.")  # of the device tree: "17000000.gpu"
_PER_MILLE = 0.001
_KHZ = 1000.0


def engines(root: Path) -> Iterator[Sensor]:
    """Of every devfreq device its clock, and of those that tell it (NVIDIA's driver of a Jetson's GPU) the load."""
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        name = _ADDRESS.sub("", folder.name)
        most = number(folder / "max_freq")
        limit = None if most is None else float(most)
        yield Sensor("frequency", name, (folder / "cur_freq",), limit=limit)
        load = folder / "device/load"
        if load.exists():
            yield Sensor("load", name, (load,), _PER_MILLE)


def cpus(root: Path) -> Iterator[Sensor]:
    """A clock for each policy: cores that share one have the name of the first."""
    for folder in sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy[0-9]*")):
        most = number(folder / "scaling_max_freq")
        name = folder.name.replace("policy", "cpu")
        limit = None if most is None else most * _KHZ
        yield Sensor("frequency", name, (folder / "scaling_cur_freq",), _KHZ, limit=limit)
