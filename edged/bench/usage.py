"""What the process holds and has used, and how busy others are; read quickly, since frames run meanwhile."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from edged.daemon import Daemon
from edged.memory import Region

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_STATM = Path("/proc/self/statm")
_STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Clock:
    """At one moment: time, and processor time used by this process and by all."""

    at_s: float
    cpu_s: float
    all_s: float


def clock() -> Clock:
    """See proc(5) for /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal in ticks."""
    with _STAT.open() as f:
        ticks = [int(n) for n in f.readline().split()[1:9]]
    busy = sum(ticks) - ticks[3] - ticks[4]
    return Clock(time.monotonic(), time.process_time(), busy / _TICKS)


def others(a: Clock, b: Clock) -> float:
    """Processors that other processes kept busy between two moments; exact to a tick (10 ms)."""
    spent = (b.all_s - a.all_s) - (b.cpu_s - a.cpu_s)
    return round(max(0.0, spent / (b.at_s - a.at_s)), 3)


@dataclass(frozen=True, slots=True)
class Usage:
    """At one moment. `region_bytes`: admitted, plus handed out of what was admitted (high-water marks)."""

    clock: Clock
    rss_bytes: int
    region_bytes: int


def regions(daemon: Daemon) -> dict[str, Region]:
    """Each region, by its owner's name."""
    return {owner: region for u in daemon.units.values() for owner, region in u.regions.items()}


def usage(daemon: Daemon) -> Usage:
    handed_out = sum(r.used_bytes for r in regions(daemon).values())
    return Usage(
        clock=clock(),
        rss_bytes=int(_STATM.read_text().split()[1]) * _PAGE,
        region_bytes=daemon.device.budget.held + handed_out,
    )
