"""The folder for plans, the timing cache and what is kept: there, ours alone, writable, with room."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edged.doctor.base import Outcome, failed, passed, refused, warned
from edged.doctor.place import Place
from edged.memory import format_bytes
from edged.models import trust
from edged.models.plans import PlanError, PlanStore

LITTLE, NEARLY_NONE = 1 << 30, 64 << 20  # bytes: a few plans of large models; less than one


def state_dir(place: Place) -> Iterator[Outcome]:
    yield judge(place.state_dir)


def judge(folder: Path, little: int = LITTLE, nearly_none: int = NEARLY_NONE) -> Outcome:
    """Tries to write a file there; nothing is left."""
    make = f"sudo install -d -m 0700 -o USER {folder} (USER: who runs edged)"
    if folder.exists() and not folder.is_dir():
        return failed(f"{folder} is no folder", f"rm {folder}; {make}")
    if not folder.exists():
        parent = next(p for p in folder.parents if p.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
            return failed(f"{folder} is not there, and cannot be made in {parent}", make)
        return _room(folder, parent, little, nearly_none, "is not there yet: made when something is stored")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        _check(folder)
    except PermissionError:
        return refused(trust.denied(folder, folder))
    except PlanError as e:
        return refused(e)
    except OSError as e:
        return failed(f"{folder}: nothing can be written there: {e.strerror}", make)
    return _room(folder, folder, little, nearly_none, "can be written to")


def _check(folder: Path) -> None:
    """PlanError where plans that are stored here would not be believed."""
    store = PlanStore(folder / "plans")
    for path in (folder, store.root, store.key_file):
        if path.exists():
            trust.check(path, folder, secret=path == store.key_file)


def _room(folder: Path, at: Path, little: int, nearly_none: int, said: str) -> Outcome:
    s = os.statvfs(at)
    free = s.f_bavail * s.f_frsize
    text = f"{folder} {said}; {format_bytes(free)} free"
    remedy = f"df -h {at}; du -xh --max-depth 1 {at} says what is large"
    if free < nearly_none:
        return failed(f"{text}: no plan fits there", remedy)
    if free < little:
        return warned(text, remedy)
    return passed(text)
