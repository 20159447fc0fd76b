"""What `edged run` shows: one line of status on a terminal while it runs, a table at the end."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.table import Table

from edged.daemon import Daemon
from edged.messages import Event
from edged.metrics import PipelineCounts, Snapshot

_STATUS_S = 1.0


class StatusLine:
    """The last line of a terminal, rewritten each second; log lines and changes of pipelines go above it.

    Used by the main thread; log lines come from any. Not `live`: it writes nothing of its own.
    """

    def __init__(self, out: TextIO, *, live: bool) -> None:
        self._out = out
        self._live = live
        self._next = 0.0
        self._before: dict[str, tuple[float, int]] = {}

    @contextmanager
    def above(self) -> Iterator[None]:
        """Log lines go above the status."""
        handler, root = _Above(self), logging.getLogger()
        handler.setFormatter(logging.Formatter("edged: %(message)s"))
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)

    def tick(self, daemon: Daemon) -> None:
        now = time.monotonic()
        if not self._live or now < self._next:
            return
        self._next = now + _STATUS_S
        waiting = daemon.core.waiting_for
        if daemon.core.phase == "booting" and waiting:
            self.write(f"opening {', '.join(waiting)}")
        else:
            self.write(
                "  |  ".join(self._pipeline(now, n, p) for n, p in daemon.snapshot().pipelines.items())
            )

    def event(self, event: Event) -> None:
        if event.unit.startswith("pipeline ") and self._live:
            self.line(f"{event.unit}: {event.state}")

    def clear(self) -> None:
        self.write("")

    def line(self, text: str) -> None:
        """A line of its own, above the status."""
        self.write("")
        self._put(f"{text}\n")

    def write(self, text: str) -> None:
        """The status, cut to the terminal's width."""
        if self._live:
            self._put("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])

    def _pipeline(self, now: float, name: str, p: PipelineCounts) -> str:
        then, count = self._before.get(name, (now, p.inferred))
        self._before[name] = (now, p.inferred)
        fps = (p.inferred - count) / (now - then) if now > then else 0.0
        age = p.stages["age"]
        return f"{name}: {p.state} {fps:.1f} fps, age p99 {age.p99_ms:.0f} ms, dropped {p.dropped}"

    def _put(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:  # the terminal is gone; what runs goes on without it
            self._live = False


class _Above(logging.Handler):
    """Log lines above the status."""

    def __init__(self, status: StatusLine) -> None:
        super().__init__()
        self._status = status

    def emit(self, record: logging.LogRecord) -> None:
        self._status.line(self.format(record))


# heading -> its value; times in ms
_COLUMNS: dict[str, Callable[[PipelineCounts], str]] = {
    "frames": lambda p: str(p.inferred),
    "fps": lambda p: f"{p.fps:.1f}",
    "dropped": lambda p: str(p.dropped),
    "skipped": lambda p: str(p.skipped),
    "failed": lambda p: str(p.failed),
    "detections": lambda p: str(p.detections),
    "infer p50": lambda p: f"{p.stages['infer'].p50_ms:.2f}",
    "parse p50": lambda p: f"{p.stages['parse'].p50_ms:.2f}",
    "age p50": lambda p: f"{p.stages['age'].p50_ms:.2f}",
    "age p99": lambda p: f"{p.stages['age'].p99_ms:.2f}",
}


def summary(s: Snapshot) -> Table:
    """What a run came to, a row a pipeline."""
    sets = [
        f"sync group {n}: {g.complete} of {g.taken} frame sets complete, {g.partial} in part"
        for n, g in s.sync_groups.items()
    ]
    table = Table(
        "pipeline",
        title=f"{s.wall_s:.1f} s, times in ms",
        title_justify="left",
        caption="\n".join(sets) or None,
        caption_justify="left",
    )
    for heading in _COLUMNS:
        table.add_column(heading, justify="right")
    for name, p in s.pipelines.items():
        table.add_row(name, *(value(p) for value in _COLUMNS.values()))
    return table
