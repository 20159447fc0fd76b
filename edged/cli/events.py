"""What changed in a running daemon, and why: the events kept, and then each as it comes, until Ctrl-C.

With --json a line each, as GET /v1/events has them. Exit status: 0 at the end, 14 when the daemon goes away meanwhile.
"""

from __future__ import annotations

import argparse

from edged.cli import _daemon
from edged.control.answers import End, EventLine, Gap, Heartbeat
from edged.control.client import Unreachable
from edged.errors import ExitCode
from edged.messages import Event

HELP = "what changes in a running daemon"


def arguments(parser: argparse.ArgumentParser) -> None:
    _daemon.arguments(parser)
    parser.add_argument(
        "--since", type=int, default=0, metavar="SEQ", help="only events after the one of this number"
    )
    parser.add_argument("--no-follow", action="store_true", help="end with the events that there are")


def run(args: argparse.Namespace) -> int:
    client = _daemon.client(args)
    for line in client.events(args.since, follow=not args.no_follow):
        if args.json:
            _daemon.print_json(line)
        elif (text := show(line)) is not None:
            print(text, flush=True)
        if isinstance(line, End):
            return ExitCode.OK
    if args.no_follow:
        return ExitCode.OK
    raise Unreachable(f"the daemon at {client.path} went away", hint="journalctl -u edged says why")


def show(line: EventLine) -> str | None:
    """None: nothing for people."""
    match line:
        case Event():
            change = line.state if line.was in (None, line.state) else f"{line.was} → {line.state}"
            why = f": {line.reason}" if line.reason else ""
            return f"{_daemon.clock(line.at)}  {line.seq:>5}  {line.unit}  {change}{why}"
        case Gap():
            many = "events" if line.missed is None else f"{line.missed} events"
            return f"({many} missing: {line.reason})"
        case End():
            return f"(the end: {line.reason})"
        case Heartbeat():
            return None
