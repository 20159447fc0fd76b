"""What runs at start: the file, or the revision that was confirmed after it; and what is told of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.config import ledger
from edged.config.boot import Boot, boot
from edged.config.ledger import Entry, FileNow, Ledger, choose, file_instead, first, is_whole
from edged.config.load import from_data, read
from edged.config.patch import etag
from edged.errors import ConfigError
from tests.config.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def keep(site: Site, data: dict[str, Any], *, confirmed: bool = True, grew_from: str = "") -> None:
    """A process that accepts a change."""
    booted = boot(site.file)
    now = booted.revisions.ledger
    assert now is not None
    entry = Entry(
        number=now.next, at=1, by="a test", etag=etag(data), grew_from=grew_from or now.now.grew_from
    )
    booted.revisions.stage(entry, data)
    if confirmed:
        booted.revisions.confirm()
    booted.revisions.close()


def start(site: Site) -> Boot:
    booted = boot(site.file)
    booted.revisions.close()
    return booted


def told(booted: Boot) -> list[tuple[str, str]]:
    return [(n.state, n.reason) for n in booted.notes]


def test_a_changed_file_goes_before_a_revision_and_that_is_told_once(site: Site) -> None:
    keep(site, site.with_every(2))
    site.edit("robot-7", "robot-8")
    booted = start(site)
    assert booted.config.device.id == "robot-8"
    why = "the file runs, as revision 3: it has changed since revision 2 (by a test)"
    assert told(booted) == [("file", why)]
    again = start(site)
    assert (again.config.device.id, again.notes) == ("robot-8", ())


def test_a_comment_in_the_file_changes_nothing(site: Site) -> None:
    site.file.write_text(site.file.read_text() + "# a comment\n")
    assert told(start(site)) == []
    keep(site, site.with_every(2))
    keep(site, site.data)
    site.file.write_text(site.file.read_text() + "# another\n")
    for _ in range(2):
        booted = start(site)
        assert (booted.data, booted.notes) == (site.data, ())


def test_a_file_that_cannot_be_used_does_not_stop_a_robot_that_has_a_revision(site: Site) -> None:
    keep(site, site.with_every(2))
    site.edit('model = "tiny"', 'model = "tinny"')
    booted = start(site)
    assert booted.config.pipelines["front"].every == 2
    ((state, reason),) = told(booted)
    assert state == "revision"
    assert reason.startswith("the file cannot be used, so revision 2 (by a test) runs: ")
    assert "did you mean 'tiny'?" in reason


@pytest.mark.parametrize("how", ["gone", "no TOML"])
def test_a_file_without_any_sense_is_the_same(site: Site, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its state is says systemd then."""
    site.edit('[runtime]\nstate_dir = "state"\n', "")
    monkeypatch.setenv("STATE_DIRECTORY", str(site.state))
    keep(site, site.with_every(2))
    if how == "gone":
        site.file.unlink()
    else:
        site.file.write_text("[")
    assert start(site).config.pipelines["front"].every == 2


@pytest.mark.parametrize("where", ["path", "device"])
def test_a_character_that_no_path_has_does_not_stop_it_either(site: Site, where: str) -> None:
    keep(site, site.with_every(2))
    line = {"path": 'kind = "jsonl"\npath = "a\\u0000b"', "device": 'kind = "v4l2"\ndevice = "a\\u0000b"'}
    group = "sinks" if where == "path" else "sources"
    site.file.write_text(f"{site.file.read_text()}[{group}.odd]\n{line[where]}\n")
    booted = start(site)
    assert booted.config.pipelines["front"].every == 2
    assert f"{group}.odd.{where}: holds a NUL" in told(booted)[0][1]


