"""The one command. Each subcommand is a module with HELP, `arguments(parser)` and `run(args) -> int`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from edged import __version__
from edged.errors import EdgedError, ExitCode

# name -> module, in the order of --help; a module is imported only when its help or work is wanted
COMMANDS: dict[str, str] = {
    "run": "edged.cli.run",
    "check": "edged.cli.check",
    "schema": "edged.cli.schema",
    "model": "edged.cli.model",
    "bench": "edged.cli.bench",
    "doctor": "edged.cli.doctor",
    "inspect": "edged.cli.inspect",
    "cameras": "edged.cli.cameras",
    "capture": "edged.cli.capture",
    "status": "edged.cli.status",
    "top": "edged.cli.top",
    "events": "edged.cli.events",
    "pipeline": "edged.cli.pipeline",
    "config": "edged.cli.config",
    "snapshot": "edged.cli.snapshot",
    "report": "edged.cli.report",
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edged", description="Embedded edge runtime daemon.")
    parser.add_argument("--version", action="version", version=f"edged {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module_name in COMMANDS.items():
        module = importlib.import_module(module_name)
        sub = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        module.arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; an EdgedError becomes a message on stderr and its exit code, never a traceback."""
    try:
        args = build_parser().parse_args(argv)  # its imports take a second on a slow machine: Ctrl-C may come
        return int(args.run(args))
    except EdgedError as e:
        print(f"edged: {e}", file=sys.stderr)
        return int(e.exit_code)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away (head, less): what is left goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
