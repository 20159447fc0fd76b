"""Files that are whole or not there, whenever the power fails: written, synced, renamed, and the folder synced.

What root makes belongs to whoever owns the folder that it is in: what was built by hand is there for the service.

Errors are OSErrors; the caller knows what the file is and says so. Nothing here is locked: see `exclusive`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OTHERS = (errno.EACCES, errno.EPERM)
_NO_LINKS = (
    errno.EXDEV,
    errno.EPERM,
    errno.EMLINK,
    errno.EOPNOTSUPP,
)  # two filesystems, or one that has none


def remedy(e: OSError) -> str:
    """What to do about a file that cannot be read or written."""
    if e.errno in _FULL:
        return "make room there (df -h says where there is some), or name another folder with --state-dir"
    if e.errno in _OTHERS:
        return (
            "run it as the user that owns the folder (ls -ld), or give it to yours: sudo chown -R USER FOLDER"
        )
    return "check the folder's permissions and the free space (df -h), or name another with --state-dir"


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


def contents_of(pages: Any) -> Contents:
    """The same of a buffer."""
    return Contents(hashlib.sha256(pages).hexdigest(), len(pages), bytes(pages[:CHUNK]))


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
    _inherit(folder)
    sync_folder(folder.parent)


def own_folder(parent: Path, prefix: str) -> Path:
    """A new folder in `parent`, mode 0700, with a name that nothing else has."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    _inherit(folder)
    return folder


def _inherit(folder: Path) -> None:
    """Without following a link: whoever owns the folder around it may have put one in its place."""
    if os.geteuid() != 0:
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _give(fd, folder.parent)
    finally:
        os.close(fd)


def _give(fd: int, folder: Path) -> None:
    """What root has just made, to the owner of `folder`."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(fd, owner.st_uid, owner.st_gid)


def write_new(path: Path, data: bytes) -> None:
    """A new file, mode 0600, its contents synced. Its name lasts only after `sync_folder` of its folder."""
    with _new_file(path) as f:
        f.write(data)


def copy_new(source: Path, path: Path) -> Contents:
    """The same with what `source` holds."""
    with _new_file(path) as f:
        return look_at(source, f)


def link_new(source: Path, path: Path) -> Contents:
    """The same without a copy, where both are on one filesystem: then both names are of one file, mode 0600."""
    fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(fd, 0o600)
        _give(fd, path.parent)
        os.fsync(fd)
    finally:
        os.close(fd)
    try:
        os.link(source, path)
    except OSError as e:
        if e.errno not in _NO_LINKS:
            raise
        return copy_new(source, path)
    return look_at(path)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as f:
        _give(fd, path.parent)
        yield f
        f.flush()
        os.fsync(f.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """`path` with these contents: at every moment the old ones or the new ones, whole. One writer at a time."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        write_new(part, data)
        os.rename(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
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
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    new = True
    try:
        fd = os.open(lock, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fd, new = os.open(lock, flags), False
    try:
        if new:
            _give(fd, lock.parent)
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def is_held(lock: Path) -> bool:
    """Whether a living process has `lock`; also where it is another user's, which cannot be known."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
