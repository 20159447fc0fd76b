"""A picture of what a pipeline sees now, with what was found drawn in. The daemon keeps its camera.

Exit status: 0 when it is written, 13 when there is none (a paused pipeline, a camera that is away), 14 when no daemon
answers.
"""

from __future__ import annotations

import argparse
import os
import stat
from pathlib import Path

from edged.cli import _daemon
from edged.errors import EdgedError, ExitCode

HELP = "a picture of what a pipeline sees"


class CannotWrite(EdgedError):
    exit_code = ExitCode.USAGE


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="of the pipeline")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="a JPEG; default: NAME.jpg")
    parser.add_argument("--no-boxes", action="store_true", help="the picture alone")
    _daemon.arguments(parser)


def run(args: argparse.Namespace) -> int:
    picture = _daemon.client(args).snapshot(args.name, boxes=not args.no_boxes)
    output = args.output or Path(f"{args.name}.jpg")
    write(output, picture.jpeg)
    if args.json:
        facts = {"file": os.fspath(output), "captured_at": picture.captured_at, "age_ms": picture.age_ms}
        _daemon.print_json({**facts, "bytes": len(picture.jpeg)})
    else:
        print(
            f"{output}: captured {_daemon.clock(picture.captured_at)}, {picture.age_ms:.0f} ms before it was made"
        )
    return ExitCode.OK


def write(file: Path, data: bytes) -> None:
    """A file for this user alone. CannotWrite says what is in the way.

    Only a file of one's own gives way: root may be called in a folder where others have put a link in its place.
    """
    try:
        if _is_own(file):
            file.unlink()
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as f:
            f.write(data)
    except OSError as e:
        raise CannotWrite(f"cannot write {file}: {e.strerror}", hint="give another path with -o") from e


def _is_own(file: Path) -> bool:
    try:
        found = file.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
