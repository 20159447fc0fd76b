"""The desk, with a daemon that does as it is told and a clock that the test moves; threads and files are real."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from edged.config.boot import boot
from edged.config.machine import inspect_machine
from edged.config.patch import etag, merge
from edged.config.revisions import RevisionError
from edged.config.schema import Config
from edged.desk import Desk
from edged.errors import ConfigError, EdgedError, EngineError, ExitCode, MemoryRefused
from edged.health import Health
from edged.models.model import Model
from edged.rollout import CHANGE_S
from edged.steering import Busy, ConfigState, NoSuchThing, Stale
from tests.config.site import Site

WAIT_S = 10.0  # for what comes at once


class FakeDaemon:
    """changes: what was asked to run. `healths_now`: of the pipelines from then on. `fails`: what the next changes say.

    While `gate` is clear the desk waits; each of its waits moves the clock on.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.changes: list[Config] = []
        self.models: Mapping[str, Model] = {}
        self.touches: tuple[str, ...] = ("front",)
        self.fails: list[BaseException | None] = []
        self.hangs = self.holds = False  # the next changes never end; and time stands still then
        self.held = threading.Event()
        self.healths_now: dict[str, Health] = {"front": Health("running", "", 1.0)}
        self.events: queue.Queue[tuple[str, str]] = queue.Queue()
        self.stops: queue.Queue[tuple[str, ExitCode]] = queue.Queue()
        self.gate = threading.Event()
        self.gate.set()
        self.closing = self.stops_now = self.stops_with_change = False

    def change(self, config: Config, models: Mapping[str, Model]) -> Future[tuple[str, ...]]:
        assert set(models) == set(config.models)
        self.changes.append(config)
        self.models = models
        self.stops_now |= self.stops_with_change
        done: Future[tuple[str, ...]] = Future()
        if self.hangs:
            if self.holds:
                self.gate.clear()
                self.held.set()
            return done
        error = self.fails.pop(0) if self.fails else None
        if error is None:
            done.set_result(self.touches)
        else:
            done.set_exception(error)
        return done

    def healths(self) -> Mapping[str, Health]:
        return self.healths_now

    def stopping(self) -> bool:
        return self.stops_now

    def event(self, state: str, reason: str) -> None:
        self.events.put((state, reason))

    def stop(self, why: str, code: ExitCode) -> None:
        self.stops.put((why, code))

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> bool:
        assert self.gate.wait(WAIT_S)
        self.now += seconds
        return self.closing

    def next_event(self, state: str) -> str:
        found, reason = self.events.get(timeout=WAIT_S)
        assert found == state, reason
        return reason

    def runs_model(self, name: str) -> str:
        """Its version."""
        return self.models[name].version

    @property
    def runs(self) -> int:
        """`every` of what runs."""
        return self.changes[-1].pipelines["front"].every


