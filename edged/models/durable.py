"""Files that are whole or not there, whenever the power fails: written, synced, renamed, and the folder synced.

Errors are OSErrors; the caller knows what the file is and says so. Nothing here is locked: see `exclusive`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Contents:
    """What was read of a file: hex sha256, bytes, and its first chunk."""

    sha256: str
    size: int
    start: bytes


def look_at(path: Path, copy: BinaryIO | None = None) -> Contents:
    """Read all of a file, and write it to `copy` where that is given."""
    digest, size, start = hashlib.sha256(), 0, b""
    with path.open("rb") as f:
        while chunk := f.read(CHUNK):
            start = start or chunk
            digest.update(chunk)
            size += len(chunk)
            if copy is not None:
                copy.write(chunk)
    return Contents(digest.hexdigest(), size, start)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` last."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """`folder`, mode 0700, with its parents; each new name is synced. One that is there stays as it is."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:  # somebody else was quicker
        return
    sync_folder(folder.parent)


def write_new(path: Path, data: bytes) -> None:
    """A new file, mode 0600, its contents synced. Its name lasts only after `sync_folder` of its folder."""
    with _new_file(path) as f:
        f.write(data)


def copy_new(source: Path, path: Path) -> Contents:
    """The same with what `source` holds."""
    with _new_file(path) as f:
        return look_at(source, f)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as f:
        yield f
        f.flush()
        os.fsync(f.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """`path` with these contents: at every moment the old ones or the new ones, whole. One writer at a time."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    write_new(part, data)
    os.rename(part, path)
    sync_folder(path.parent)


def remove_folder(folder: Path) -> None:
    """Delete a folder that has a name of the listed kind: it loses that name first, in one step."""
    dead = folder.with_name(f".dead-{os.getpid()}-{folder.name.lstrip('.')}")
    os.rename(folder, dead)
    sync_folder(folder.parent)
    shutil.rmtree(dead)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Wait until nobody else holds `lock`, a file that is made where it is absent; the kernel frees it at death."""
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def is_held(lock: Path) -> bool:
    """Whether a living process has `lock`."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
