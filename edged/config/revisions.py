"""Revisions of the configuration on disk: at every moment the old state or the new one, whole.

    state_dir/config/edged.toml-1f8a90cc/    of one configuration file
        000007.json      a revision's data as canonical JSON: its sha256 is the revision's etag in the index
        index.json       the ledger, with its own sha256; the one file whose replacement is the change

Data is written before an index that names it. Only one process has a folder (flock on it, freed by the kernel at
its death); another's changes are refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edged.config.ledger import Entry, Ledger, is_whole
from edged.config.patch import canonical
from edged.errors import EdgedError, ExitCode
from edged.models.durable import make_folder, replace_file, sync_folder

log = logging.getLogger(__name__)

_DATA = re.compile(r"(\d{6,})\.json", re.A)
_INDEX = "index.json"
_OURS = re.compile(r"\d{6,}\.json|\.(\d{6,}|index)\.json\.part", re.A)  # also as replace_file begins them
_HINT = "free space there, or set runtime.state_dir to a folder that edged's user may write"


class RevisionError(EdgedError):
    """A revision that cannot be kept or read. Nothing has changed."""

    exit_code = ExitCode.REFUSED


class _Sealed(msgspec.Struct, frozen=True):
    sha256: str
    ledger: msgspec.Raw


def folder_of(state_dir: Path, file: str | os.PathLike[str]) -> Path:
    """Where the revisions of a configuration file are."""
    path = os.path.abspath(file)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", os.path.basename(path))[:64]
    return state_dir / "config" / f"{name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def all_data(folder: Path) -> list[Any]:
    """The data of every revision in a folder, also of one that another process has. OSError, ValueError."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [json.loads((folder / name).read_bytes()) for name in names if _DATA.fullmatch(name)]


