"""The configuration of a running daemon: see it, compare it with a file, change it, go back.

A change is checked as a whole, applied, and undone by itself when the pipelines that it touches do not become healthy
within control.confirm_s. Users and passwords are never shown; what was shown as *** and is applied again stays.
Exit status: 0, 3 for a configuration with problems, 13 when it was refused or undone, 14 when no daemon answers.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from edged.cli import _daemon
from edged.cli._toml import document
from edged.config.load import base_of, parse, read
from edged.config.patch import diff, plain, redact
from edged.config.rebase import rebase
from edged.control.client import Client
from edged.errors import ExitCode
from edged.steering import ConfigState, RequestError

HELP = "see and change the configuration of a running daemon"

POLL_S = 0.3


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(
        name: str, help: str, work: Callable[[argparse.Namespace, Client], int]
    ) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=help)
        made.set_defaults(work=work)
        _daemon.arguments(made)
        return made

    show = verb("show", "the configuration as it is desired now", _show)
    show.add_argument("--toml", action="store_true", help="as TOML (the default)")
    verb("diff", "what a file would change", _diff).add_argument("file", metavar="FILE")
    apply = verb("apply", "make a file the configuration", _apply)
    apply.add_argument("file", metavar="FILE")
    revert = verb("revert", "go back to an earlier revision; undo one that is being tried", _revert)
    revert.add_argument(
        "revision", metavar="N", nargs="?", type=int, help="default: the one confirmed before"
    )
    for changing in (apply, revert):
        changing.add_argument("--wait", action="store_true", help="until it is confirmed, or undone")
    verb("history", "the last revisions", _history)


def run(args: argparse.Namespace) -> int:
    work: Callable[[argparse.Namespace, Client], int] = args.work
    return work(args, _daemon.client(args))


def _show(args: argparse.Namespace, client: Client) -> int:
    state = client.config()
    if args.json:
        _daemon.print_json(state)
    else:
        print(f"# {words(state)}\n# relative paths are relative to {state.base}\n")
        print(document(state.data), end="")
    return ExitCode.OK


def _diff(args: argparse.Namespace, client: Client) -> int:
    state = client.config()
    changes = diff(state.data, redact(_wanted(args.file, state)))
    if args.json:
        _daemon.print_json([{"path": c.path, "old": c.old, "new": c.new} for c in changes])
    else:
        print("\n".join(map(str, changes)) or f"{args.file} is what runs (revision {state.revision})")
    return ExitCode.OK


def _apply(args: argparse.Namespace, client: Client) -> int:
    state = client.config()
    return _changed(args, client, client.put_config(_wanted(args.file, state), state.etag))


def _revert(args: argparse.Namespace, client: Client) -> int:
    return _changed(args, client, client.revert(args.revision))


def _history(args: argparse.Namespace, client: Client) -> int:
    revisions = client.history()
    if args.json:
        _daemon.print_json(revisions)
    for r in () if args.json else revisions:
        print(f"{r.revision:>5}  {_daemon.clock(r.at)}  {r.by}: {r.outcome}")
    return ExitCode.OK


def _wanted(file: str, state: ConfigState) -> Mapping[str, Any]:
    """The file's values, for the folder that the daemon's configuration is relative to."""
    data, base = plain(parse(read(file).text, file), file), base_of(file)
    return data if str(base) == state.base else rebase(data, base)


def _changed(args: argparse.Namespace, client: Client, state: ConfigState) -> int:
    if args.wait and state.state == "trial":
        if not args.json:
            print(f"{words(state)}; waiting", file=sys.stderr)
        state = confirmed(client, state)
    if args.json:
        _daemon.print_json(state)
    else:
        print(words(state))
    return ExitCode.OK


def confirmed(client: Client, trial: ConfigState) -> ConfigState:
    """Waits until a trial is over. RequestError with the reason when it was undone."""
    while True:
        state = client.config()
        if state.revision != trial.revision:
            outcome = {r.revision: r.outcome for r in client.history()}.get(trial.revision, "it is gone")
            raise RequestError(
                f"revision {trial.revision} was {outcome}",
                hint=f"revision {state.revision} runs again; edged events tells what happened",
            )
        if state.state == "confirmed":
            return state
        time.sleep(POLL_S)


def words(state: ConfigState) -> str:
    """Which revision it is, and how it stands."""
    touched = f", touches {', '.join(state.touched)}" if state.touched else ""
    left = "" if state.confirm_left_s is None else f", at most {state.confirm_left_s:.0f} s more"
    changed = f"; {state.file} has changed since and wins at the next start" if state.file_changed else ""
    return f"revision {state.revision} by {state.by}: {state.state}{left}{touched}{changed}"
