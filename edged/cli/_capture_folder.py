"""The folder that `edged capture` fills: whole files or none, nothing overwritten, a line of notes for each."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edged.errors import SinkError

NOTES = "capture.ndjson"
_HINTS = {
    errno.ENOSPC: "free some space, or give a folder on another disk",
    errno.EDQUOT: "the user's quota is used up: free some space, or give another folder",
    errno.EACCES: "give a folder that this user may write to",
    errno.EPERM: "give a folder that this user may write to",
    errno.EROFS: "the file system is read-only: give another folder",
    errno.EEXIST: "what is there is kept: give another folder",
    errno.ENOTDIR: "give a folder; a part of the path is a file",
}
# of file systems that know no hard links (FAT on a USB stick)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Folder:
    """Made if absent, and tried. Used by one thread. Every method raises SinkError that names the file."""

    def __init__(self, path: Path, suffix: str) -> None:
        self.path, self.suffix = path, suffix
        with self._told(path):
            if path.exists() and not path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "it is a file")
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass

    def save(self, data: bytes, captured_at_ns: int, seq: int) -> str:
        """Write a picture and return its name, which sorts by time."""
        moment = datetime.fromtimestamp(captured_at_ns // 10**9, timezone.utc)
        name = f"{moment:%Y%m%dT%H%M%S}.{captured_at_ns % 10**9:09}Z-{seq:08}{self.suffix}"
        final = self.path / name
        with self._told(final):
            made = self.path / f".{name}.tmp"
            with made.open("xb") as f, ExitStack() as stack:
                stack.callback(made.unlink, missing_ok=True)
                f.write(data)
                f.flush()
                os.fsync(f.fileno())  # some file systems report a full disk only here
                _name_it(made, final)
        return name

    def note(self, record: Mapping[str, Any]) -> None:
        """Append a line; a line that did not fit is taken back."""
        path = self.path / NOTES
        line = json.dumps(record, default=str).encode() + b"\n"  # a source's tags may be anything
        with self._told(path), path.open("ab", buffering=0) as f:
            before = f.tell()
            try:
                written = f.write(line)
                if written != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                os.truncate(path, before)
                raise

    @contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            hint = _HINTS.get(e.errno or 0, "check the folder and its file system")
            raise SinkError(f"cannot write {path}: {e.strerror or e}", hint=hint) from e


def _name_it(made: Path, final: Path) -> None:
    """Give the file its name, unless that is taken: a rename would replace what has it."""
    try:
        os.link(made, final)
    except OSError as e:
        if e.errno not in _NO_LINKS:
            raise
        if final.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from e
        os.rename(made, final)
