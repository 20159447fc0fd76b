"""Pause, resume or restart a pipeline of a running daemon; the others are not disturbed.

Exit status: 0 when it is done, 13 when the daemon refused, 14 when none answers.
"""

from __future__ import annotations

import argparse
from typing import get_args

from edged.cli import _daemon
from edged.control.answers import PipelineAnswer
from edged.errors import ExitCode
from edged.steering import Verb

HELP = "pause, resume or restart a pipeline"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", choices=get_args(Verb))
    parser.add_argument("name", metavar="NAME", help="of the pipeline")
    _daemon.arguments(parser)


def run(args: argparse.Namespace) -> int:
    health = _daemon.client(args).pipeline(args.name, args.verb)
    if args.json:
        _daemon.print_json(PipelineAnswer(pipeline=args.name, health=health))
    else:
        print(f"pipeline {args.name}: {health}")
    return ExitCode.OK
