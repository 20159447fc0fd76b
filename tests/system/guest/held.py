"""What a process holds, counted from outside of edged: descriptors, threads, mappings; and its regions and leases."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Callable

from edged.memory import Region, Slots

Held = dict[str, int]


def held() -> Held:
    gc.collect()
    objects = gc.get_objects()
    names = Counter(_descriptors())
    with open("/proc/self/maps") as f:
        cameras = sum("/dev/video" in line for line in f)
    return {
        "descriptors": sum(names.values()),
        "camera descriptors": sum(n for name, n in names.items() if "/dev/video" in name),
        "threads": len(os.listdir("/proc/self/task")),
        "named threads": len(threading.enumerate()),
        "camera mappings": cameras,
        "regions": sum(isinstance(o, Region) for o in objects),
        "region bytes": sum(o.nbytes for o in objects if isinstance(o, Region)),
        "slots": sum(isinstance(o, Slots) for o in objects),
    }


def _descriptors() -> list[str]:
    out = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            out.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # of the listing itself
            continue
    return out


def settled(
    expected: Held, read: Callable[[], Held] = held, patience_s: float = 3.0
) -> tuple[Held, list[str]]:
    """What is held, and how it differs from what is expected, once that has had its time to go."""
    end = time.monotonic() + patience_s
    while True:
        now = read()
        more = [f"{k}: {expected[k]} before, {now[k]} after" for k in expected if now[k] != expected[k]]
        if not more or time.monotonic() >= end:
            return now, more
        time.sleep(0.2)
