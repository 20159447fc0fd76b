"""The configuration that a daemon starts with: the file, or the revision that was confirmed after it.

    file as it is now ─┐
                       ├─► ledger.choose ──► the Config, what is to be told, the revisions to go on with
    state_dir/config ──┘

Where a service's file names a state_dir, $STATE_DIRECTORY keeps which, for starts at which the file cannot tell.
A newcomer's first run has no state folder, needs none, and is not told so.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edged.config import ledger
from edged.config.ledger import Choice, FileNow, Note
from edged.config.load import base_of, from_data, parse, read
from edged.config.machine import inspect_machine
from edged.config.patch import etag, plain
from edged.config.revisions import RevisionError, Revisions, folder_of
from edged.config.schema import Config
from edged.errors import ConfigError, Problem
from edged.models.durable import make_folder, replace_file
from edged.models.state import state_dir

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Boot:
    """`data` is what `config` was made from; `notes` are to be told once there is somebody who listens."""

    file: str
    config: Config
    data: Mapping[str, Any]
    revisions: Revisions
    notes: tuple[Note, ...]


@dataclass(slots=True)
class _File:
    """What could be made of the file."""

    now: FileNow
    data: dict[str, Any] = field(default_factory=dict)
    config: Config | None = None
    error: ConfigError | None = None


def boot(file: str | os.PathLike[str]) -> Boot:
    """Decide what runs. ConfigError when the file cannot be used and no confirmed revision can, either.

    Reads the file and the revisions; writes only what a start changes, where something was kept before.
    """
    path = os.fspath(file)
    found = _look(path)
    state = _state_dir(found, path)
    revisions = Revisions(folder_of(state, path))
    try:
        config, data, choice = _made(path, found, revisions, _choose(found, revisions))
    except ConfigError:
        revisions.close()
        raise
    revisions.adopt(choice.ledger, data if choice.run == "file" else None)
    _remember(state, path)
    return Boot(path, config, data, revisions, choice.notes)


def revisions_folder(file: str | os.PathLike[str]) -> Path:
    """Where the revisions of a file are that a start would find."""
    path = os.fspath(file)
    return folder_of(_state_dir(_look(path), path), path)


def _look(path: str) -> _File:
    found = _File(FileNow("", "", time.time_ns()))
    try:
        text = read(path)
        found.now = FileNow(text.sha256, "", found.now.at)
        found.data = plain(parse(text.text, path), path)
        found.now = FileNow(text.sha256, etag(found.data), found.now.at)
        found.config = from_data(found.data, file=path, base=base_of(path))
    except ConfigError as e:
        found.error = e
    except Exception as e:  # a robot that has a confirmed revision runs in spite of it
        found.error = _defect(path, e)
    if found.error is not None:
        found.now = FileNow(found.now.sha256, found.now.etag, found.now.at, str(found.error))
    return found


def _defect(label: str, e: Exception) -> ConfigError:
    log.error("%s: reading it came to no end", label, exc_info=e)
    what = f"cannot be read: {type(e).__name__}: {e}"
    return ConfigError(label, [Problem("", what, "this is a defect of edged: report it")])


def _state_dir(found: _File, path: str) -> Path:
    """As the file says it, also one with problems elsewhere; one that cannot be used and does not: as it was last."""
    if found.config is not None:
        return state_dir(found.config.runtime.state_dir)
    runtime = found.data.get("runtime")
    said = runtime.get("state_dir") if isinstance(runtime, dict) else None
    if isinstance(said, str) and said and "\0" not in said:
        return Path(os.path.join(base_of(path), said))
    return _last_state_dir(path)


def _pointer(path: str) -> Path:
    """The file that says which state_dir this configuration file has named last."""
    folder = folder_of(state_dir(), path)
    return folder.with_name(f"{folder.name}.state_dir")


def _last_state_dir(path: str) -> Path:
    try:
        said = os.fsdecode(_pointer(path).read_bytes())
    except FileNotFoundError:
        return state_dir()
    except OSError as e:
        log.warning("which state_dir there was is not known: %s", e)
        return state_dir()
    return Path(said) if os.path.isabs(said) and "\0" not in said else state_dir()


def _remember(state: Path, path: str) -> None:
    """Only a service is sure to have a folder besides its state_dir; by hand nothing is written there."""
    if not os.environ.get("STATE_DIRECTORY") or state == _last_state_dir(path):
        return
    pointer = _pointer(path)
    try:
        make_folder(pointer.parent)
        replace_file(pointer, os.fsencode(os.path.abspath(state)))
    except OSError as e:
        log.warning("that state_dir is %s is not kept: %s", state, e)


def _choose(found: _File, revisions: Revisions) -> Choice:
    if revisions.ledger is not None:
        return ledger.choose(revisions.ledger, found.now)
    if found.error is not None:
        raise found.error
    choice = ledger.first(found.now, revisions.first_free)
    if why := revisions.problem or revisions.damaged:
        return Choice(choice.run, choice.ledger, (Note("file", f"the file runs: {why}"),))
    return choice


def _made(
    path: str, found: _File, revisions: Revisions, choice: Choice
) -> tuple[Config, dict[str, Any], Choice]:
    """The chosen configuration; the file's, where a revision cannot be used any more."""
    if choice.run == "revision":
        try:
            data = revisions.data(choice.ledger.current)
            label = f"{path} (revision {choice.ledger.current})"
            config = from_data(data, file=label, base=base_of(path))
            problems = inspect_machine(config).problems
            if problems:
                raise ConfigError(label, problems)
            return config, data, choice
        except Exception as e:
            if found.error is not None:
                raise found.error from e
            known = isinstance(e, (ConfigError, RevisionError))
            why = f"revision {choice.ledger.current} cannot be used any more: {e if known else _defect(path, e)}"
        instead = ledger.file_instead(choice.ledger, found.now, why)
        choice = Choice("file", instead.ledger, (*choice.notes, *instead.notes))
    assert found.config is not None
    return found.config, found.data, choice
