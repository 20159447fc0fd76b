"""Look at this machine, and at all that a configuration needs of it: pass, warn, fail, or not here.

Each finding that is no pass comes with the command that mends it. Cameras stream for one picture; models are
loaded, not run. Run it as the user that the daemon runs as. Exit status: 0, or 12 when something failed.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from edged.config.load import load
from edged.doctor.base import STATES, Row, State, examine
from edged.doctor.checks import CHECKS
from edged.doctor.place import Place
from edged.errors import ConfigError, ExitCode
from edged.models.state import state_dir as state_dir_of

HELP = "look at this machine and what a configuration needs of it"

_COLOURS: dict[State, str] = {
    "pass": "green",
    "warn": "yellow",
    "fail": "bold red",
    "not here": "bright_black",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="the configuration (TOML); without it the machine alone"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="no camera streams, no model is loaded")
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="where plans are; default: runtime.state_dir"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=[c.name for c in CHECKS],
        metavar="CHECK",
        help="may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    place = find_place(args.file, args.state_dir, quick=args.quick)
    checks = [c for c in CHECKS if not args.only or c.name in args.only]
    found = examine(checks, place)
    rows = list(found) if args.json else list(_told(found))
    counts = Counter(r.state for r in rows)
    failed = counts["fail"] > 0
    if args.json:
        told = {"ok": not failed, "host": platform.node(), "counts": {s: counts[s] for s in STATES}}
        print(json.dumps({**told, "checks": [msgspec.to_builtins(r) for r in rows]}))
    else:
        print(", ".join(f"{counts[s]} {s}" for s in STATES))
    return int(ExitCode.UNFIT if failed else ExitCode.OK)


def find_place(file: str | None, state_dir: Path | None, *, quick: bool) -> Place:
    """The machine that this runs on, with the configuration if it can be read."""
    config, error = None, None
    if file is not None:
        try:
            config = load(file)
        except ConfigError as e:
            error = e
    return Place(
        config=config,
        config_error=error,
        state_dir=state_dir or state_dir_of("" if config is None else config.runtime.state_dir),
        quick=quick,
    )


def _told(rows: Iterable[Row]) -> Iterable[Row]:
    """Each row, printed as it comes: some take seconds."""
    console = Console(highlight=False, soft_wrap=True)
    width = max(len(c.name) for c in CHECKS)
    for row in rows:
        indent = " " * (width + 11)
        text = row.text.replace("\n", f"\n{indent}")
        console.print(
            Text.assemble((f"{row.state:<8}", _COLOURS[row.state]), f"  {row.check:<{width}} {text}")
        )
        if row.remedy:
            console.print(Text(f"{indent}remedy: {row.remedy}"))
        yield row
