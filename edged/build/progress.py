"""How far a build is, from what TensorRT's progress monitor says; and the bar that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edged.build.events import Event, Finished, Phase, Stage, Step

# stage -> what people read, and its share of the whole: a build takes minutes, what is around it seconds
STAGES: dict[str, tuple[str, float]] = {
    "simplify": ("simplifying the graph", 0.02),
    "cast": ("casting to FP16", 0.05),
    "parse": ("parsing the graph", 0.01),
    "build": ("building", 0.90),
    "inspect": ("looking at the plan", 0.02),
}


@dataclass(slots=True)
class _Open:
    parent: str | None
    steps: int
    done: int = 0


class Progress:
    """Events in, a fraction of the whole out: from 0 to 1, never less than before. Used by one thread.

    A phase stands within one step of its parent; it may end before all its steps were taken, and the same name may
    come again later.
    """

    def __init__(self) -> None:
        self.fraction = 0.0
        self.text = "starting"
        self._stage = ""
        self._open: dict[str, _Open] = {}

    def feed(self, event: Event) -> None:
        if isinstance(event, Stage):
            self._stage, self._open = event.name, {}
            self.text = STAGES[event.name][0]
        elif isinstance(event, Phase):
            self._open[event.name] = _Open(event.parent, max(event.steps, 1))
        elif isinstance(event, Step) and event.name in self._open:
            phase = self._open[event.name]
            phase.done = min(max(phase.done, event.step + 1), phase.steps)
        elif isinstance(event, Finished):
            closed = self._open.pop(event.name, None)
            if closed is not None and closed.parent is None and self._stage == "build":
                self._advance(1.0)
        self._advance(self._of(None) if self._stage == "build" else 0.0)

    def _advance(self, within: float) -> None:
        names = list(STAGES)
        before = names[: names.index(self._stage)] if self._stage else []
        share = STAGES[self._stage][1] if self._stage else 0.0
        whole = sum(STAGES[n][1] for n in before) + share * within
        self.fraction = min(1.0, max(self.fraction, whole))

    def _of(self, parent: str | None) -> float:
        """How far the open phases below `parent` are: the furthest one."""
        below = [(n, p) for n, p in self._open.items() if p.parent == parent and n != parent]
        return max((min(1.0, (p.done + self._of(n)) / p.steps) for n, p in below), default=0.0)


def estimate(last_s: float | None) -> str:
    """What the last build of the same lets expect; nothing where there was none."""
    if last_s is None:
        return ""
    if last_s < 1:
        return "the last build took less than a second"
    minutes, seconds = divmod(round(last_s), 60)
    return f"the last build took {f'{minutes} min ' if minutes else ''}{seconds} s"


@contextmanager
def bar(console: Any, last_s: float | None) -> Iterator[Any]:
    """A bar on a rich Console: yields what takes events. It goes away at the end; without a terminal, plain lines."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    progress = Progress()
    if not console.is_terminal:
        said = ""

        def say(event: Event) -> None:
            nonlocal said
            progress.feed(event)
            if progress.text != said:
                said = progress.text
                console.print(f"{said} …", highlight=False)

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bars(*columns, TextColumn(estimate(last_s)), console=console, transient=True) as bars:
        task = bars.add_task(progress.text, total=1.0)

        def show(event: Event) -> None:
            progress.feed(event)
            bars.update(task, completed=progress.fraction, description=progress.text)

        yield show