class Revisions:
    """The revisions in one folder. Used by one thread at a time; it touches the disk only where said.

    `ledger`: what is known of them; None: nothing yet. `problem`: why the folder cannot be used now; "": it can, or is
    not there yet. `damaged`: what was found and put aside.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the index. Never raises: what is wrong is in `problem` and `damaged`."""
        self.folder = folder
        self.ledger: Ledger | None = None
        self.problem = self.damaged = ""
        self.first_free = 1  # a number that no file in the folder has
        self._lock: int | None = None
        self._unkept: dict[int, bytes] = {}  # data of revisions that are not on disk yet
        self._on_disk: Ledger | None = None
        try:
            if os.path.lexists(folder):
                self._hold()
                self._read()
        except (OSError, RevisionError) as e:
            self.problem = str(e)

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def data(self, number: int) -> dict[str, Any]:
        """The data of a revision in the ledger. RevisionError when it cannot be read or is not what was written."""
        entry = self._known().entry(number)
        assert entry is not None
        try:
            text = self._unkept.get(number) or (self.folder / f"{number:06}.json").read_bytes()
        except OSError as e:
            raise RevisionError(f"revision {number} cannot be read: {e}", hint="choose another one") from e
        if hashlib.sha256(text).hexdigest() != entry.etag:
            message = f"revision {number} is not what was written ({self.folder}/{number:06}.json)"
            raise RevisionError(message, hint="choose another one, and look at the disk")
        found: dict[str, Any] = json.loads(text)
        return found

    def adopt(self, ledger: Ledger, file_data: Mapping[str, Any] | None) -> None:
        """What start has decided. `file_data`: of ledger.current, where that is the file.

        On disk only where something was; that it cannot be written is told and no error: the same is decided again.
        """
        known = self._on_disk is not None and self._on_disk.entry(ledger.current) is not None
        if file_data is not None and not known:
            self._unkept[ledger.current] = canonical(file_data)
        if self._on_disk is not None and self._on_disk != ledger:
            self._try(ledger)
        self.ledger = ledger

    def stage(self, entry: Entry, data: Mapping[str, Any], *, must_last: bool = True) -> None:
        """Keep a revision as the trial. RevisionError when it cannot be kept, and `must_last`."""
        ledger = self._known().staged(entry)
        known = {e.number for e in ledger.entries}
        self._unkept = {n: text for n, text in self._unkept.items() if n in known}
        self._unkept[entry.number] = canonical(data)
        if not must_last:
            self._try(ledger)
        else:
            try:
                self._write(ledger)
            except (OSError, RevisionError) as e:
                del self._unkept[entry.number]
                raise self._unkeepable(e) from e
        self.ledger = ledger

    def confirm(self) -> None:
        """The trial is the current revision now. RevisionError when that cannot be kept: then it still is a trial."""
        ledger = self._known().confirmed()
        must_last = self._on_disk is not None and self._on_disk.trial == ledger.current
        if must_last:
            try:
                self._write(ledger)
            except OSError as e:
                raise self._unkeepable(e) from e
        else:
            self._try(ledger)
        self.ledger = ledger

    def discard(self, outcome: str) -> None:
        """The trial is over. Where that cannot be written, the next start finds a trial, and undoes it."""
        self.ledger = self._known().discarded(outcome)
        if self._on_disk is not None and self._on_disk.trial is not None:
            self._try(self.ledger)

    def regrow(self, sha256: str) -> None:
        """The current revision is what the file of this hash says."""
        self.ledger = self._known().grown_from(sha256)
        if self._on_disk is not None:
            self._try(self.ledger)

    def _known(self) -> Ledger:
        assert self.ledger is not None, "adopt() comes first"
        return self.ledger

    def _hold(self) -> None:
        """Have the folder for oneself. The lock is on the folder, so that one that is read-only can be held, too."""
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            os.close(fd)
            if not isinstance(e, BlockingIOError):
                raise
            hint = "stop the other one, or give this one a runtime.state_dir of its own"
            raise RevisionError(f"{self.folder}: another edged with this file uses it", hint=hint) from e
        self._lock = fd

    def _read(self) -> None:
        numbers = [int(m[1]) for name in os.listdir(self.folder) if (m := _DATA.fullmatch(name))]
        self.first_free = max(numbers, default=0) + 1
        index = self.folder / _INDEX
        try:
            self.ledger = self._on_disk = _unsealed(index.read_bytes())
        except FileNotFoundError:
            return  # nothing was ever kept
        except (OSError, ValueError) as e:
            aside = index.with_suffix(".damaged")
            self.damaged = f"{index} is damaged ({e}) and now called {aside.name}"
            try:
                os.rename(index, aside)
            except OSError as other:
                self.damaged = f"{index} is damaged ({e}) and cannot be put aside ({other.strerror})"

    def _try(self, ledger: Ledger) -> None:
        """Write it where that is possible; where not, what is on disk leads the next start to the same."""
        try:
            self._write(ledger)
        except (OSError, RevisionError) as e:
            log.warning("the state of the configuration is not kept: %s", e)

    def _unkeepable(self, e: OSError | RevisionError) -> RevisionError:
        if isinstance(e, RevisionError):
            return e
        message = f"the change cannot be kept in {self.folder}, so it is not made: {e.strerror}"
        return RevisionError(message, hint=_HINT)

    def _write(self, ledger: Ledger) -> None:
        if self.problem:
            raise RevisionError(self.problem, hint="mend it, then start edged again")
        if self._lock is None:
            make_folder(self.folder)
            self._hold()
        for number in [e.number for e in ledger.entries if e.number in self._unkept]:
            replace_file(self.folder / f"{number:06}.json", self._unkept[number])
        self._replace_index(ledger)
        self._on_disk = ledger
        self._unkept.clear()
        self._forget(ledger)

    def _replace_index(self, ledger: Ledger) -> None:
        """OSError: the one before is in place, also where the new one had its name and only could not be synced."""
        index, new = self.folder / _INDEX, _sealed(ledger)
        try:
            replace_file(index, new)
        except OSError:
            if _holds(index, new):
                self._put_back(index)
            raise

    def _put_back(self, index: Path) -> None:
        try:
            if self._on_disk is None:
                index.unlink()
                sync_folder(self.folder)
            else:
                replace_file(index, _sealed(self._on_disk))
        except OSError as e:
            log.warning("%s may name a revision that was refused after a loss of power: %s", index, e)

    def _forget(self, ledger: Ledger) -> None:
        """Delete what the index names no more, or what was cut short; what is left over is deleted next time."""
        kept = {_INDEX, *(f"{e.number:06}.json" for e in ledger.entries)}
        try:
            for name in os.listdir(self.folder):
                if _OURS.fullmatch(name) and name not in kept:
                    os.unlink(self.folder / name)
        except OSError as e:
            log.warning("an old revision of the configuration stays: %s", e)


def _holds(file: Path, data: bytes) -> bool:
    try:
        return file.read_bytes() == data
    except OSError:
        return False


def _sealed(ledger: Ledger) -> bytes:
    text = msgspec.json.encode(ledger)
    return msgspec.json.encode(_Sealed(hashlib.sha256(text).hexdigest(), msgspec.Raw(text)))


def _unsealed(text: bytes) -> Ledger:
    """ValueError when it is not what was written."""
    try:
        sealed = msgspec.json.decode(text, type=_Sealed)
        body = bytes(sealed.ledger)
        if hashlib.sha256(body).hexdigest() != sealed.sha256:
            raise ValueError("its checksum is another")
        ledger = msgspec.json.decode(body, type=Ledger)
    except msgspec.DecodeError as e:  # of old versions it is no ValueError
        raise ValueError(str(e)) from e
    if not is_whole(ledger):
        raise ValueError("it contradicts itself")
    return ledger
