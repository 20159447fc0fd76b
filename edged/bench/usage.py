"""What the process holds and has used, read in microseconds so that it may be read while frames run."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from edged.daemon import Daemon
from edged.memory import Region
from edged.runner import Runner
from edged.sources.unit import SourceUnit

_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Usage:
    """At one moment. `region_bytes`: admitted, plus handed out of what was admitted (high-water marks)."""

    at_s: float
    cpu_s: float
    rss_bytes: int
    region_bytes: int


def regions(daemon: Daemon) -> dict[str, Region]:
    """Each unit's region, by the unit's name."""
    units: list[SourceUnit | Runner] = [*daemon.sources.values(), *daemon.runners.values()]
    return {u.name: u.region for u in units if u.region is not None}


def usage(daemon: Daemon) -> Usage:
    handed_out = sum(r.used_bytes for r in regions(daemon).values())
    return Usage(
        at_s=time.monotonic(),
        cpu_s=time.process_time(),
        rss_bytes=int(_STATM.read_text().split()[1]) * _PAGE,
        region_bytes=daemon.device.budget.held + handed_out,
    )
