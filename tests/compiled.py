"""What tests compile for the CPU, once for each text and compiler: kept in build/compiled between runs.

The suites of the newest and the oldest Python share it, as do the processes that a test starts.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "build" / "compiled"


@cache
def version_of(compiler: str) -> str:
    """All that it says of itself; skips without it."""
    try:
        return subprocess.run([compiler, "-v"], capture_output=True, text=True, check=True).stderr
    except FileNotFoundError:
        pytest.skip(f"no {compiler} to compile with")


def shared_library(
    name: str, command: Sequence[str], text: str, headers: Iterable[Path] = (), folder: Path = FOLDER
) -> Path:
    """The library that `command` makes of `text`, which it reads from stdin; `headers`: of ours, that it includes.

    A fault of the compiler, its warnings included, fails the test. Safe between threads and processes.
    """
    digest = hashlib.sha256()
    for part in (version_of(command[0]), *command, text, *(h.read_text() for h in headers)):
        digest.update(f"{len(part)}\n{part}".encode())
    library = folder / f"{name}-{digest.hexdigest()[:32]}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # a file of its own and a rename: others see all of it or nothing
        descriptor, made = tempfile.mkstemp(dir=folder, prefix=".new-")
        os.close(descriptor)
        try:
            done = subprocess.run(
                [*command, "-o", made], input=text, text=True, capture_output=True, check=False
            )
            assert done.returncode == 0, done.stderr
            os.replace(made, library)
        except BaseException:
            os.unlink(made)
            raise
    return library
