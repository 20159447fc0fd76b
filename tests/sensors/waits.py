"""Changing a tree under a thread that reads it, and waiting for what it reads."""

from __future__ import annotations

import threading
from pathlib import Path

from edged.sensors.thread import Sensors


def write(file: Path, text: str) -> None:
    """Whole or not at all, as the kernel answers."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def await_temperature(sensors: Sensors, name: str, celsius: float) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if any((r.name, r.value) == (name, celsius) for r in sensors.readings):
            return
        pause.wait(0.005)
    raise AssertionError(f"{name} never was at {celsius} °C: {sensors.readings}")
