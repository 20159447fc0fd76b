"""An archive for whoever is asked for help: versions, configuration, state, events, journal and what the doctor says.

It holds no passwords, keys or pictures. What cannot be had is named, in the archive too; a daemon need not run.
Exit status: 0 when the archive is written.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import msgspec

from edged import __version__, children
from edged.cli import _daemon
from edged.cli._scrub import Scrubber
from edged.cli._toml import document
from edged.cli.snapshot import write
from edged.config.load import base_of, parse, read
from edged.config.patch import redact
from edged.control.client import Client
from edged.errors import ConfigError, EdgedError, ExitCode

HELP = "a support archive without secrets"

CONFIG = "/etc/edged/edged.toml"
UNIT = "edged.service"
JOURNAL_LINES = 5000
JOURNAL_S, DOCTOR_S = 30.0, 180.0


class Missing(EdgedError):
    """A piece that cannot be had."""


@dataclass(frozen=True, slots=True)
class Context:
    """file: the configuration's."""

    client: Client
    file: str
    data: Mapping[str, Any] | None


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: edged-HOST-TIME.tar.gz")
    parser.add_argument("--config", metavar="FILE", help=f"default: the running daemon's, else {CONFIG}")
    _daemon.arguments(parser)


def run(args: argparse.Namespace) -> int:
    client = _daemon.client(args)
    file = args.config or _file_of(client)
    data = _data(file)
    scrubber = Scrubber(data or {}, base_of(file))
    pieces: dict[str, bytes] = {}
    missing: dict[str, str] = {}
    for name, text in collect(Context(client, file, data), scrubber):
        if isinstance(text, Missing):
            missing[name] = scrubber.text(text.message)
        else:
            pieces[name] = text.encode()
    if missing:
        pieces["missing.txt"] = "".join(f"{name}: {why}\n" for name, why in missing.items()).encode()
    folder = time.strftime(f"edged-{platform.node() or 'host'}-%Y%m%d-%H%M%S")
    output = args.output or Path(f"{folder}.tar.gz")
    write(output, archive(folder, pieces))
    if args.json:
        _daemon.print_json({"file": os.fspath(output), "pieces": sorted(pieces), "missing": missing})
    else:
        print(f"{output}: {', '.join(sorted(pieces))}")
        for name, why in missing.items():
            print(f"missing: {name}: {why}", file=sys.stderr)
    return ExitCode.OK


def collect(c: Context, scrubber: Scrubber) -> Iterator[tuple[str, str | Missing]]:
    """(name, text without secrets) of each piece, or why it is missing."""
    for name, make in PIECES.items():
        try:
            found = make(c)
        except (EdgedError, OSError, subprocess.SubprocessError) as e:
            yield name, Missing(str(e))
            continue
        if isinstance(found, str):
            yield name, scrubber.text(found)
        else:
            plain = scrubber.value(msgspec.to_builtins(found))
            yield name, _lines(plain) if name.endswith(".ndjson") else json.dumps(plain, indent=1) + "\n"


def archive(folder: str, pieces: Mapping[str, bytes]) -> bytes:
    """A .tar.gz of files in a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in pieces.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size, info.mtime, info.mode = len(data), int(time.time()), 0o600
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _file_of(client: Client) -> str:
    try:
        return client.config().file or CONFIG
    except EdgedError:  # named as a missing piece
        return CONFIG


def _data(file: str) -> Mapping[str, Any] | None:
    try:
        return parse(read(file).text, file)
    except ConfigError:  # named as a missing piece
        return None


def _versions(_: Context) -> dict[str, Any]:
    return {
        "edged": __version__,
        "python": sys.version,
        "machine": platform.machine(),
        "kernel": platform.release(),
        "system": _first_line("/etc/os-release", "PRETTY_NAME="),
        "jetpack": _first_line("/etc/nv_tegra_release", "#"),
        "packages": {d.name: d.version for d in sorted(distributions(), key=lambda d: d.name.lower())},
    }


def _first_line(file: str, begin: str) -> str | None:
    """None: there is no such file, or no such line."""
    try:
        lines = Path(file).read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.removeprefix(begin).strip(' "') for line in lines if line.startswith(begin)), None)


def _file(c: Context) -> str:
    if c.data is None:
        raise Missing(f"{c.file} cannot be read: edged check {c.file} says why")
    return document(redact(c.data))


def _journal(_: Context) -> str:
    command = ["journalctl", f"--unit={UNIT}", f"--lines={JOURNAL_LINES}", "--no-pager", "--output=short-iso"]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=JOURNAL_S, check=False
    )
    if done.returncode or not done.stdout.strip() or "-- No entries --" in done.stdout:
        raise Missing(f"{' '.join(command)}: {done.stderr.strip() or 'no lines'}")
    return done.stdout


def _doctor(c: Context) -> Any:
    """In a process of its own: it loads every model, and a library may crash."""
    file = [c.file] if c.data is not None else []
    command = children.command("edged", "doctor", "--json", "--quick", *file)
    done = subprocess.run(
        command,
        env=children.environment(),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=DOCTOR_S,
        check=False,
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise Missing(f"edged doctor: {done.stderr.strip() or 'it said nothing'}") from None


PIECES: Mapping[str, Callable[[Context], Any]] = {
    "versions.json": _versions,
    "file.toml": _file,
    "config.json": lambda c: c.client.config(),
    "history.json": lambda c: c.client.history(),
    "status.json": lambda c: c.client.status(),
    "metrics.txt": lambda c: c.client.text("/metrics"),
    "events.ndjson": lambda c: c.client.backlog(),
    "journal.txt": _journal,
    "doctor.json": _doctor,
}


def _lines(values: list[Any]) -> str:
    return "".join(json.dumps(v) + "\n" for v in values)
