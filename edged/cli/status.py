"""How a running daemon is: what runs, in which state and why, with the figures since it started.

Exit status: 0 when a daemon answers, 14 when none does.
"""

from __future__ import annotations

import argparse

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edged.cli import _daemon
from edged.control.answers import Status
from edged.errors import ExitCode
from edged.memory import format_bytes

HELP = "how a running daemon is"

STYLES = {"running": "green", "degraded": "yellow", "faulted": "bold red", "paused": "cyan"}


def arguments(parser: argparse.ArgumentParser) -> None:
    _daemon.arguments(parser)


def run(args: argparse.Namespace) -> int:
    status = _daemon.client(args).status()
    if args.json:
        _daemon.print_json(status)
    else:
        _daemon.console().print(show(status))
    return ExitCode.OK


def show(s: Status) -> RenderableType:
    """Everything, for people."""
    snapshot = s.snapshot
    head = f"{s.device}: edged {s.version}, pid {s.pid}, up {duration(s.uptime_s)}, {s.ready or 'ready'}"
    lines: list[RenderableType] = [Text(head if not s.alive else f"{head}; not alive: {s.alive}")]
    pipelines = table("pipeline", "state", "fps", "results", "dropped", "age p50", "age p99", "why")
    for name, p in snapshot.pipelines.items():
        age = p.stages.get("age")
        ages = ("", "") if age is None or not age.count else (f"{age.p50_ms:.1f}", f"{age.p99_ms:.1f}")
        figures = (f"{p.fps:.1f}", str(p.inferred), str(p.dropped), *ages)
        pipelines.add_row(name, state(p.state), *figures, p.reason)
    lines.append(pipelines)
    units = table("unit", "state", "what", "why")
    for name, source in snapshot.sources.items():
        units.add_row(f"source {name}", state(source.state), source.frame, source.reason)
    for name, model in snapshot.models.items():
        what = ", ".join(model.facts[k] for k in ("engine", "work") if k in model.facts)
        units.add_row(f"model {name}", state(model.state), what, model.facts.get("limited", ""))
    for name, sink in snapshot.sinks.items():
        units.add_row(
            f"sink {name}", state(sink.state), f"{sink.published} published, {sink.failed} failed", ""
        )
    lines.append(units)
    admitted = sum(r.nbytes for r in snapshot.regions.values())
    lines.append(Text(f"memory admitted: {format_bytes(admitted)}"))
    lines += [Text(f"error: {e}", style="red") for e in snapshot.errors[-3:]]
    return Group(*lines)


def table(*headings: str) -> Table:
    """Plain columns; those of figures are to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        left = heading in ("pipeline", "unit", "state", "what", "why")
        made.add_column(heading, justify="left" if left else "right", overflow="fold")
    return made


def state(name: str) -> Text:
    return Text(name, style=STYLES.get(name, ""))


def duration(seconds: float) -> str:
    """Two units: 3 d 4 h, 12 min 5 s."""
    parts: list[str] = []
    left = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])
