"""Files of a model directory: reading, hashing, and names that stay inside it."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from edged.errors import ModelError

CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in chunks. ModelError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as f:
            while chunk := f.read(CHUNK):
                digest.update(chunk)
    except OSError as e:
        raise unreadable(path, e) from e
    return digest.hexdigest()


def unreadable(path: Path, e: OSError) -> ModelError:
    """The error for a file or directory of a model that cannot be read."""
    return ModelError(f"{path}: cannot be read: {e.strerror or e}", hint="check the path and its permissions")


def is_inside(name: str) -> bool:
    """True for a relative name that does not leave its directory: a model moves as one directory."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
