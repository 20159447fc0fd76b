"""What the user may open, and how much memory it may lock. Run it as the user that the daemon runs as."""

from __future__ import annotations

import grp
import os
import pwd
import resource
from collections.abc import Iterator
from pathlib import Path

from edged.doctor.base import Outcome, failed, not_here, passed, warned
from edged.doctor.place import Place
from edged.memory import format_bytes

# what edged opens, by the group that gives access to it on Debian, Ubuntu and JetPack
_NODES: dict[str, tuple[str, ...]] = {
    "cameras": ("video*", "media*", "v4l-subdev*"),
    "GPU": ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "nvmap", "nvgpu/*/*", "nvhost-*", "dri/renderD*"),
}
_GROUPS = ("video", "render")
_LOCKED = 64 << 20  # two dozen slots of full-HD pictures
_MOST_NAMED = 3


def nodes(place: Place) -> Iterator[Outcome]:
    """Each kind of device node: whether all of it may be read and written."""
    dev = place.at("/dev")
    for kind, patterns in _NODES.items():
        here = sorted({p for pattern in patterns for p in dev.glob(pattern) if not p.is_dir()})
        shut = [p for p in here if not os.access(p, os.R_OK | os.W_OK, effective_ids=True)]
        if not here:
            yield not_here(f"{kind}: no device node")
        elif shut:
            yield failed(f"{kind}: {_listed(shut)} may not be opened by {_user()}", _let_in(shut))
        else:
            yield passed(f"{kind}: {_listed(here)} may be opened")


def _listed(paths: list[Path]) -> str:
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    return ", ".join(map(str, paths[:_MOST_NAMED])) + more


def _let_in(shut: list[Path]) -> str:
    groups = sorted({_group_of(p) for p in shut if p.stat().st_mode & 0o060 == 0o060} - {""})
    if not groups:
        return f"ls -l {shut[0]}: its mode lets no group in; a udev rule must (GROUP=, MODE=0660)"
    return f"sudo usermod -aG {','.join(groups)} {_user()}, then log in again"


def _group_of(path: Path) -> str:
    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except (KeyError, OSError):
        return ""


def groups(place: Place) -> Iterator[Outcome]:
    """The groups video and render, as far as this system has them. Root needs neither."""
    if os.geteuid() == 0:
        yield passed("root may open everything; the service should run as a user of its own")
        return
    user, have = _user(), set(os.getgroups()) | {os.getegid()}
    for name, (gid, members) in _known(place).items():
        if gid in have:
            yield passed(f"{user} is in the group {name}")
        elif user in members:
            yield warned(f"{user} is in the group {name}, but not yet in this session", "log in again")
        else:
            yield warned(
                f"{user} is not in the group {name}", f"sudo usermod -aG {name} {user}, then log in again"
            )
    if not _known(place):
        yield not_here(f"this system has no group {' or '.join(_GROUPS)}")


def _known(place: Place) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Number and members of those of _GROUPS that /etc/group has."""
    found = {}
    for line in (place.read("/etc/group") or "").splitlines():
        parts = line.split(":")
        if len(parts) == 4 and parts[0] in _GROUPS and parts[2].isdigit():
            found[parts[0]] = (int(parts[2]), tuple(parts[3].split(",")))
    return found


def memlock(place: Place) -> Iterator[Outcome]:
    """RLIMIT_MEMLOCK: frames' slots are pinned for the GPU and for camera drivers."""
    yield judge_memlock(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0], privileged=os.geteuid() == 0)


def judge_memlock(limit: int, *, privileged: bool) -> Outcome:
    """`limit` in bytes, or resource.RLIM_INFINITY. Privileged users (CAP_IPC_LOCK) have none."""
    remedy = "LimitMEMLOCK=infinity in edged's unit; in a shell: a line in /etc/security/limits.d"
    if limit == resource.RLIM_INFINITY:
        return passed("any amount of memory may be locked")
    text = f"{format_bytes(limit)} of memory may be locked"
    if privileged:
        return passed(f"{text}, which does not bind root")
    if limit == 0:
        return failed("no memory may be locked: pinning of frames may be refused", remedy)
    if limit < _LOCKED:
        return warned(f"{text}, less than {format_bytes(_LOCKED)}: pinning of frames may be refused", remedy)
    return passed(text)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container, a user by number alone
        return str(os.geteuid())
