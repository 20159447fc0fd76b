"""Whose files a store of plans may be. A plan is code: who writes the store, or reads its key, can have it run."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from edged.models.sidecar import PlanError


def check(path: Path, home: Path, *, secret: bool = False) -> None:
    """PlanError unless `path` is ours or root's and only its owner may write it, or, of a secret, read it.

    Root believes the owner of `home` (state_dir), too: it builds for whose service that is. OSError: it is not there.
    """
    seen = path.stat()
    believed = {0, os.geteuid()} | ({home.stat().st_uid} if os.geteuid() == 0 else set())
    mode = stat.S_IMODE(seen.st_mode)
    if seen.st_uid not in believed:
        raise PlanError(
            f"{path}: belongs to {_name(seen.st_uid)}, and plans, which are code, are not taken from other users",
            hint=_give(home, _name(seen.st_uid)),
        )
    if mode & (0o077 if secret else 0o022):
        may, right = ("read", "go-rwx") if secret else ("write", "go-w")
        raise PlanError(
            f"{path}: other users may {may} it (mode {mode:04o}), and so have code run as {_name(os.geteuid())}",
            hint=f"chmod {right} {path}; then build again what they could have changed (edged model build DIR)",
        )


def denied(path: Path, home: Path) -> PlanError:
    """What is told where this user may not read or write the store: who owns it, and what to do about it."""
    at, owner = path, -1
    for at in (path, *path.parents):
        try:
            owner = at.stat().st_uid
        except OSError:  # behind a folder that may not be entered, or not made yet
            continue
        break
    me, other = _name(os.geteuid()), _name(owner)
    make = f"sudo install -d -m 0700 -o {me} {home}, or name another folder with --state-dir"
    return PlanError(
        f"{path}: permission denied for {me}: {at} belongs to {other}",
        hint=make if at in home.parents else _give(home, other),
    )


def _give(home: Path, owner: str) -> str:
    me = _name(os.geteuid())
    return f"run it as {owner} (sudo -u {owner} …), or let {me} have the store: sudo chown -R {me} {home}"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
