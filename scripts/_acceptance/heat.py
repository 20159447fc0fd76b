"""Temperature, throttling and power while something runs, once a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from _acceptance.rows import Row
from edged.sensors.discover import look
from edged.sensors.hwmon import total_w
from edged.sensors.readings import of_kind

EVERY_S = 1.0


@dataclass
class Heat:
    """What was seen. Written by one thread, read once that has ended."""

    celsius: dict[str, list[float]] = field(default_factory=dict)
    watts: list[float] = field(default_factory=list)
    rails: dict[str, list[float]] = field(default_factory=dict)
    slowed: dict[str, int] = field(default_factory=dict)  # cooling device -> its highest step

    def look(self, root: Path) -> None:
        readings = look(root)
        for z in of_kind(readings, "temperature"):
            self.celsius.setdefault(z.name, []).append(z.value)
        for rail in of_kind(readings, "power"):
            self.rails.setdefault(rail.name, []).append(rail.value)
        total = total_w(readings)
        if total is not None:
            self.watts.append(total)
        for c in of_kind(readings, "throttling"):
            self.slowed[c.name] = max(int(c.value), self.slowed.get(c.name, 0))

    def rows(self) -> Iterator[Row]:
        if not self.celsius:
            yield Row("temperature", "skip", "no thermal zone tells a temperature here")
        else:
            hottest = max(self.celsius, key=lambda n: max(self.celsius[n]))
            seen = self.celsius[hottest]
            text = f"hottest {hottest}: {seen[0]:.1f} °C at the start, {max(seen):.1f} at most, "
            text += f"{seen[-1]:.1f} at the end"
            slowed = ", ".join(f"{n} step {step}" for n, step in self.slowed.items() if step > 0)
            yield Row(
                "temperature", "fail" if slowed else "pass", f"{text}; slowed down: {slowed or 'nothing'}"
            )
        if not self.rails:
            yield Row("power", "skip", "no power monitor (hwmon ina3221, ina238) here")
            return
        total = f"{mean(self.watts):.2f} W, {max(self.watts):.2f} at most; " if self.watts else ""
        yield Row("power", "pass", total + ", ".join(f"{n} {mean(w):.2f} W" for n, w in self.rails.items()))


@contextmanager
def watching(root: Path, every_s: float = EVERY_S) -> Iterator[Heat]:
    """While inside; one look at least."""
    heat, stop = Heat(), threading.Event()

    def watch() -> None:
        heat.look(root)
        while not stop.wait(every_s):
            heat.look(root)

    thread = threading.Thread(target=watch, name="heat", daemon=True)
    thread.start()
    try:
        yield heat
    finally:
        stop.set()
        thread.join()
