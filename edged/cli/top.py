"""A live table of what runs: frames a second, ages, drops and how long each stage takes, and the machine's sensors.

Figures are of the last interval; p50 and p99 since the start. Where the output is no terminal, or with --json, it is
printed once, or as often as --count says. Exit status: 0, or 14 when no daemon answers (any more).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from itertools import count

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from edged.cli import _daemon
from edged.cli._rates import SHOWN, Rates, rates
from edged.cli.run import positive, positive_int
from edged.cli.status import duration, state, table
from edged.control.answers import Status
from edged.control.client import Client
from edged.errors import ExitCode

HELP = "a live table of what a running daemon does"

UNITS = {"celsius": "°C", "watts": "W", "volts": "V", "amperes": "A", "hertz": "Hz", "ratio": ""}


def arguments(parser: argparse.ArgumentParser) -> None:
    _daemon.arguments(parser)
    parser.add_argument("--interval", type=positive, default=1.0, metavar="S", help="seconds; default 1")
    parser.add_argument("--count", type=positive_int, metavar="N", help="end after N tables")


def run(args: argparse.Namespace) -> int:
    console, client = _daemon.console(), _daemon.client(args)
    live = console.is_terminal and not args.json
    looks = looked(client, args.interval, args.count or (None if live else 1))
    if live:
        with Live(console=console, auto_refresh=False, screen=False) as shown:
            for status, found in looks:
                shown.update(show(status, found), refresh=True)
        return ExitCode.OK
    for status, found in looks:
        if args.json:
            told = {"at": status.snapshot.at, "pipelines": found, "sensors": status.snapshot.sensors}
            _daemon.print_json({**told, "pressure": status.snapshot.pressure})
        else:
            console.print(show(status, found))
    return ExitCode.OK


def looked(client: Client, interval_s: float, times: int | None) -> Iterator[tuple[Status, dict[str, Rates]]]:
    """The daemon's status, and what happened since the look before; the first takes an interval."""
    before = client.status()
    for _ in count() if times is None else range(times):
        time.sleep(interval_s)
        status = client.status()
        yield status, rates(before.snapshot, status.snapshot)
        before = status


def show(s: Status, found: dict[str, Rates]) -> RenderableType:
    """Times in ms."""
    head = f"{s.device}  up {duration(s.uptime_s)}  {s.ready or 'ready'}"
    stages = [*SHOWN[:-1], "age"]
    pipelines = table("pipeline", "state", "fps", "drops/s", *stages, "age p50", "age p99", "why")
    for name, r in found.items():
        means = ("" if (ms := r.stages[stage]) is None else f"{ms:.1f}" for stage in stages)
        ages = (f"{r.age_p50_ms:.1f}", f"{r.age_p99_ms:.1f}")
        pipelines.add_row(name, state(r.state), f"{r.fps:.1f}", f"{r.dropped:.1f}", *means, *ages, r.reason)
    pressure = s.snapshot.pressure
    held = f"held back ({pressure.level} of {pressure.most} steps): {pressure.reason}"
    return Group(Text(head), pipelines, *_sensors(s), *([Text(held, "yellow")] if pressure.level else []))


def _sensors(s: Status) -> Iterator[Text]:
    """A line for each kind of sensor that the machine has."""
    kinds: dict[str, list[str]] = {}
    for r in s.snapshot.sensors:
        value = f"{r.value:.0%}" if r.unit == "ratio" else f"{r.value:g} {UNITS.get(r.unit, r.unit)}".strip()
        kinds.setdefault(r.kind, []).append(f"{r.name} {value}")
    return (Text(f"{kind}: {', '.join(readings)}") for kind, readings in kinds.items())
