"""Ways to keep the builder's memory in bounds: a scope, a cgroup, a look now and then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edged.build import cap
from edged.build.cap import Group, Scope, Watched, make_cap
from edged.errors import EdgedError

NONE = Path("/nonexistent")


@pytest.fixture
def cgroups(tmp_path: Path) -> Path:
    """A folder that looks like the root of cgroup version 2."""
    (tmp_path / "cgroup.subtree_control").write_text("cpu io memory pids\n")
    return tmp_path


def fake_systemd_run(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    """A systemd-run that is first on PATH and writes its arguments to a file."""
    folder.mkdir()
    tool, said = folder / "systemd-run", folder / "said"
    tool.write_text(f'#!/bin/sh\necho "$*" >> {said}\n{body}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return said


def test_under_systemd_the_builder_runs_in_a_scope_as_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
    said = fake_systemd_run(tmp_path / "bin", monkeypatch, until)
    made = make_cap(123456, systemd=tmp_path)
    assert isinstance(made, Scope)
    with subprocess.Popen(made.command(["sh", "-c", "echo $$"]), stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert int(child.stdout.read()) == child.pid
    last = said.read_text().splitlines()[-1]
    assert "--scope" in last
    assert "-pMemoryMax=123456" in last
    assert "-pMemorySwapMax=0" in last


def test_a_user_without_a_manager_gets_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_systemd_run(tmp_path / "bin", monkeypatch, "echo 'Failed to connect to bus' >&2; exit 1")
    assert make_cap(1 << 30, systemd=tmp_path, cgroups=NONE).how == "watched"


def test_root_without_systemd_makes_a_cgroup(cgroups: Path) -> None:
    made = make_cap(123456, cgroups=cgroups, systemd=NONE)
    assert isinstance(made, Group)
    (folder,) = (p for p in cgroups.iterdir() if p.is_dir())
    assert (folder / "memory.max").read_text() == "123456"
    made.enter(77)
    assert (folder / "cgroup.procs").read_text() == "77"
    (folder / "memory.events").write_text("low 0\nmax 12\noom 1\noom_kill 0\n")
    assert not made.killed()
    (folder / "memory.events").write_text("low 0\noom_kill 1\n")
    assert made.killed()
    for file in folder.iterdir():  # the kernel's own go with the folder
        file.unlink()
    made.close()
    made.close()
    assert not folder.exists()


def test_a_group_that_takes_no_process_is_named(cgroups: Path) -> None:
    made = Group(1, cgroups)
    (folder,) = (p for p in cgroups.iterdir() if p.is_dir())
    (folder / "cgroup.procs").mkdir()
    with pytest.raises(EdgedError, match="cannot be put under its memory cap"):
        made.enter(1)


def test_without_the_memory_controller_the_process_is_watched(cgroups: Path) -> None:
    (cgroups / "cgroup.subtree_control").write_text("cpu pids\n")
    assert make_cap(1 << 30, cgroups=cgroups, systemd=NONE).how == "watched"
    assert make_cap(1 << 30, cgroups=NONE, systemd=NONE).how == "watched"
    assert make_cap(None).how == "none"


def test_a_watched_process_is_seen_to_grow() -> None:
    grow = "import time; held = bytes(range(256)) * (1 << 18); print('grown', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", grow], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            small, large = Watched(32 << 20), Watched(1 << 34)
            assert small.exceeded(child.pid)
            assert not large.exceeded(child.pid)
            assert not Watched(None).exceeded(child.pid)
        finally:
            child.kill()
    assert not small.exceeded(child.pid)


def test_the_kernels_kills_are_counted_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    count = [3]
    monkeypatch.setattr(cap, "_oom_kills", lambda: count[0])
    watched = Watched(1)
    watched.enter(1)
    assert not watched.killed()
    count[0] = 4
    assert watched.killed()


def test_memory_that_can_be_had_is_less_than_all_and_more_than_none() -> None:
    assert 0 < cap.available_memory() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert cap.resident(os.getpid()) > 1 << 20
    assert cap.resident(2**22 + 1) == 0
