"""Compiled kernels on disk, so that a boot after the first compiles nothing.

A file is named after the sha256 of all that its code follows from, and begins with the sha256 of the code: what
a power cut left is found out and compiled again. It is executable GPU code: the folder is the owner's alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from edged.devices.cuda.nvrtc import Image

_MAGIC = b"edged-kernel-1\n"
_KINDS = {b"cubin\n": False, b"ptx  \n": True}
_log = logging.getLogger(__name__)


def key_of(*parts: str) -> str:
    """sha256 in hex over the parts and where each ends."""
    h = hashlib.sha256()
    for part in parts:
        data = part.encode()
        h.update(len(data).to_bytes(8, "little") + data)
    return h.hexdigest()


class KernelCache:
    """A folder of compiled kernels; `folder` None keeps nothing. Safe between threads and processes.

    A folder that cannot be read or written costs a compilation at every boot, which is said once, and no more.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._warned = False

    def get(self, key: str, make: Callable[[], Image]) -> Image:
        """The entry `key`; made, and kept where possible, when it is absent or damaged."""
        if self._folder is None:
            return make()
        path = self._folder / key
        found = self._read(path)
        if found is None:
            found = make()
            self._write(path, found)
        return found

    def _read(self, path: Path) -> Image | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            self._warn(f"cannot read {path}: {e.strerror}")
            return None
        head = len(_MAGIC)
        kind, digest, code = data[head : head + 6], data[head + 6 : head + 38], data[head + 38 :]
        if (
            not data.startswith(_MAGIC)
            or kind not in _KINDS
            or hashlib.sha256(kind + code).digest() != digest
        ):
            _log.warning("compiled kernel %s is damaged; compiling it again", path)
            return None
        return Image(code, _KINDS[kind])

    def _write(self, path: Path, image: Image) -> None:
        kind = b"ptx  \n" if image.is_ptx else b"cubin\n"
        data = _MAGIC + kind + hashlib.sha256(kind + image.code).digest() + image.code
        temporary = ""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # a file of its own and a rename: a reader sees all of an entry or none
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as e:
            self._warn(f"cannot write {path}: {e.strerror}")
            if temporary:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "kernel cache: %s; kernels are compiled at every start (make the folder writable)", what
            )