class Rig:
    """A site, and one process after the other on it."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder)
        self._desks: list[tuple[Desk, FakeDaemon]] = []

    def start(self) -> tuple[Desk, FakeDaemon]:
        booted = boot(self.site.file)
        daemon = FakeDaemon()
        models = inspect_machine(booted.config).models
        desk = Desk(daemon, booted, models, clock=daemon.clock, pause=daemon.pause)
        self._desks.append((desk, daemon))
        desk.start()
        return desk, daemon

    def end(self) -> None:
        """As a process that is killed, as far as files go."""
        for desk, daemon in self._desks:
            daemon.closing = True
            daemon.gate.set()
            desk.close(WAIT_S)
        self._desks.clear()

    def again(self) -> tuple[Desk, FakeDaemon]:
        self.end()
        return self.start()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.end()


def done(future: Future[ConfigState]) -> ConfigState:
    return future.result(timeout=WAIT_S)


def error(future: Future[ConfigState]) -> BaseException | None:
    return future.exception(timeout=WAIT_S)


def apply(desk: Desk, data: dict[str, Any]) -> Future[ConfigState]:
    return desk.apply(data, base=None, by="uid 1000 (ros)")


def confirmed(desk: Desk, daemon: FakeDaemon, data: dict[str, Any]) -> ConfigState:
    done(apply(desk, data))
    daemon.next_event("trial")
    daemon.next_event("confirmed")
    return desk.config()


def outcomes(desk: Desk) -> list[tuple[int, str]]:
    return [(r.revision, r.outcome) for r in desk.history()]


def test_at_first_the_file_is_revision_1(rig: Rig) -> None:
    desk, daemon = rig.start()
    state = desk.config()
    assert (state.revision, state.state, state.by, state.file_changed) == (1, "confirmed", "file", False)
    assert (state.file, state.base) == (str(rig.site.file), str(rig.site.folder))
    assert state.etag == etag(rig.site.data)
    assert state.data["sinks"]["cloud"]["password_env"] == "ROBOT_PASSWORD"
    assert outcomes(desk) == [(1, "confirmed")]
    assert (daemon.changes, daemon.events.empty()) == ([], True)


def test_a_change_runs_as_a_trial_and_is_confirmed(rig: Rig) -> None:
    desk, daemon = rig.start()
    daemon.gate.clear()
    state = done(apply(desk, rig.site.with_every(2)))
    assert (state.revision, state.state, state.by) == (2, "trial", "uid 1000 (ros)")
    assert (state.touched, state.confirm_left_s) == (("front",), 10.0)
    assert daemon.runs == 2
    assert daemon.next_event("trial") == (
        "revision 2 runs and touches front: confirmed within 10 s, or undone"
    )
    daemon.gate.set()
    assert daemon.next_event("confirmed") == "revision 2"
    state = desk.config()
    assert (state.revision, state.state, state.touched) == (2, "confirmed", ("front",))
    assert state.confirm_left_s is None
    desk, _ = rig.again()
    assert (desk.config().revision, desk.config().data["pipelines"]["front"]["every"]) == (2, 2)


def test_what_touches_no_pipeline_is_confirmed_at_once(rig: Rig) -> None:
    desk, daemon = rig.start()
    daemon.touches = ()
    daemon.gate.clear()
    for every in (2, 3):  # and the desk is free at once
        state = done(apply(desk, rig.site.with_every(every)))
        assert (state.state, state.touched) == ("confirmed", ())
        assert daemon.next_event("confirmed") == f"revision {every}"


def test_a_change_for_another_revision_is_stale(rig: Rig) -> None:
    desk, daemon = rig.start()
    base = desk.config().etag
    done(desk.apply(rig.site.with_every(2), base=base, by="a"))
    daemon.next_event("trial")
    daemon.next_event("confirmed")
    found = error(desk.apply(rig.site.with_every(3), base=base, by="b"))
    assert isinstance(found, Stale)
    assert f"now it is revision 2, etag {desk.config().etag}" in str(found)
    assert daemon.runs == 2


def test_a_second_change_is_told_when_the_first_ends(rig: Rig) -> None:
    desk, daemon = rig.start()
    daemon.gate.clear()
    done(apply(desk, rig.site.with_every(2)))
    found = error(apply(desk, rig.site.with_every(3)))
    assert isinstance(found, Busy)
    assert found.message == "revision 2 is being tried; it is confirmed or undone in at most 10 s"
    daemon.next_event("trial")
    assert isinstance(error(desk.reload(by="SIGHUP")), Busy)
    assert "is being tried" in daemon.next_event("refused")  # nobody waits for what a signal asks
    daemon.gate.set()
    daemon.next_event("confirmed")


def test_every_problem_is_told_and_nothing_is_kept(rig: Rig) -> None:
    desk, daemon = rig.start()
    data = merge(
        rig.site.data, {"pipelines": {"front": {"evry": 2, "every": 0}}, "models": {"tiny": {"path": "no"}}}
    )
    found = error(apply(desk, data))
    assert isinstance(found, ConfigError)
    assert [p.path for p in found.problems] == ["pipelines.front.evry", "pipelines.front.every"]
    found = error(apply(desk, merge(rig.site.data, {"models": {"tiny": {"path": "no"}}})))
    assert isinstance(found, ConfigError)
    assert [p.path for p in found.problems] == ["models.tiny.path"]
    assert (outcomes(desk), daemon.changes) == ([(1, "confirmed")], [])
    assert not rig.site.state.exists()


@pytest.mark.parametrize(
    "data",
    [
        {"a": [[[[]]]] * 2, "b": {"c": float("nan")}},
        {"pipelines": None},
        {"\ud800": "\ud800"},
        {"x": "y" * (1 << 20)},
        {},
    ],
)
def test_garbage_is_refused(rig: Rig, data: dict[str, Any]) -> None:
    desk, daemon = rig.start()
    assert isinstance(error(apply(desk, data)), ConfigError)
    assert daemon.changes == []


def test_what_the_daemon_refuses_is_handed_on_and_in_the_history(rig: Rig) -> None:
    desk, daemon = rig.start()
    daemon.fails = [MemoryRefused("2 GiB wanted, 1 GiB free")]
    assert isinstance(error(apply(desk, rig.site.with_every(2))), MemoryRefused)
    assert outcomes(desk) == [(2, "refused: 2 GiB wanted, 1 GiB free"), (1, "confirmed")]
    assert desk.config().revision == 1
    desk, daemon = rig.again()
    assert (desk.config().revision, daemon.events.empty()) == (1, True)
    assert confirmed(desk, daemon, rig.site.with_every(3)).revision == 3


def test_a_fault_undoes_it_at_once(rig: Rig) -> None:
    desk, daemon = rig.start()
    daemon.gate.clear()
    done(apply(desk, rig.site.with_every(2)))
    daemon.next_event("trial")
    daemon.healths_now = {"front": Health("faulted", "source moving: no such device", 1000.0)}
    daemon.gate.set()
    why = "pipeline front: faulted: source moving: no such device"
    assert daemon.next_event("undone") == f"revision 2: {why}; back to 1"
    rig.end()
    assert daemon.now < 1001.0
    assert daemon.runs == 1
    assert outcomes(desk) == [(2, f"undone: {why}"), (1, "confirmed")]
    assert desk.config().revision == 1


def test_time_undoes_it(rig: Rig) -> None:
    desk, daemon = rig.start()
    daemon.healths_now = {"front": Health("starting", "no picture yet", 1000.0)}
    done(apply(desk, rig.site.with_every(2)))
    daemon.next_event("trial")
    assert daemon.next_event("undone") == (
        "revision 2: not healthy within 10 s: pipeline front: starting: no picture yet; back to 1"
    )
    rig.end()
    assert daemon.now == pytest.approx(1010.0, abs=0.2)
    assert daemon.runs == 1


def test_the_changes_own_confirm_s_counts(rig: Rig) -> None:
    desk, daemon = rig.start()
    daemon.healths_now = {}
    done(apply(desk, merge(rig.site.data, {"control": {"confirm_s": 60.0}})))
    daemon.next_event("trial")
    assert "not healthy within 60 s" in daemon.next_event("undone")


def test_what_cannot_be_undone_ends_the_process(rig: Rig) -> None:
    desk, daemon = rig.start()
    daemon.fails = [None, EngineError("the model does not load any more")]
    daemon.healths_now = {}
    done(apply(desk, rig.site.with_every(2)))
    daemon.next_event("trial")
    daemon.next_event("undone")
    assert daemon.next_event("faulted") == (
        "back to revision 1 leads only a new process: the model does not load any more"
    )
    assert daemon.stops.get(timeout=WAIT_S) == ("a change could not be undone", ExitCode.ENGINE)
    found = error(apply(desk, rig.site.with_every(3)))
    assert isinstance(found, Busy)
    desk, daemon = rig.again()
    assert desk.config().revision == 1
    assert outcomes(desk)[0] == (2, "undone: not healthy within 10 s: pipeline front: not there yet")


def test_a_change_that_hangs_ends_the_process(rig: Rig) -> None:
    desk, daemon = rig.start()
    daemon.hangs = True
    found = error(apply(desk, rig.site.with_every(2)))
    assert isinstance(found, EdgedError)
    assert f"was not made within {CHANGE_S:g} s" in str(found)
    assert daemon.stops.get(timeout=WAIT_S)[1] is ExitCode.INTERNAL
    desk, daemon = rig.again()
    assert desk.config().revision == 1
    assert "revision 2: the process ended before it was confirmed" in daemon.next_event("undone")


def test_a_defect_ends_the_process(rig: Rig) -> None:
    desk, daemon = rig.start()
    daemon.fails = [ZeroDivisionError("a defect")]
    assert "a defect" in str(error(apply(desk, rig.site.with_every(2))))
    assert daemon.stops.get(timeout=WAIT_S)[1] is ExitCode.INTERNAL


def test_a_defect_in_checking_is_a_refusal(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, daemon = rig.start()

    def inspect(config: Config) -> None:
        raise ZeroDivisionError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr("edged.rollout.inspect_machine", inspect)
        found = error(apply(desk, rig.site.with_every(2)))
    assert isinstance(found, EdgedError)
    assert found.message == "unexpected ZeroDivisionError: a defect"
    assert (daemon.changes, daemon.stops.empty(), outcomes(desk)) == ([], True, [(1, "confirmed")])
    assert confirmed(desk, daemon, rig.site.with_every(2)).revision == 2


def test_what_waits_when_the_desk_closes_is_told(rig: Rig) -> None:
    booted = boot(rig.site.file)
    daemon = FakeDaemon()
    desk = Desk(daemon, booted, inspect_machine(booted.config).models)  # and it is never started
    change = apply(desk, rig.site.with_every(2))
    desk.close()
    found = error(change)
    assert isinstance(found, Busy)
    assert found.message == "edged is stopping"
    assert daemon.changes == []


def test_a_pipeline_that_was_faulted_before_does_not_hold_up_a_change(rig: Rig) -> None:
    desk, daemon = rig.start()
    daemon.healths_now = {"front": Health("faulted", "camera front: unplugged", 1.0)}
    done(apply(desk, rig.site.with_every(2)))
    daemon.next_event("trial")
    assert daemon.next_event("confirmed") == (
        "revision 2, though pipeline front: faulted: camera front: unplugged"
    )


def test_what_was_shown_can_be_sent_back(rig: Rig) -> None:
    desk, daemon = rig.start()
    shown = desk.config()
    state = done(apply(desk, merge(shown.data, {"pipelines": {"front": {"every": 2}}})))
    assert state.etag == etag(rig.site.with_every(2))
    daemon.next_event("trial")
    daemon.next_event("confirmed")
    again = done(apply(desk, dict(desk.config().data)))
    assert (again.revision, len(daemon.changes)) == (2, 1)  # the same: nothing happens
    assert isinstance(
        error(apply(desk, merge(shown.data, {"sinks": {"b": {"password_env": "***"}}}))), ConfigError
    )


class TestRevert:
    def test_to_what_was_confirmed_before(self, rig: Rig) -> None:
        desk, daemon = rig.start()
        confirmed(desk, daemon, rig.site.with_every(2))
        daemon.fails = [EngineError("no")]
        error(apply(desk, rig.site.with_every(3)))
        confirmed(desk, daemon, rig.site.with_every(4))
        state = done(desk.revert(None, by="uid 0 (root)"))
        assert (state.revision, state.by, daemon.runs) == (5, "revert to 2, uid 0 (root)", 2)
        daemon.next_event("trial")
        daemon.next_event("confirmed")
        desk, _ = rig.again()
        assert (desk.config().revision, desk.config().etag) == (5, etag(rig.site.with_every(2)))

    def test_to_one_that_is_named_also_of_an_earlier_process(self, rig: Rig) -> None:
        desk, daemon = rig.start()
        confirmed(desk, daemon, rig.site.with_every(2))
        desk, daemon = rig.again()
        assert done(desk.revert(1, by="a")).etag == etag(rig.site.data)

    @pytest.mark.parametrize("revision", [None, 1])
    def test_a_trial_is_undone_at_once(self, rig: Rig, revision: int | None) -> None:
        desk, daemon = rig.start()
        daemon.gate.clear()
        done(apply(desk, rig.site.with_every(2)))
        assert isinstance(error(desk.revert(2, by="a")), Busy)
        early = desk.revert(revision, by="uid 0 (root)")
        found = error(desk.revert(revision, by="a"))  # one is enough
        assert isinstance(found, Busy)
        assert found.hint.endswith("undo it now: edged config revert")
        daemon.gate.set()
        state = done(early)
        assert (state.revision, state.state, daemon.runs) == (1, "confirmed", 1)
        daemon.next_event("trial")
        assert daemon.next_event("undone") == "revision 2: asked for, uid 0 (root); back to 1"
        assert outcomes(desk)[0] == (2, "undone: asked for, uid 0 (root)")
        assert daemon.now < 1001.0
        assert done(apply(desk, rig.site.with_every(3))).revision == 3

    def test_a_trial_that_is_confirmed_just_before_is_told(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk, daemon = rig.start()
        asked: list[Future[ConfigState]] = []

        def healths() -> Mapping[str, Health]:
            if desk.config().state == "trial" and daemon.now >= 1005.0:
                asked.append(desk.revert(None, by="a"))
            return {"front": Health("running", "", 1001.0)} if asked else {}

        monkeypatch.setattr(daemon, "healths", healths)
        done(apply(desk, rig.site.with_every(2)))
        daemon.next_event("trial")
        daemon.next_event("confirmed")
        found = error(asked[0])
        assert isinstance(found, Busy)
        assert "confirmed just before" in found.message
        assert desk.config().revision == 2

    def test_who_wants_a_trial_undone_is_told_that_edged_stops(self, rig: Rig) -> None:
        desk, daemon = rig.start()
        daemon.gate.clear()
        done(apply(desk, rig.site.with_every(2)))
        early = desk.revert(None, by="a")
        daemon.closing = True
        daemon.gate.set()
        assert "stopping" in str(error(early))

    def test_to_what_there_is_not(self, rig: Rig) -> None:
        desk, _ = rig.start()
        assert isinstance(error(desk.revert(7, by="a")), NoSuchThing)
        assert str(error(desk.revert(None, by="a"))).startswith("there is no revision before the current one")

    def test_to_what_runs_already(self, rig: Rig) -> None:
        desk, daemon = rig.start()
        assert done(desk.revert(1, by="a")).revision == 1
        assert daemon.changes == []

    def test_of_a_revision_that_is_damaged(self, rig: Rig) -> None:
        desk, daemon = rig.start()
        confirmed(desk, daemon, rig.site.with_every(2))
        next(rig.site.state.rglob("000001.json")).write_text("{}")
        assert isinstance(error(desk.revert(1, by="a")), RevisionError)
        assert desk.config().revision == 2


class TestReload:
    def test_its_path_is_whole(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(rig.site.folder)
        monkeypatch.setattr(rig.site, "file", Path("edged.toml"))
        desk, _ = rig.start()
        assert desk.config().file == str(rig.site.folder / "edged.toml")

    def test_a_file_that_is_the_same_changes_nothing(self, rig: Rig) -> None:
        desk, daemon = rig.start()
        rig.site.file.write_text(rig.site.file.read_text() + "# a comment\n")
        assert desk.config().file_changed
        state = done(desk.reload(by="SIGHUP"))
        assert (state.revision, state.file_changed, daemon.changes) == (1, False, [])

    def test_a_file_that_is_the_same_with_another_model_is_tried(self, rig: Rig) -> None:
        desk, daemon = rig.start()
        toml = rig.site.folder / "tiny" / "model.toml"
        before = toml.read_text()
        toml.write_text(f'version = "2"\n{before}')
        assert done(apply(desk, rig.site.data)).revision == 1
        assert done(desk.reload(by="SIGHUP")).revision == 2
        daemon.next_event("trial")
        daemon.next_event("confirmed")
        assert (daemon.runs_model("tiny"), len(daemon.changes)) == ("2", 1)
        assert done(desk.reload(by="SIGHUP")).revision == 2
        assert len(daemon.changes) == 1

    def test_a_changed_file_is_tried_and_confirmed(self, rig: Rig) -> None:
        desk, daemon = rig.start()
        confirmed(desk, daemon, rig.site.with_every(2))
        rig.site.edit("robot-7", "robot-8")
        assert desk.config().file_changed
        state = done(desk.reload(by="SIGHUP"))
        assert (state.revision, state.by, state.file_changed) == (3, "file, SIGHUP", False)
        daemon.next_event("trial")
        daemon.next_event("confirmed")
        desk, daemon = rig.again()
        assert (desk.config().revision, daemon.events.empty()) == (3, True)

    def test_it_drops_what_was_changed_since(self, rig: Rig) -> None:
        desk, daemon = rig.start()
        confirmed(desk, daemon, rig.site.with_every(2))
        assert done(desk.reload(by="a")).etag == etag(rig.site.data)

    def test_a_bad_file_is_refused_with_an_event(self, rig: Rig) -> None:
        desk, daemon = rig.start()
        rig.site.edit('model = "tiny"', 'model = "tinny"')
        assert isinstance(error(desk.reload(by="SIGHUP")), ConfigError)
        assert "did you mean 'tiny'?" in daemon.next_event("refused")
        rig.site.file.unlink()
        assert isinstance(error(desk.reload(by="SIGHUP")), ConfigError)
        assert "no such file" in daemon.next_event("refused")
        assert desk.config().file_changed

    def test_a_process_that_ends_in_its_trial_does_not_run_it_again(self, rig: Rig) -> None:
        desk, daemon = rig.start()
        confirmed(desk, daemon, rig.site.with_every(2))
        rig.site.edit("robot-7", "robot-8")
        daemon.gate.clear()
        done(desk.reload(by="SIGHUP"))
        desk, daemon = rig.again()
        assert desk.config().revision == 2
        daemon.next_event("undone")
        assert "revision 2 (by uid 1000 (ros)) runs" in daemon.next_event("revision")
        assert done(desk.reload(by="SIGHUP")).revision == 4  # asked for, it is tried again


class TestNothingCanBeKept:
    @pytest.fixture
    def nowhere(self, rig: Rig) -> Rig:
        """state_dir is a file."""
        rig.site.state.write_text("")
        return rig

    def test_a_change_is_refused_with_the_remedy(self, nowhere: Rig) -> None:
        desk, daemon = nowhere.start()
        assert daemon.events.empty()
        found = error(apply(desk, nowhere.site.with_every(2)))
        assert isinstance(found, RevisionError)
        assert found.message.endswith("so it is not made: Not a directory")
        assert "set runtime.state_dir to a folder that edged's user may write" in found.hint
        assert (daemon.changes, desk.config().revision) == ([], 1)

    def test_the_file_is_reloaded_all_the_same_and_undone_too(self, nowhere: Rig) -> None:
        desk, daemon = nowhere.start()
        nowhere.site.edit('sinks = ["cloud"]', 'sinks = ["cloud"]\nevery = 2')
        assert done(desk.reload(by="SIGHUP")).revision == 2
        daemon.next_event("trial")
        daemon.next_event("confirmed")
        daemon.healths_now = {}
        nowhere.site.edit("every = 2", "every = 3")
        assert done(desk.reload(by="SIGHUP")).revision == 3
        daemon.next_event("trial")
        daemon.next_event("undone")
        nowhere.end()
        assert daemon.runs == 2

    @pytest.mark.parametrize("touches", [(), ("front",)])
    def test_a_trial_that_cannot_be_confirmed_is_undone(
        self, rig: Rig, touches: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk, daemon = rig.start()
        daemon.touches = touches

        def full(self: object) -> None:
            raise RevisionError("no space left on device")

        monkeypatch.setattr("edged.config.revisions.Revisions.confirm", full)
        change = apply(desk, rig.site.with_every(2))
        if touches:
            done(change)
            daemon.next_event("trial")
        else:
            assert isinstance(error(change), RevisionError)
        assert daemon.next_event("undone") == "revision 2: no space left on device; back to 1"
        rig.end()
        assert daemon.runs == 1


def killed_while_changing(rig: Rig, desk: Desk, daemon: FakeDaemon) -> None:
    daemon.hangs = True
    daemon.gate.clear()
    apply(desk, rig.site.with_every(3))


def killed_while_tried(rig: Rig, desk: Desk, daemon: FakeDaemon) -> None:
    daemon.gate.clear()
    done(apply(desk, rig.site.with_every(3)))


def stopped_while_tried(rig: Rig, desk: Desk, daemon: FakeDaemon) -> None:
    """In good order: pipelines that stop by that have not proved anything."""
    daemon.healths_now = {"front": Health("starting", "no picture yet", 1000.0)}
    killed_while_tried(rig, desk, daemon)
    daemon.stops_now = True
    daemon.healths_now = {"front": Health("stopped", "no frame comes any more", 1000.0)}
    daemon.gate.set()
    daemon.next_event("trial")
    rig.end()
    assert daemon.events.empty()


def stopped_while_undone(rig: Rig, desk: Desk, daemon: FakeDaemon) -> None:
    """The daemon takes no change any more: that is no failure to undo."""
    daemon.healths_now = {"front": Health("faulted", "broken", 1000.0)}
    daemon.gate.clear()
    done(apply(desk, rig.site.with_every(3)))
    daemon.fails, daemon.stops_with_change = [Busy("edged is stopping")], True
    daemon.gate.set()
    daemon.next_event("trial")
    rig.end()
    assert daemon.events.empty()
    assert daemon.stops.empty()


def killed_while_undone(rig: Rig, desk: Desk, daemon: FakeDaemon) -> None:
    daemon.healths_now = {}
    daemon.gate.clear()
    done(apply(desk, rig.site.with_every(3)))
    daemon.hangs = daemon.holds = True
    daemon.gate.set()
    assert daemon.held.wait(WAIT_S)


def killed_when_confirmed(rig: Rig, desk: Desk, daemon: FakeDaemon) -> None:
    confirmed(desk, daemon, rig.site.with_every(3))


@pytest.mark.parametrize(
    ("then", "runs", "told"),
    [
        (killed_while_changing, 2, True),
        (killed_while_tried, 2, True),
        (stopped_while_tried, 2, True),
        (stopped_while_undone, 2, True),
        (killed_while_undone, 2, True),
        (killed_when_confirmed, 3, False),
    ],
)
def test_a_process_that_ends_between_two_steps(
    rig: Rig, then: Callable[[Rig, Desk, FakeDaemon], None], runs: int, told: bool
) -> None:
    desk, daemon = rig.start()
    confirmed(desk, daemon, rig.site.with_every(2))
    then(rig, desk, daemon)
    desk, daemon = rig.again()
    assert desk.config().data["pipelines"]["front"]["every"] == runs
    assert desk.config().state == "confirmed"
    if told:
        assert "revision 3: the process ended before it was confirmed" in daemon.next_event("undone")
    assert daemon.events.empty()
    daemon.touches = ()
    assert done(apply(desk, rig.site.with_every(7))).revision == 4  # and it goes on


def test_a_closed_desk_takes_nothing(rig: Rig) -> None:
    desk, _ = rig.start()
    rig.end()
    assert isinstance(error(apply(desk, rig.site.with_every(2))), Busy)
    desk.close()


def test_warnings_of_the_new_configuration_are_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    desk, daemon = rig.start()
    confirmed(desk, daemon, merge(rig.site.data, {"sinks": {"idle": {"kind": "zmq"}}}))
    assert "the new configuration: warning: sinks.idle: no pipeline uses it" in caplog.text
