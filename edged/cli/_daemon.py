"""What the commands that speak to a running daemon have in common."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import msgspec
from rich.console import Console

from edged.control.client import DEFAULT_SOCKET, Client, find_socket


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--socket", metavar="PATH", help=f"of the daemon; default: $EDGED_SOCKET, else {DEFAULT_SOCKET}"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def client(args: argparse.Namespace) -> Client:
    return Client(find_socket(args.socket))


def console() -> Console:
    """Standard output; wide enough for a table where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def print_json(value: Any) -> None:
    print(msgspec.json.encode(value).decode(), flush=True)


def clock(ns: int) -> str:
    """A moment in UTC, as local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ns / 1e9)) + f".{ns // 1_000_000 % 1000:03d}"
