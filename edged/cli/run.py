"""Run a configuration until it is told to stop (SIGTERM, Ctrl-C), its input ends or a limit is reached.

The first signal drains and exits within 5 s; a second one ends the process at once.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

import msgspec
from rich.console import Console
from rich.table import Table

from edged.config.load import load
from edged.daemon import Daemon, Limits
from edged.errors import ExitCode
from edged.messages import Event
from edged.metrics import Snapshot

HELP = "run a configuration"

_STATUS_S = 1.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the configuration (TOML)")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--frames", type=_positive_int, metavar="N", help="stop after N frames a pipeline")
    limit.add_argument("--seconds", type=_positive, metavar="S", help="stop after S seconds of running")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no live status and no summary")


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(format="edged: %(message)s", level=logging.WARNING, stream=sys.stderr)
    config = load(args.file)
    for warning in config.warnings:
        logging.warning("%s: warning: %s", args.file, warning)
    status = _Status(live=sys.stderr.isatty() and not args.quiet)
    daemon = Daemon(config, Limits(args.frames, args.seconds), on_tick=status.tick, on_event=status.event)
    code = daemon.run()
    status.clear()
    snapshot = daemon.snapshot()
    if args.json:
        print(msgspec.json.encode(snapshot).decode(), flush=True)
    elif not args.quiet:
        Console(stderr=True).print(summary(snapshot))
    if code is not ExitCode.OK or daemon.core.why == "signal":
        logging.warning("ended: %s (exit status %d)", daemon.core.why, code)
    return code


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


class _Status:
    """One line on a terminal, rewritten each second; changes of state above it."""

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._next = 0.0
        self._before: dict[str, tuple[float, int]] = {}

    def tick(self, daemon: Daemon) -> None:
        now = time.monotonic()
        if not self._live or now < self._next:
            return
        self._next = now + _STATUS_S
        parts = []
        for name, p in daemon.snapshot().pipelines.items():
            then, count = self._before.get(name, (now, p.inferred))
            self._before[name] = (now, p.inferred)
            fps = (p.inferred - count) / (now - then) if now > then else 0.0
            age = p.stages["age"]
            parts.append(f"{name}: {p.state} {fps:.1f} fps, age p99 {age.p99_ms:.0f} ms, dropped {p.dropped}")
        self._write("  |  ".join(parts))

    def event(self, event: Event) -> None:
        if self._live and event.unit.startswith("pipeline "):
            self.clear()

    def clear(self) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        if self._live:
            width = Console(stderr=True).width
            sys.stderr.write("\r\x1b[K" + text[: width - 1])
            sys.stderr.flush()


def summary(s: Snapshot) -> Table:
    """What a run came to, a row a pipeline; times in ms."""
    table = Table(title=f"{s.wall_s:.1f} s")
    for column in (
        "pipeline",
        "frames",
        "fps",
        "dropped",
        "failed",
        "detections",
        "infer p50",
        "parse p50",
        "age p50",
        "age p99",
    ):
        table.add_column(column, justify="left" if column == "pipeline" else "right")
    for name, p in s.pipelines.items():
        times = (
            p.stages["infer"].p50_ms,
            p.stages["parse"].p50_ms,
            p.stages["age"].p50_ms,
            p.stages["age"].p99_ms,
        )
        counts = (p.inferred, f"{p.fps:.1f}", p.dropped, p.failed, p.detections)
        table.add_row(name, *map(str, counts), *(f"{t:.2f}" for t in times))
    return table
