"""Files of a model directory: reading, hashing, and names that stay inside it."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from edged.errors import ModelError

CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in chunks. ModelError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open_file(path) as f:
            while chunk := f.read(CHUNK):
                digest.update(chunk)
    except OSError as e:
        raise unreadable(path, e) from e
    return digest.hexdigest()


def open_file(path: Path) -> BinaryIO:
    """Open a file to read. OSError also for what is none: of a FIFO reading would wait for ever."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is a directory, a FIFO or a device", str(path))
    return os.fdopen(number, "rb")


def unreadable(path: Path, e: OSError) -> ModelError:
    """The error for a file or directory of a model that cannot be read."""
    return ModelError(f"{path}: cannot be read: {e.strerror or e}", hint="check the path and its permissions")


def is_inside(name: str) -> bool:
    """True for a relative name that does not leave its directory: a model moves as one directory."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
