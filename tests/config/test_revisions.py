"""Revisions on disk: whenever the power fails or the process is killed, the old state is there or the new one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from edged.config.boot import Boot, boot
from edged.config.ledger import KEPT, Entry, Ledger
from edged.config.patch import etag
from edged.config.revisions import RevisionError, Revisions
from edged.models import durable
from tests.config import crash
from tests.config.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def ledger_of(booted: Boot) -> Ledger:
    assert booted.revisions.ledger is not None
    return booted.revisions.ledger


def stage(booted: Boot, data: dict[str, Any], **more: Any) -> int:
    now = ledger_of(booted)
    entry = Entry(number=now.next, at=1, by="a test", etag=etag(data), grew_from=now.now.grew_from)
    booted.revisions.stage(entry, data, **more)
    return entry.number


@contextmanager
def started(site: Site) -> Iterator[Boot]:
    """A process's life, as far as the revisions go."""
    booted = boot(site.file)
    try:
        yield booted
    finally:
        booted.revisions.close()


def runs(site: Site) -> Any:
    """What the next start runs: the value of `every`."""
    with started(site) as booted:
        return booted.data["pipelines"]["front"].get("every", "file")


def test_the_first_start_writes_nothing(site: Site) -> None:
    with started(site) as booted:
        assert booted.data == site.data
        assert booted.notes == ()
        assert (ledger_of(booted).current, ledger_of(booted).trial) == (1, None)
    assert not site.state.exists()


def test_a_confirmed_revision_runs_at_the_next_start(site: Site) -> None:
    with started(site) as booted:
        assert stage(booted, site.with_every(2)) == 2
        booted.revisions.confirm()
    with started(site) as booted:
        assert booted.data == site.with_every(2)
        assert booted.config.pipelines["front"].every == 2
        assert booted.notes == ()
        assert [(e.number, e.by, e.outcome) for e in ledger_of(booted).entries] == [
            (1, "file", "confirmed"),
            (2, "a test", "confirmed"),
        ]
        assert booted.revisions.data(1) == site.data


def test_a_trial_is_undone_by_the_next_start(site: Site) -> None:
    with started(site) as booted:
        stage(booted, site.with_every(2))
    with started(site) as booted:
        assert booted.data == site.data
        (note,) = booted.notes
        assert (note.state, note.reason) == (
            "undone",
            "revision 2: the process ended before it was confirmed",
        )
    with started(site) as booted:
        assert booted.notes == ()  # it is told once
        assert ledger_of(booted).entries[-1].outcome == "undone: the process ended before it was confirmed"
        assert stage(booted, site.with_every(3)) == 3  # a number is used once


def test_a_discarded_trial_is_history(site: Site) -> None:
    with started(site) as booted:
        stage(booted, site.with_every(2))
        booted.revisions.discard("undone: too bad")
    with started(site) as booted:
        assert (booted.data, booted.notes) == (site.data, ())
        assert ledger_of(booted).entries[-1].outcome == "undone: too bad"
        assert booted.revisions.data(2) == site.with_every(2)


def test_only_the_owner_reads_revisions(site: Site) -> None:
    with started(site) as booted:
        stage(booted, site.with_every(2))
        files = [p for p in booted.revisions.folder.iterdir() if p.is_file()]
    assert {p.stat().st_mode & 0o777 for p in files} == {0o600}
    assert {p.stat().st_mode & 0o777 for p in (site.state, booted.revisions.folder)} == {0o700}


def test_the_last_32_are_kept(site: Site) -> None:
    with started(site) as booted:
        for every in range(2, 40):
            stage(booted, site.with_every(every))
            booted.revisions.discard("a test")
        numbers = [e.number for e in ledger_of(booted).entries]
        assert numbers == [1, *range(39 - KEPT + 2, 40)]  # the current one stays, however old it is
        assert sorted(p.name for p in booted.revisions.folder.glob("0*.json")) == [
            f"{n:06}.json" for n in numbers
        ]
    with started(site) as booted:
        assert [e.number for e in ledger_of(booted).entries] == numbers