def test_a_defect_in_reading_the_file_does_not_stop_it_either(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(site, site.with_every(2))

    def reads(data: Any, **keys: Any) -> Any:
        if data["device"]["id"] == "robot-8":
            raise ValueError("a defect")
        return from_data(data, **keys)

    monkeypatch.setattr("edged.config.boot.from_data", reads)
    site.edit("robot-7", "robot-8")
    booted = start(site)
    assert booted.config.pipelines["front"].every == 2
    assert "cannot be read: ValueError: a defect; this is a defect of edged" in told(booted)[0][1]


def test_a_defect_in_reading_a_revision_leaves_the_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(site, site.with_every(2))

    def looks(config: Any) -> Any:
        raise ValueError("a defect")

    monkeypatch.setattr("edged.config.boot.inspect_machine", looks)
    booted = start(site)
    assert booted.data == site.data
    assert "revision 2 cannot be used any more: " in told(booted)[0][1]
    assert "ValueError: a defect" in told(booted)[0][1]


@pytest.mark.parametrize("how", ["gone", "no TOML", "NUL"])
def test_a_service_finds_the_state_dir_that_such_a_file_had(
    site: Site, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(site.folder / "service"))
    keep(site, site.with_every(2))
    good = site.file.read_text()
    if how == "gone":
        site.file.unlink()
    else:
        site.file.write_text("[" if how == "no TOML" else '[runtime]\nstate_dir = "a\\u0000"')
    for _ in range(2):
        assert start(site).config.pipelines["front"].every == 2
    site.file.write_text(good.replace('"state"', '"other"'))  # from now on it is there
    start(site)
    site.file.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        boot(site.file)


def test_a_start_by_hand_leaves_nothing_in_the_services_folder(site: Site, tmp_path: Path) -> None:
    keep(site, site.with_every(2))
    assert {p.name for p in tmp_path.iterdir()} == {"edged.toml", "state", "tiny"}


def test_a_bad_file_without_a_revision_is_an_error(site: Site) -> None:
    site.edit('model = "tiny"', 'model = "tinny"')
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        boot(site.file)
    site.file.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        boot(site.file)


def test_a_revision_that_is_accepted_no_more_gives_way_to_the_file(site: Site) -> None:
    """A newer edged may know a key no more; a model may be gone."""
    data = site.with_every(2)
    data["pipelines"]["front"]["old_key"] = 1
    keep(site, data)
    booted = start(site)
    assert booted.data == site.data
    ((state, reason),) = told(booted)
    assert state == "file"
    assert reason.startswith("the file runs, as revision 3: revision 2 cannot be used any more: ")
    assert "edged.toml (revision 2): pipelines.front.old_key: unknown key" in reason
    assert told(start(site)) == []


def test_a_revision_whose_model_is_gone_gives_way_to_the_file(site: Site) -> None:
    data = site.with_every(2)
    (site.folder / "tiny").rename(site.folder / "other")
    data["models"]["tiny"]["path"] = "other"
    keep(site, data)
    assert start(site).data == data
    (site.folder / "other").rename(site.folder / "tiny")
    booted = start(site)
    assert booted.data == site.data
    assert "models.tiny.path" in booted.notes[0].reason


def test_neither_can_be_used(site: Site) -> None:
    keep(site, site.with_every(2))
    (site.folder / "tiny").rename(site.folder / "other")
    site.edit("broker.invalid", "")
    site.edit('kind = "mqtt"', 'kind = "mqt"')
    with pytest.raises(ConfigError, match="did you mean 'mqtt'"):
        boot(site.file)


def test_a_file_that_was_tried_and_undone_does_not_run_by_itself(site: Site) -> None:
    """The process ended in the trial of a reloaded file: the last good revision returns, and stays."""
    keep(site, site.with_every(2))
    site.edit("robot-7", "robot-8")
    tried = {**site.data}
    keep_trial_of_the_file(site, tried)
    booted = start(site)
    assert booted.config.device.id == "robot-7"
    assert [n.state for n in booted.notes] == ["undone", "revision"]
    for _ in range(2):
        booted = start(site)
        assert booted.config.pipelines["front"].every == 2
        ((state, reason),) = told(booted)
        assert state == "revision"
        assert reason.startswith(
            "the file is as it was in revision 3, which was undone: the process ended before"
        )
        assert reason.endswith("revision 2 (by a test) runs: change the file, or reload it to try it again")
    site.edit("robot-8", "robot-9")
    assert start(site).config.device.id == "robot-9"


def test_a_file_that_was_refused_while_another_ran_runs_at_the_next_start(site: Site) -> None:
    """Some keys can be changed only so."""
    keep(site, site.with_every(2))
    site.edit("robot-7", "robot-8")
    keep_trial_of_the_file(site, site.data, "refused: device.id cannot be changed while edged runs")
    booted = start(site)
    assert booted.config.device.id == "robot-8"
    assert [n.state for n in booted.notes] == ["file"]


def keep_trial_of_the_file(site: Site, data: dict[str, Any], outcome: str = "") -> None:
    """A process that reloads the file as it is now, and ends; before that, the trial may."""
    now = site.file.read_text()
    site.file.write_text(now.replace("robot-8", "robot-7"))
    booted = boot(site.file)
    site.file.write_text(now)
    known = booted.revisions.ledger
    assert known is not None
    sha256 = read(str(site.file)).sha256
    entry = Entry(number=known.next, at=1, by="file", etag=etag(data), grew_from=sha256)
    booted.revisions.stage(entry, data)
    if outcome:
        booted.revisions.discard(outcome)
    booted.revisions.close()


def test_paths_are_relative_to_the_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(site, site.with_every(2))
    monkeypatch.chdir("/")
    booted = boot(os.path.relpath(site.file))
    assert booted.config.models["tiny"].path == str(site.folder / "tiny")
    assert booted.config.pipelines["front"].every == 2
    booted.revisions.close()


# The decisions, on values.

files = st.builds(
    FileNow,
    sha256=st.sampled_from("AB"),
    etag=st.sampled_from("xyz"),
    at=st.just(0),
    problem=st.sampled_from(["", "", "bad"]),
)


class Histories:
    """Ledgers as changes and starts make them."""

    @staticmethod
    def step(book: Ledger, what: str, tag: str, sha: str) -> Ledger:
        if what == "start":
            return choose(book, FileNow(sha, tag, 0)).ledger
        if book.trial is not None:
            return book.confirmed() if what == "confirm" else book.discarded(what + ": a test")
        return book.staged(Entry(number=book.next, at=0, by="x", etag=tag, grew_from=sha))

    steps = st.lists(
        st.tuples(
            st.sampled_from(["start", "confirm", "undone", "refused", "stage", "stage"]),
            st.sampled_from("xyz"),
            st.sampled_from("AB"),
        ),
        max_size=100,
    )


@given(files, Histories.steps)
def test_every_history_is_whole_bounded_and_rises(file: FileNow, steps: list[tuple[str, str, str]]) -> None:
    book = first(file).ledger
    highest = 1
    for step in steps:
        book = Histories.step(book, *step)
        assert is_whole(book)
        assert len(book.entries) <= ledger.KEPT
        assert book.entries[-1].number >= highest
        highest = book.entries[-1].number
        assert book.before is None or book.before.number < book.current


@given(files, files, Histories.steps)
def test_a_start_decides_the_same_again(
    was: FileNow, now: FileNow, steps: list[tuple[str, str, str]]
) -> None:
    book = first(was).ledger
    for step in steps:
        book = Histories.step(book, *step)
    choice = choose(book, now)
    assert choice.ledger.trial is None
    if choice.run == "file":
        assert not now.problem
        assert choice.ledger.now.etag == now.etag
    else:
        assert choice.ledger.current == book.current  # only what was confirmed runs
    again = choose(choice.ledger, now)
    assert (again.run, again.ledger) == (choice.run, choice.ledger)
    assert not [n for n in again.notes if n.state != "revision"]  # events come once
    if not now.problem:
        instead = file_instead(choice.ledger, now, "a test")
        assert choose(instead.ledger, now) == ledger.Choice("file", instead.ledger)
