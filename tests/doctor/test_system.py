"""Permissions, clock and disk: judged on this machine's own files and limits."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from edged.doctor import clock, disk, permissions
from edged.doctor.place import Place
from tests import other_user

UNPRIVILEGED = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user for a moment")


def as_nobody(check: object, place: Place) -> list[tuple[str, str, str]]:
    """What the check says to a user who may nothing; in this process, which is root again afterwards."""
    assert callable(check)
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        return [(o.state, o.text, o.remedy) for o in check(place)]
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A /dev that its group may open, reachable by everybody."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/") and "pytest" in str(folder):
            folder.chmod(0o755)
    (tmp_path / "dev").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "group").write_text("root:x:0:\nvideo:x:44:someone\nrender:x:105:nobody\n")
    return tmp_path


def camera(root: Path, mode: int) -> Path:
    node = root / "dev" / "video0"
    node.touch()
    os.chown(node, 0, 44)
    node.chmod(mode)
    return node


def test_nodes_that_are_not_there_are_not_here(root: Path) -> None:
    assert {o.state for o in permissions.nodes(Place(root=root))} == {"not here"}


@UNPRIVILEGED
def test_nodes_that_may_be_opened_and_not(root: Path) -> None:
    node = camera(root, 0o666)
    assert as_nobody(permissions.nodes, Place(root=root))[0] == ("pass", f"cameras: {node} may be opened", "")
    node.chmod(0o660)
    state, text, remedy = as_nobody(permissions.nodes, Place(root=root))[0]
    assert state == "fail"
    assert text == f"cameras: {node} may not be opened by nobody"
    assert remedy == "sudo usermod -aG video nobody, then log in again"
    node.chmod(0o600)
    assert "a udev rule must" in as_nobody(permissions.nodes, Place(root=root))[0][2]


@UNPRIVILEGED
def test_groups(root: Path) -> None:
    assert as_nobody(permissions.groups, Place(root=root)) == [
        ("warn", "nobody is not in the group video", "sudo usermod -aG video nobody, then log in again"),
        ("warn", "nobody is in the group render, but not yet in this session", "log in again"),
    ]
    (root / "etc" / "group").write_text("video:x:65534:\n")
    assert as_nobody(permissions.groups, Place(root=root)) == [("pass", "nobody is in the group video", "")]
    (root / "etc" / "group").write_text("root:x:0:\n")
    assert as_nobody(permissions.groups, Place(root=root))[0][0] == "not here"
    assert [o.state for o in permissions.groups(Place(root=root))] == ["pass"]  # root


@pytest.mark.parametrize(
    ("limit", "privileged", "state"),
    [
        (resource.RLIM_INFINITY, False, "pass"),
        (1 << 30, False, "pass"),
        (8 << 20, True, "pass"),
        (8 << 20, False, "warn"),
        (0, False, "fail"),
    ],
)
def test_memlock(limit: int, privileged: bool, state: str) -> None:
    found = permissions.judge_memlock(limit, privileged=privileged)
    assert found.state == state
    assert bool(found.remedy) == (state != "pass")


def test_memlock_of_this_process() -> None:
    assert len(list(permissions.memlock(Place()))) == 1


def test_the_kernel_tells_of_its_clock() -> None:
    kept = clock.ask_kernel()
    assert kept.maxerror_us >= 0
    assert [o.state for o in clock.clock(Place())] in (["pass"], ["warn"])


@pytest.mark.parametrize(
    ("kept", "now", "state", "text"),
    [
        (clock.Kept(True, 12_345), time.time(), "pass", "synchronized, off by 12.3 ms at most"),
        (clock.Kept(True, 400_000), time.time(), "warn", "off by 400.0 ms"),
        (clock.Kept(False, 16_000_000), time.time(), "warn", "nothing keeps it"),
        (clock.Kept(True, 0), 86_400.0, "fail", "the clock says 1970"),
    ],
)
def test_clocks(kept: clock.Kept, now: float, state: str, text: str) -> None:
    found = clock.judge(kept, now)
    assert found.state == state
    assert text in found.text
    assert bool(found.remedy) == (state != "pass")


def test_the_state_folder(tmp_path: Path) -> None:
    there, absent, file = tmp_path / "there", tmp_path / "a" / "b", tmp_path / "file"
    there.mkdir()
    file.touch()
    assert disk.judge(there, 1, 1).state == "pass"
    assert "can be written to" in disk.judge(there, 1, 1).text
    assert disk.judge(absent, 1, 1).state == "pass"
    assert not absent.parent.exists()
    assert disk.judge(file).state == "fail"
    assert disk.judge(file / "below").state == "fail"
    assert disk.judge(Path("/proc/edged")).state == "fail" or os.geteuid() == 0
    assert disk.judge(Path("/proc/self")).text.startswith("/proc/self: nothing can be written there")


def test_little_room(tmp_path: Path) -> None:
    assert disk.judge(tmp_path, 1 << 60, 1).state == "warn"
    assert disk.judge(tmp_path, 1 << 60, 1 << 60).state == "fail"
    assert "df -h" in disk.judge(tmp_path, 1 << 60, 1).remedy


def test_a_state_folder_that_others_may_write_or_whose_key_they_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    found = disk.judge(tmp_path, 1, 1)
    assert (found.state, found.remedy.split(";")[0]) == ("fail", f"chmod go-w {tmp_path}")
    tmp_path.chmod(0o755)
    key = tmp_path / "plan.key"
    key.write_bytes(bytes(32))
    key.chmod(0o644)
    assert disk.judge(tmp_path, 1, 1).remedy.startswith(f"chmod go-rwx {key}")
    key.chmod(0o600)
    (tmp_path / "plans").mkdir(mode=0o700)
    assert disk.judge(tmp_path, 1, 1).state == "pass"


@UNPRIVILEGED
def test_a_state_folder_of_another_user(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    other_user.reachable(folder)
    said = other_user.as_nobody(lambda: disk.judge(folder, 1, 1))
    assert f"permission denied for nobody: {folder} belongs to root" in said
    assert f"sudo chown -R nobody {folder}" in said
