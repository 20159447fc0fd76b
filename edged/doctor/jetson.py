"""What only a Jetson has: power modes and clocks; and heat, which others have too. All from files below `root`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edged.doctor.base import Outcome, failed, not_here, passed, warned
from edged.doctor.place import Place
from edged.sensors.discover import look
from edged.sensors.hwmon import total_w
from edged.sensors.readings import of_kind
from edged.sensors.sysfs import number, read

_NEAR_C = 5.0  # to the temperature at which it slows down
_MODEL = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>")
_GPUS = ("gpu", "ga10b", "gv11b", "gp10b", "gb10b", "gpc")  # in names of devfreq devices
_MHZ = 1_000_000


def is_jetson(place: Place) -> bool:
    return place.at("/etc/nv_tegra_release").exists() or "tegra" in (
        place.read("/proc/device-tree/compatible") or ""
    )


def jetson(place: Place) -> Iterator[Outcome]:
    """Which one, and which JetPack's Linux."""
    if not is_jetson(place):
        yield not_here("this is no Jetson")
        return
    model = place.read("/proc/device-tree/model") or "a Jetson that does not tell its model"
    release = (place.read("/etc/nv_tegra_release") or "").splitlines()
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release[0]) if release else None
    if found is None:
        yield warned(f"{model}; /etc/nv_tegra_release does not tell its release", "dpkg -l nvidia-l4t-core")
    elif int(found[1]) < 36:
        yield warned(f"{model}, L4T {found[1]}.{found[2]}", "edged is made for JetPack 6 (L4T 36) and later")
    else:
        yield passed(f"{model}, L4T {found[1]}.{found[2]}")


def power_mode(place: Place) -> Iterator[Outcome]:
    """nvpmodel's: which cores and which clocks are allowed at all."""
    if not is_jetson(place):
        yield not_here("power modes are a Jetson's")
        return
    modes = {int(n): name for n, name in _MODEL.findall(place.read("/etc/nvpmodel.conf") or "")}
    status = re.search(r"pmode:(\d+)", place.read("/var/lib/nvpmodel/status") or "")
    if status is None:
        yield warned("nvpmodel has not said in which power mode it is", "sudo nvpmodel -q")
        return
    number_now = int(status[1])
    name = modes.get(number_now, "of unknown name")
    best = next((n for n, word in modes.items() if word.upper().startswith("MAXN")), None)
    cores = place.read("/sys/devices/system/cpu/online") or "?"
    text = f"power mode {number_now} ({name}), cores {cores}"
    if best is not None and number_now != best:
        yield warned(
            f"{text}: not all of it is allowed to run",
            f"sudo nvpmodel -m {best} ({modes[best]}; needs more power)",
        )
    else:
        yield passed(text)


def clocks(place: Place) -> Iterator[Outcome]:
    """Whether the GPU's and the cores' clocks are fixed (jetson_clocks), or follow the load, which costs the tail."""
    if not is_jetson(place):
        yield not_here("fixed clocks are jetson_clocks'")
        return
    devices = [d for d in sorted(place.at("/sys/class/devfreq").glob("*")) if any(g in d.name for g in _GPUS)]
    for device in devices:
        low, high, now = (number(device / f"{k}_freq") for k in ("min", "max", "cur"))
        if low is None or high is None:
            yield failed(f"GPU {device.name}: does not tell its clocks", f"ls -l {device}")
            continue
        at = f", now {now // _MHZ} MHz" if now is not None else ""
        if low == high:
            yield passed(f"GPU {device.name}: fixed at {high // _MHZ} MHz")
        else:
            text = f"GPU {device.name}: {low // _MHZ} to {high // _MHZ} MHz by load{at}: latencies vary"
            yield warned(text, "sudo jetson_clocks (until the next boot)")
    if not devices:
        yield warned("no devfreq device of a GPU", "sudo jetson_clocks --show")
    slow = []
    for policy in sorted(place.at("/sys/devices/system/cpu/cpufreq").glob("policy*")):
        low, high = number(policy / "scaling_min_freq"), number(policy / "scaling_max_freq")
        if (
            low is not None
            and high is not None
            and low < high
            and read(policy / "scaling_governor") != "performance"
        ):
            slow.append(policy.name)
    if slow:
        yield warned(f"cores ({', '.join(slow)}) follow the load", "sudo jetson_clocks (until the next boot)")


def heat(place: Place) -> Iterator[Outcome]:
    """Every thermal zone against its trip points; of any machine that has them."""
    readings = look(place.root)
    found = list(of_kind(readings, "temperature"))
    if not found:
        yield not_here("no thermal zone tells a temperature")
        return
    for z in found:
        text = f"{z.name} {z.value:.1f} °C"
        if z.critical is not None and z.value >= z.critical:
            yield failed(
                f"{text}: at {z.critical:g} °C the machine ends itself", "cool it: fan, heat sink, air"
            )
        elif z.limit is not None and z.value >= z.limit:
            yield warned(f"{text}: from {z.limit:g} °C on it is slowed down", "cool it: fan, heat sink, air")
        elif z.limit is not None and z.value >= z.limit - _NEAR_C:
            yield warned(
                f"{text}: near {z.limit:g} °C, where it is slowed down", "cool it: fan, heat sink, air"
            )
    hottest = max(found, key=lambda z: z.value)
    watts = total_w(readings)
    more = "" if watts is None else f"; {watts:.1f} W at the input"
    yield passed(f"{len(found)} zones, the hottest {hottest.name} at {hottest.value:.1f} °C{more}")


def throttling(place: Place) -> Iterator[Outcome]:
    """Cooling devices at work, and a supply that was too weak."""
    readings = look(place.root)
    found = list(of_kind(readings, "throttling"))
    active = [c for c in found if c.value > 0]
    for c in active:
        text = f"{c.name} is at step {c.value:g} of {c.limit:g}"
        yield (failed if c.limit is not None and c.value >= c.limit else warned)(
            f"{text}: it is slowed down now", "cool it, or lower the load"
        )
    for alarm in of_kind(readings, "overcurrents"):
        if alarm.value:
            yield warned(
                f"the supply was too weak {alarm.value:g} times since boot ({alarm.name})",
                "a stronger supply, or a lower power mode",
            )
    if not found:
        yield not_here("no cooling device tells its step")
    elif not active:
        yield passed(f"none of {len(found)} cooling devices is at work")
