"""The phases of a change on a virtual clock: no threads, no time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.changing import CAMERA_S, CLOSE_S, DROP_S, EXCHANGE_S, FINISH_S, LOAD_S, OPEN_S
from edged.errors import EngineError, ExitCode, MemoryRefused, SinkError, SourceError
from edged.escalation import Kind
from edged.happenings import (
    Action,
    Admit,
    Admitted,
    Asked,
    Commit,
    Done,
    Exit,
    Go,
    Gone,
    Leave,
    Settle,
    Start,
    Stop,
    Swap,
    Tell,
    Tick,
)
from edged.roster import key_of
from edged.steering import Busy
from edged.supervisor import STAGES, Core
from edged.units import Phase, Report

KINDS: dict[str, Kind] = {
    "source a": "source",
    "camera": "camera",
    "model m": "runner",
    "sink bus": "sink",
    "pipeline p": "pipeline",
}
MODEL = Swap(
    era=1,
    kinds={"model m": "runner", "pipeline p": "pipeline"},
    first=("model m",),
    leaves=("model m", "pipeline p"),
    serves=("source a",),
)
SINK = Swap(era=1, kinds={"sink bus": "sink"}, before=("sink bus",), then=("sink bus",), leaves=("sink bus",))
CAMERA = Swap(
    era=1,
    kinds={"camera": "camera", "pipeline p": "pipeline"},
    before=("camera",),
    then=("camera",),
    leaves=("camera", "pipeline p"),
)


def new(name: str) -> str:
    return key_of(name, 1)


def old(name: str) -> str:
    return key_of(name, 0)


class Clock:
    """A core that runs, and its time."""

    def __init__(self) -> None:
        self.core = Core(KINDS, chance=lambda: 0.0)
        self.now = 100.0
        self.told: list[Tell] = []
        for unit in KINDS:
            self.say(unit, "running" if unit.startswith(("sink", "pipeline")) else "prepared", era=0)
        self.do(Admitted())
        for unit in KINDS:
            self.say(unit, "running", era=0)
        assert self.core.phase == "running"
        self.told.clear()

    def do(self, event: Any) -> list[Action]:
        actions = self.core.step(self.now, event)
        self.told += [a for a in actions if isinstance(a, Tell)]
        return [a for a in actions if not isinstance(a, Tell)]

    def say(
        self, unit: str, phase: Phase, error: Any = None, *, era: int = 1, change: int = 0
    ) -> list[Action]:
        return self.do(Report(unit, phase, error, era, change))

    def wait(self, seconds: float) -> list[Action]:
        self.now += seconds
        return self.do(Tick())

    def until_loaded(self) -> list[Action]:
        self.do(MODEL)
        self.say("model m", "prepared")
        self.do(Admitted())
        return self.say("model m", "running")


def test_a_model_is_opened_admitted_and_started_before_the_old_one_hears_of_it() -> None:
    clock = Clock()
    assert clock.do(MODEL) == [Start((new("model m"),))]
    assert clock.say("model m", "prepared") == [Admit((new("model m"),))]
    assert clock.do(Admitted()) == [Go(new("model m"))]
    assert clock.core.phases["model m"] == "running"
    assert clock.say("model m", "running") == [Commit(), Leave(())]
    assert clock.wait(1) == []
    assert clock.say("pipeline p", "ended", era=0) == [Settle(), Leave((old("model m"),))]
    assert clock.say("model m", "stopped", era=0) == []
    assert clock.say("source a", "served", era=0) == [], "of a change that is over"
    assert clock.say("source a", "served", era=0, change=1) == [Done()]
    assert clock.core.changing is None
    assert set(clock.core.roster.kinds) == set(KINDS)
    assert [(t.unit, t.state) for t in clock.told] == [("model m", "running")]


def test_what_ends_of_the_old_pipeline_is_not_said_of_the_new_one() -> None:
    clock = Clock()
    clock.until_loaded()
    clock.say("pipeline p", "running")
    clock.say("pipeline p", "ended", era=0)
    assert clock.core.phases["pipeline p"] == "running"


@pytest.mark.parametrize("when", ["opening", "admitting", "loading"])
def test_a_refusal_stops_what_is_new_and_nothing_else(when: str) -> None:
    clock = Clock()
    clock.do(MODEL)
    error = EngineError("broken")
    if when == "opening":
        actions = clock.say("model m", "faulted", error)
    else:
        clock.say("model m", "prepared")
        if when == "admitting":
            actions = clock.do(Admitted(error))
        else:
            clock.do(Admitted())
            actions = clock.say("model m", "faulted", error)
    assert actions == [Leave((new("model m"),), drop=True)]
    assert clock.wait(1) == []
    assert clock.say("model m", "stopped") == [Done(error)]
    assert clock.told == []
    assert set(clock.core.roster.kinds) == set(KINDS)
    assert (clock.core.phase, clock.core.code) == ("running", ExitCode.OK)


@pytest.mark.parametrize("opened", [False, True])
def test_a_model_may_load_for_minutes_but_not_for_ever(opened: bool) -> None:
    clock = Clock()
    clock.do(MODEL)
    if opened:
        clock.say("model m", "prepared")
        clock.do(Admitted())
    assert clock.wait(LOAD_S - 0.1) == []
    assert clock.wait(0.2) == [Leave((new("model m"),), drop=True)]
    (done,) = clock.wait(CLOSE_S)
    assert isinstance(done, Done)
    assert "has not loaded within 600 s" in str(done.error)


def test_a_file_may_not_hang() -> None:
    clock = Clock()
    clock.do(Swap(era=1, kinds={"source b": "source"}, first=("source b",)))
    assert clock.wait(OPEN_S - 0.1) == []
    assert clock.wait(0.2) == [Leave((new("source b"),), drop=True)]
    (done,) = clock.wait(CLOSE_S)
    assert isinstance(done, Done)
    assert done.hanging == (new("source b"),)
    assert "has not opened within 30 s" in str(done.error)


def test_a_sink_is_opened_when_the_one_before_has_stopped_or_has_had_its_time() -> None:
    for stopped in (True, False):
        clock = Clock()
        assert clock.do(SINK) == [Start(()), Admit(())]
        assert clock.do(Admitted()) == [Leave(("sink bus",))]
        if stopped:
            actions = clock.say("sink bus", "stopped", era=0)
        else:
            assert clock.wait(EXCHANGE_S - 0.1) == []
            actions = clock.wait(0.2)
        assert actions == [Start((new("sink bus"),))]
        actions = clock.say("sink bus", "running")
        assert actions[0] == Commit()
        assert any(isinstance(a, Done) for a in actions) is stopped
        if not stopped:
            assert clock.wait(CLOSE_S) == [Done(hanging=(old("sink bus"),))]


def test_a_sink_that_does_not_open_brings_the_old_one_back() -> None:
    clock = Clock()
    clock.do(SINK)
    clock.do(Admitted())
    clock.say("sink bus", "stopped", era=0)
    error = SinkError("address in use")
    assert clock.say("sink bus", "faulted", error) == [Leave((new("sink bus"),), drop=True)]
    assert clock.say("sink bus", "stopped") == [Done(error, stopped=("sink bus",))]
    back = Swap(era=2, kinds={"sink bus": "sink"}, first=("sink bus",), leaves=("sink bus",))
    assert clock.do(back) == [Start((key_of("sink bus", 2),))]
    assert clock.say("sink bus", "running", era=2) == [Admit(())]
    actions = clock.do(Admitted())
    assert (actions[0], actions[-1]) == (Commit(), Done())


def test_a_camera_is_closed_first_and_its_memory_asked_for_when_it_is_known() -> None:
    clock = Clock()
    clock.do(CAMERA)
    assert clock.do(Admitted()) == [Leave(("camera",))]
    assert clock.say("pipeline p", "ended", era=0) == []
    assert clock.core.phase == "running", "every pipeline has ended, but for those that are to come"
    assert clock.say("camera", "stopped", era=0) == [Start((new("camera"),))]
    assert clock.say("camera", "prepared") == [Admit((new("camera"),))]
    error = MemoryRefused("too much")
    assert clock.do(Admitted(error)) == [Leave((new("camera"),), drop=True)]
    assert clock.say("camera", "stopped") == [Done(error, stopped=("camera",))]


def test_a_camera_that_does_not_open_is_tried_again_and_no_refusal() -> None:
    clock = Clock()
    clock.do(CAMERA)
    clock.do(Admitted())
    clock.say("pipeline p", "ended", era=0)
    clock.say("camera", "stopped", era=0)
    actions = clock.say("camera", "faulted", SourceError("no such device"))
    assert Commit() in actions
    assert actions[-1] == Done()
    assert (clock.told[-1].unit, clock.told[-1].reason) == ("camera", "no such device")
    assert clock.say("camera", "prepared") == [Go("camera")]


def test_a_camera_that_takes_its_time_is_waited_for_only_so_long() -> None:
    clock = Clock()
    clock.do(Swap(era=1, kinds={"camera b": "camera"}, first=("camera b",)))
    assert clock.wait(CAMERA_S - 0.1) == []
    assert clock.wait(0.2) == [Admit(())]
    assert clock.do(Admitted()) == [Commit(), Leave(()), Settle(), Leave(()), Done()]
    assert clock.say("camera b", "prepared") == [Go("camera b")]


def test_a_broker_that_does_not_answer_is_no_refusal() -> None:
    clock = Clock()
    clock.do(Swap(era=1, kinds={"sink cloud": "remote-sink"}, first=("sink cloud",)))
    assert clock.wait(CAMERA_S - 0.1) == []
    assert clock.wait(0.2) == [Admit(())]
    assert clock.do(Admitted())[-1] == Done()


def test_a_pipeline_that_does_not_end_is_dropped_and_one_that_hangs_left_behind() -> None:
    clock = Clock()
    clock.until_loaded()
    assert clock.wait(FINISH_S) == [Leave((old("pipeline p"),), drop=True)]
    assert clock.wait(DROP_S) == [Settle(), Leave((old("model m"),))]
    (done,) = clock.wait(CLOSE_S)
    assert done == Done(hanging=(old("model m"),))
    clock.do(Asked("signal"))
    last = clock.wait(STAGES[-1][1])[-1]
    assert isinstance(last, Exit)
    assert old("model m") in last.hanging


def test_the_end_does_not_wait_for_what_was_left_behind_long_before() -> None:
    clock = Clock()
    clock.until_loaded()
    clock.wait(FINISH_S)
    clock.wait(DROP_S)
    clock.wait(CLOSE_S)
    clock.do(Asked("signal"))
    for unit, era in (("source a", 0), ("camera", 0), ("model m", 1), ("sink bus", 0)):
        last = clock.say(unit, "stopped", era=era)
    assert last == [Exit(ExitCode.OK, (old("model m"),))]


def test_what_was_left_behind_may_end_late_and_is_forgotten_then() -> None:
    clock = Clock()
    clock.until_loaded()
    clock.wait(FINISH_S)
    clock.wait(DROP_S)
    clock.wait(CLOSE_S)
    assert clock.say("pipeline p", "ended", era=0) == []
    assert clock.say("model m", "ended", era=0) == []
    assert clock.say("model m", "stopped", era=0) == [Gone(old("model m"))]
    assert clock.say("model m", "stopped", era=0) == []
    assert set(clock.core.roster.kinds) == set(KINDS)
    assert clock.core.phase == "running"


def test_a_source_that_opens_after_its_change_was_undone_is_forgotten() -> None:
    clock = Clock()
    kinds: dict[str, Kind] = {"source b": "source", "pipeline q": "pipeline"}
    clock.do(Swap(era=1, kinds=kinds, first=("source b",)))
    clock.wait(OPEN_S)
    clock.wait(CLOSE_S)
    assert clock.say("source b", "prepared") == []
    assert clock.say("pipeline q", "ended") == []
    assert clock.say("source b", "stopped") == [Gone(new("source b"))]
    assert set(clock.core.roster.kinds) == set(KINDS)


def test_a_stop_ends_the_change_and_waits_for_what_it_brought() -> None:
    clock = Clock()
    clock.do(MODEL)
    done, stop = clock.do(Asked("signal"))
    assert isinstance(done, Done)
    assert isinstance(done.error, Busy)
    assert stop == Stop(STAGES[0][0])
    for unit in ("source a", "camera", "model m", "sink bus"):
        assert not any(isinstance(a, Exit) for a in clock.say(unit, "stopped", era=0))
    assert clock.core.phase == "draining"
    assert clock.say("model m", "stopped")[-1] == Exit(ExitCode.OK)


REPORTS = st.builds(
    Report,
    st.sampled_from(["model m", "pipeline p", "sink bus", "source a", "camera"]),
    st.sampled_from(["prepared", "running", "ended", "faulted", "stopped", "served"]),
    st.sampled_from([None, EngineError("broken")]),
    st.sampled_from([0, 1]),
    st.sampled_from([0, 1]),
)


ANSWERS = st.builds(Admitted, st.sampled_from([None, MemoryRefused("no")]))


@given(
    st.sampled_from([MODEL, SINK, CAMERA]),
    st.lists(st.tuples(st.one_of(REPORTS, ANSWERS), st.floats(0, 3))),
)
def test_whatever_happens_a_change_ends_once_and_commits_at_most_once(
    swap: Swap, events: list[tuple[Any, float]]
) -> None:
    clock = Clock()
    actions = clock.do(swap)
    for event, gap in events:
        clock.now += gap
        actions += clock.do(event)  # also of a unit that is not there, or not any more
    for _ in range(200):
        actions += clock.wait(1)
    if clock.core.changing is not None:  # a model still loads, or nobody has answered
        assert clock.core.changing.phase in ("opening", "loading", "admitting", "readmitting")
        actions += clock.do(Asked("signal"))
    dones = [a for a in actions if isinstance(a, Done)]
    assert len(dones) == 1
    assert sum(isinstance(a, Commit) for a in actions) == (dones[0].error is None) or isinstance(
        dones[0].error, Busy
    )