def test_what_a_crash_left_half_written_is_deleted(site: Site) -> None:
    with started(site) as booted:
        stage(booted, site.with_every(2))
        folder = booted.revisions.folder
        others = {folder / ".000009.json.part", folder / "000009.json", folder / ".index.json.part"}
        for path in (*others, folder / "notes.txt"):
            path.write_text("x")
        booted.revisions.confirm()
        assert {p.name for p in folder.iterdir()} == {"000001.json", "000002.json", "index.json", "notes.txt"}


def test_each_file_has_revisions_of_its_own(site: Site) -> None:
    other = site.folder / "other.toml"
    other.write_text(site.file.read_text())
    with started(site) as booted:
        stage(booted, site.with_every(2))
        booted.revisions.confirm()
    assert boot(other).data == site.data
    assert runs(site) == 2


def test_only_one_process_changes_them(site: Site) -> None:
    with started(site) as booted:
        stage(booted, site.with_every(2))
        booted.revisions.confirm()
        with started(site) as second:
            assert second.data == site.data
            assert "another edged with this file uses it" in second.notes[0].reason
            with pytest.raises(RevisionError, match="another edged"):
                stage(second, site.with_every(3))
    assert runs(site) == 2


class TestASyncThatFails:
    """After the rename: the name is there, and nobody knows whether it lasts."""

    @pytest.fixture
    def failing(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[OSError]]:
        """What the next syncs of a folder that holds an index raise."""
        errors: list[OSError] = []
        sync = durable.sync_folder

        def sync_folder(folder: Path) -> None:
            if errors and (folder / "index.json").exists():
                raise errors.pop()
            sync(folder)

        monkeypatch.setattr(durable, "sync_folder", sync_folder)
        yield errors
        assert errors == []

    def test_a_first_trial_is_not_kept(self, site: Site, failing: list[OSError]) -> None:
        with started(site) as booted:
            failing.append(OSError(errno.EIO, "Input/output error"))
            with pytest.raises(RevisionError, match="so it is not made: Input/output error"):
                stage(booted, site.with_every(2))
            assert not (booted.revisions.folder / "index.json").exists()
        with started(site) as booted:
            assert booted.notes == ()

    @pytest.mark.parametrize("times", [1, 2])
    def test_what_was_not_confirmed_is_a_trial(self, site: Site, failing: list[OSError], times: int) -> None:
        with started(site) as booted:
            stage(booted, site.with_every(2))
            failing += [OSError(errno.EIO, "Input/output error")] * times
            with pytest.raises(RevisionError):
                booted.revisions.confirm()
            assert ledger_of(booted).trial == 2
        assert runs(site) == "file"


