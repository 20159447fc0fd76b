"""Figures of the results as they arrive, as a live table on a terminal and as a line a second elsewhere."""

from __future__ import annotations

import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edged.messages import Result

WINDOW_S = 1.0


@dataclass
class Watch:
    """What has been received. `best` is the result with the most faces, and among those the best score."""

    count: int = 0
    with_faces: int = 0
    dropped: int = 0
    last: Result | None = None
    best: Result | None = None
    ages_ms: list[float] = field(default_factory=list)
    window: deque[tuple[float, float]] = field(default_factory=deque)  # (arrival, age in ms), the last second

    def add(self, r: Result, now: float) -> None:
        self.count += 1
        self.with_faces += bool(r.detections)
        self.dropped += r.dropped
        self.last = r
        self.ages_ms.append(r.age_ms)
        self.window.append((now, r.age_ms))
        while self.window[0][0] < now - WINDOW_S:
            self.window.popleft()
        if self.best is None or _worth(r) > _worth(self.best):
            self.best = r

    def figures(self, now: float) -> dict[str, str]:
        """The columns of the table: name -> text."""
        recent = [age for arrived, age in self.window if arrived >= now - WINDOW_S]
        faces = (self.last.detections or []) if self.last else []
        return {
            "results": str(self.count),
            "fps": f"{len(recent) / WINDOW_S:.0f}",
            "age ms": f"{median(recent):.1f}" if recent else "-",
            "worst age ms": f"{max(recent):.1f}" if recent else "-",
            "dropped": str(self.dropped),
            "faces": str(len(faces)),
            "best score": f"{max(d.score for d in faces):.2f}" if faces else "-",
        }

    def summary(self) -> str:
        """One line about everything that was received."""
        ages = sorted(self.ages_ms)
        p99 = ages[min(len(ages) - 1, int(len(ages) * 0.99))]
        return (
            f"received {self.count} results, faces in {self.with_faces} of them, {self.dropped} frames gave way "
            f"to newer ones; age from capture to publication: median {median(ages):.1f} ms, p99 {p99:.1f} ms"
        )


def _worth(r: Result) -> tuple[int, float]:
    faces = r.detections or []
    return len(faces), sum(d.score for d in faces)


class Screen:
    """Shows a Watch: a live table on a terminal, a plain line a second elsewhere. A context manager."""

    def __init__(self, watch: Watch, url: str) -> None:
        self._watch = watch
        self._url = url
        self._console = Console()
        self._live = (
            Live(self._table(), console=self._console, refresh_per_second=8, transient=False)
            if self._console.is_terminal
            else None
        )
        self.due = 0.0

    def __enter__(self) -> Screen:
        self._shown: AbstractContextManager[object] = self._live or nullcontext()
        self._shown.__enter__()
        self.due = time.monotonic() + WINDOW_S
        return self

    def __exit__(self, *error: object) -> None:
        self._shown.__exit__(None, None, None)

    def refresh(self) -> None:
        """Call often; draws when it is time to."""
        now = time.monotonic()
        if self._live is not None:
            self._live.update(self._table())
        elif now >= self.due and self._watch.last is not None:
            print("    " + "  ".join(f"{k} {v}" for k, v in self._watch.figures(now).items()), flush=True)
            self.due = now + WINDOW_S

    def _table(self) -> RenderableType:
        figures = self._watch.figures(time.monotonic())
        table = Table(title=f"edged, received on {self._url}", title_justify="left")
        for name in figures:
            table.add_column(name, justify="right", min_width=len(name))
        table.add_row(*figures.values())
        return Group(table, Text(_faces(self._watch.last), style="dim"))


def _faces(r: Result | None) -> str:
    if r is None:
        return "waiting for the first result"
    boxes = [
        f"{d.label} {d.score:.2f} at {d.box[0]:.0f},{d.box[1]:.0f}, {d.box[2]:.0f}x{d.box[3]:.0f}"
        for d in r.detections or []
    ]
    return "; ".join(boxes) or "looked, and saw no face"