class TestWhateverFails:
    """Every state that a failing power can leave behind, at every moment of changes and of starts."""

    def check(self, site: Site, seen: crash.Recorder, after: Any, start: crash.Tree | None = None) -> int:
        count = 0
        for may_run, tree in crash.states(seen.ops, after, start):
            crash.build({os.path.relpath(p, "state"): v for p, v in tree.items()}, site.state)
            assert runs(site) in may_run, (tree, may_run)
            with started(site) as booted:  # what the start wrote leads to the same again
                assert booted.data["pipelines"]["front"].get("every", "file") in may_run
                for entry in ledger_of(booted).entries:
                    assert booted.revisions.data(entry.number)
            count += 1
        return count

    def test_changes(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("edged.config.ledger.KEPT", 3)  # so that old ones are deleted, too
        with crash.record(site.folder) as seen:
            booted = boot(site.file)
            now: Any = "file"
            for every, confirmed in ((2, True), (3, False), (4, True), (5, True)):
                seen.during = {now}
                stage(booted, site.with_every(every))
                if confirmed:
                    seen.during = {now, every}
                    booted.revisions.confirm()
                    now = every
                else:
                    booted.revisions.discard("a test")
            booted.revisions.close()
        assert self.check(site, seen, {now}) > 60

    def test_a_start_that_undoes_and_one_that_takes_the_file(self, site: Site) -> None:
        with started(site) as booted:
            stage(booted, site.with_every(2))
            booted.revisions.confirm()
            stage(booted, site.with_every(3))
        shutil.copytree(site.state, site.folder / "before")
        start = crash.tree_of(site.folder, "state")
        with crash.record(site.folder) as seen:
            seen.during = {2}
            assert runs(site) == 2
        assert self.check(site, seen, {2}, start) >= 5
        shutil.rmtree(site.state)
        shutil.copytree(site.folder / "before", site.state)
        site.edit("robot-7", "robot-8")
        with crash.record(site.folder) as seen:
            seen.during = {"file"}
            assert runs(site) == "file"
        assert self.check(site, seen, {"file"}, start) >= 9


KILLED = Path(__file__).with_name("killed.py")


def killed(site: Site, times: int) -> str:
    done = subprocess.run(
        [sys.executable, str(KILLED), str(site.file), str(times)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.parametrize("times", [40, pytest.param(200, marks=pytest.mark.system)])
def test_killed_at_random_moments(site: Site, times: int) -> None:
    """A real process, kill -9, and a start after each: what was confirmed runs, or what was about to be."""
    assert killed(site, times).startswith(f"{times} kills")


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can be written (a real full disk: ON_A_SMALL_DISK below)."""

    def refuse(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edged.config.revisions.replace_file", refuse)
        yield


class TestNoRoom:
    def test_a_change_is_refused_and_nothing_changed(self, site: Site) -> None:
        with started(site) as booted, full_disk():
            with pytest.raises(RevisionError, match="so it is not made: No space left") as e:
                stage(booted, site.with_every(2))
            assert "free space there, or set runtime.state_dir" in e.value.hint
            assert ledger_of(booted).trial is None
        assert runs(site) == "file"

    def test_a_file_is_taken_all_the_same_and_written_with_the_next_change(self, site: Site) -> None:
        with started(site) as booted:
            with full_disk():
                stage(booted, site.with_every(2), must_last=False)
                booted.revisions.confirm()
            assert ledger_of(booted).current == 2
            assert booted.revisions.data(2) == site.with_every(2)
            assert booted.revisions.data(1) == site.data
            stage(booted, site.with_every(3))
            booted.revisions.confirm()
        with started(site) as booted:
            for number, data in ((1, site.data), (2, site.with_every(2)), (3, site.with_every(3))):
                assert booted.revisions.data(number) == data

    def test_a_trial_that_cannot_be_confirmed_stays_one(self, site: Site) -> None:
        with started(site) as booted:
            stage(booted, site.with_every(2))
            with full_disk():
                with pytest.raises(RevisionError):
                    booted.revisions.confirm()
                assert ledger_of(booted).trial == 2
                booted.revisions.discard("a test")  # cannot be written either
        assert runs(site) == "file"

    def test_a_start_on_a_full_disk_decides_the_same_each_time(self, site: Site) -> None:
        with started(site) as booted:
            stage(booted, site.with_every(2))
        for _ in range(2):
            with full_disk(), started(site) as booted:
                assert booted.data == site.data
                assert booted.notes[0].state == "undone"


HEAD = """
import os, subprocess, sys
from edged.config.boot import boot
from edged.config.ledger import Entry
from edged.config.patch import etag, merge
from edged.config.revisions import RevisionError

def change(every):
    "What a start runs and says, and what comes of a change."
    booted = boot(sys.argv[1])
    now, data = booted.revisions.ledger, merge(booted.data, {"pipelines": {"front": {"every": every}}})
    print(booted.data["pipelines"]["front"].get("every"), [n.state for n in booted.notes], end=" ")
    entry = Entry(number=now.next, at=1, by="x", etag=etag(data), grew_from=now.now.grew_from)
    try:
        booted.revisions.stage(entry, data)
        booted.revisions.confirm()
        print("confirmed")
    except RevisionError as e:
        print(repr(str(e)))
    booted.revisions.close()
"""
AS_NOBODY = """
boot(sys.argv[1]).revisions.close()  # imports what that user may not read here
os.setgid(65534), os.setuid(65534)
change(3)
"""
ON_A_SMALL_DISK = """
state = os.path.join(os.path.dirname(sys.argv[1]), "state")
os.mkdir(state)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", state], check=True)
change(2)
try:
    with open(os.path.join(state, "fill"), "wb", buffering=0) as f:
        while f.write(bytes(512)):
            pass
except OSError:
    pass
change(3)
change(3)
subprocess.run(["mount", "-o", "remount,ro", state], check=True)
change(4)
"""


def in_a_process(script: str, site: Site, *before: str) -> list[str]:
    done = subprocess.run(
        [*before, sys.executable, "-c", HEAD + script, str(site.file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which needs root")
def test_a_disk_that_fills_up_and_one_that_is_read_only(site: Site) -> None:
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        pytest.skip("this container may not mount anything")
    first, full, again, read_only = in_a_process(ON_A_SMALL_DISK, site, "unshare", "-m")
    assert first == "None [] confirmed"
    for line in (full, again):
        assert line.startswith("2 [] ")
        assert "so it is not made: No space left on device" in line
    assert read_only.startswith("2 [] ")
    assert "so it is not made: Read-only file system" in read_only


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
@pytest.mark.parametrize("kept", [False, True])
def test_a_user_who_may_not_write_there_runs_the_file(kept: bool) -> None:
    with TemporaryDirectory() as folder:  # pytest's own is for one user
        _as_nobody(Site(Path(folder)), kept)


def _as_nobody(site: Site, kept: bool) -> None:
    site.folder.chmod(0o755)
    if kept:
        with started(site) as booted:
            stage(booted, site.with_every(2))
            booted.revisions.confirm()
    else:
        site.state.mkdir(mode=0o700)
    (line,) = in_a_process(AS_NOBODY, site)
    assert line.startswith("None [] ")  # nothing is said at start
    assert "so it is not made: Permission denied" in line
    assert "set runtime.state_dir to a folder that edged's user may write" in line


class TestDamage:
    @pytest.fixture
    def kept(self, site: Site) -> Path:
        """The folder, with revision 2 as the current one."""
        with started(site) as booted:
            stage(booted, site.with_every(2))
            booted.revisions.confirm()
            return booted.revisions.folder

    @pytest.mark.parametrize("how", ["empty", "half", "a byte", "no JSON", "a folder", "contradicts"])
    def test_a_damaged_index_is_put_aside_and_the_file_runs(self, site: Site, kept: Path, how: str) -> None:
        index = kept / "index.json"
        text = index.read_bytes()
        index.unlink()
        if how == "a folder":
            index.mkdir()
        else:
            damaged = {
                "empty": b"",
                "half": text[: len(text) // 2],
                "a byte": text.replace(b'"current":2', b'"current":1'),
                "no JSON": b"\xff\x00",
                "contradicts": b'{"sha256":"x","ledger":{}}',
            }
            index.write_bytes(damaged[how])
        with started(site) as booted:
            assert booted.data == site.data
            (note,) = booted.notes
            assert note.state == "file"
            assert "index.json is damaged" in note.reason
            assert "called index.damaged" in note.reason
            assert (kept / "index.damaged").exists()
            assert stage(booted, site.with_every(5)) == 4  # 3 is the file; no number is used again
            booted.revisions.confirm()
        assert runs(site) == 5

    def test_a_damaged_revision_is_not_run(self, site: Site, kept: Path) -> None:
        (kept / "000002.json").write_bytes(
            (kept / "000002.json").read_bytes().replace(b'"every":2', b'"every":9')
        )
        with started(site) as booted:
            assert booted.data == site.data
            (note,) = booted.notes
            assert note.reason.startswith(
                "the file runs, as revision 3: revision 2 cannot be used any more: "
            )
            assert "is not what was written" in note.reason
        with started(site) as booted:
            assert (booted.data, booted.notes) == (site.data, ())

    def test_a_revision_that_is_gone_is_not_run(self, site: Site, kept: Path) -> None:
        (kept / "000002.json").unlink()
        with started(site) as booted:
            assert booted.data == site.data
            assert "revision 2 cannot be read" in booted.notes[0].reason


def test_the_folder_of_a_file_can_be_told_apart_and_found(site: Site) -> None:
    with started(site) as booted:
        assert booted.revisions.folder.parent == site.state / "config"
        assert booted.revisions.folder.name.startswith("edged.toml-")
    assert Revisions(site.state / "nothing").ledger is None
