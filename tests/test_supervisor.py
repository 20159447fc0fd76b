"""The supervisor's decisions on a virtual clock: no threads, no time."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.backoff import Backoff
from edged.changing import CAMERA_S
from edged.errors import EdgedError, EngineError, ExitCode, MemoryRefused, SinkError, SourceError
from edged.escalation import AFRESH, FAULTS, Kind
from edged.happenings import (
    Action,
    Admit,
    Admitted,
    Again,
    Asked,
    Exit,
    Go,
    Happening,
    Stop,
    Tell,
    Tick,
)
from edged.recovery import STABLE_S
from edged.supervisor import STAGES, Core
from edged.units import Phase, Report

KINDS: dict[str, Kind] = {
    "source front": "source",
    "source rear": "source",
    "model yolox": "runner",
    "sink log": "sink",
    "sink cloud": "remote-sink",
    "pipeline front": "pipeline",
    "pipeline rear": "pipeline",
}
WORKERS = ("source front", "source rear", "model yolox")
SOURCES, RUNNERS, SINKS = (kinds for kinds, _ in STAGES)
ERRORS: dict[Kind, EdgedError] = {
    "source": SourceError("lost"),
    "camera": SourceError("unplugged"),
    "runner": EngineError("broken"),
    "sink": SinkError("full"),
    "remote-sink": SinkError("refused"),
    "pipeline": SourceError("lost"),
}
HEALTHY: dict[Kind, Phase] = {
    "source": "prepared",
    "runner": "prepared",
    "sink": "running",
    "remote-sink": "running",
}


class Clock:
    """A core and its time; collects every action."""

    def __init__(self, kinds: dict[str, Kind] = KINDS) -> None:
        self.core = Core(kinds)
        self.now = 100.0
        self.actions: list[Action] = []
        self.told: list[Tell] = []

    @property
    def phase(self) -> str:
        return self.core.phase

    def step(self, *events: Happening) -> list[Action]:
        """What it does; what it tells goes to `told`."""
        new: list[Action] = []
        for event in events:
            new += self.core.step(self.now, event)
        self.told += [a for a in new if isinstance(a, Tell)]
        new = [a for a in new if not isinstance(a, Tell)]
        self.actions += new
        return new

    def report(self, phase: Phase, *units: str) -> list[Action]:
        return self.step(*(Report(u, phase) for u in units))

    def fault(self, unit: str) -> list[Action]:
        return self.step(Report(unit, "faulted", ERRORS[KINDS[unit]]))

    def boot(self) -> list[Action]:
        return self.step(*(Report(u, HEALTHY[k]) for u, k in KINDS.items() if k in HEALTHY))

    def run(self) -> None:
        assert self.boot() == [Admit(WORKERS)]
        assert self.step(Admitted()) == [Go(u) for u in WORKERS]
        self.report(
            "running", "source front", "source rear", "model yolox", "pipeline front", "pipeline rear"
        )

    def stop(self, kinds: Iterable[Kind]) -> list[Action]:
        return self.report("stopped", *(u for u, k in KINDS.items() if k in kinds))

    def wait(self, seconds: float) -> list[Action]:
        self.now += seconds
        return self.step(Tick())


def fail_for_good(clock: Clock) -> list[Action]:
    """The model fails until no restart is left; what is done at the last fault."""
    for _ in range(3):
        clock.fault("model yolox")
        clock.wait(10)
    return clock.fault("model yolox")


def test_memory_is_admitted_once_every_unit_has_opened() -> None:
    clock = Clock()
    units = [u for u, k in KINDS.items() if k in HEALTHY]
    for i, unit in enumerate(units):
        assert clock.core.waiting_for == tuple(units[i:])
        actions = clock.report(HEALTHY[KINDS[unit]], unit)
        assert actions == ([Admit(WORKERS)] if unit == units[-1] else [])
    assert clock.phase == "admitting"
    clock.step(Admitted())
    assert clock.phase == "running"


def test_boot_waits_for_every_word_before_it_refuses_so_that_all_errors_are_told() -> None:
    clock = Clock()
    assert clock.fault("source front") == []
    assert clock.fault("model yolox") == []
    assert clock.report("prepared", "source rear") == []
    assert clock.report("running", "sink log") == []
    assert clock.report("running", "sink cloud") == [Stop(SOURCES)]
    assert clock.core.why == "it could not start"
    assert clock.core.code is ExitCode.SOURCE, "the first error decides"


@pytest.mark.parametrize(
    ("unit", "code"),
    [
        ("source rear", ExitCode.SOURCE),
        ("model yolox", ExitCode.ENGINE),
        ("sink log", ExitCode.SINK),
        ("sink cloud", ExitCode.OK),
    ],
)
def test_a_fault_at_boot_refuses_the_start_but_a_broker_may_be_down(unit: str, code: ExitCode) -> None:
    clock = Clock()
    clock.fault(unit)
    for other, kind in KINDS.items():
        if other != unit and kind in HEALTHY:
            clock.report(HEALTHY[kind], other)
    assert clock.core.code is code
    assert clock.core.phase == ("admitting" if code is ExitCode.OK else "draining")


def test_a_sink_that_was_open_and_fails_at_boot_keeps_nobody_from_starting() -> None:
    clock = Clock()
    clock.report("running", "sink log", "sink cloud")
    assert clock.fault("sink log") == []  # a full disk, found when the first state was written
    assert clock.fault("sink log") == []
    assert clock.report("prepared", *WORKERS) == [Admit(WORKERS)]
    assert clock.core.code is ExitCode.OK


def test_refused_memory_ends_with_its_own_code_and_nothing_ran() -> None:
    clock = Clock()
    clock.boot()
    assert clock.step(Admitted(MemoryRefused("too much"))) == [Stop(SOURCES)]
    for kinds, _ in STAGES:
        clock.stop(kinds)
    assert clock.actions[-1] == Exit(ExitCode.MEMORY)


def test_a_unit_that_fails_between_is_not_overlooked_by_admission() -> None:
    clock = Clock()
    clock.boot()
    assert clock.fault("source front") == []
    assert clock.step(Admitted()) == [Stop(SOURCES)]
    assert clock.core.code is ExitCode.SOURCE


def test_the_drain_goes_from_sources_over_runners_to_sinks() -> None:
    clock = Clock()
    clock.run()
    assert clock.step(Asked("signal")) == [Stop(SOURCES)]
    assert clock.report("stopped", "source front") == []
    assert clock.report("stopped", "source rear") == [Stop(("runner",), drop=True)]
    assert clock.report("stopped", "model yolox") == [Stop(("sink", "remote-sink"), drop=True)]
    assert clock.report("stopped", "sink cloud") == []
    assert clock.report("stopped", "sink log") == [Exit(ExitCode.OK)]
    assert (clock.core.phase, clock.core.why) == ("over", "signal")


def test_asking_again_changes_nothing() -> None:
    clock = Clock()
    clock.run()
    clock.step(Asked("signal"))
    assert clock.step(Asked("its seconds are over")) == []
    assert clock.core.why == "signal"


def test_units_that_had_stopped_before_are_not_waited_for() -> None:
    clock = Clock()
    clock.run()
    clock.stop(SOURCES)
    assert clock.step(Asked("signal")) == [Stop(SOURCES), Stop(("runner",), drop=True)]


def test_a_stage_that_hangs_does_not_cost_the_later_ones_their_orderly_end() -> None:
    clock = Clock()
    clock.run()
    clock.step(Asked("signal"))
    clock.report("stopped", "source front")
    assert clock.wait(STAGES[0][1] - 0.01) == []
    assert clock.wait(0.01) == [Stop(("runner",), drop=True)]
    assert clock.wait(STAGES[1][1] - STAGES[0][1]) == [Stop(("sink", "remote-sink"), drop=True)]
    assert clock.stop(SINKS) == [Exit(ExitCode.DRAIN_TIMEOUT, ("source rear", "model yolox"))]


def test_the_end_comes_within_5_s_even_if_everything_hangs() -> None:
    clock = Clock()
    clock.run()
    begin = clock.now
    clock.step(Asked("signal"))
    while clock.core.phase != "over":
        clock.wait(0.2)
    assert clock.now - begin < 5 - 0.2
    units = tuple(u for u, k in KINDS.items() if k != "pipeline")
    assert clock.actions[-1] == Exit(ExitCode.DRAIN_TIMEOUT, units)


def test_a_signal_while_a_source_still_opens_ends_in_time_and_names_it() -> None:
    clock = Clock()
    for unit, kind in KINDS.items():
        if kind in HEALTHY and unit != "source front":
            clock.report(HEALTHY[kind], unit)
    clock.step(Asked("signal"))
    for unit, kind in KINDS.items():
        if kind in HEALTHY and unit != "source front":
            clock.report("stopped", unit)
    assert clock.wait(STAGES[-1][1]) == [
        Stop(("runner",), drop=True),
        Stop(("sink", "remote-sink"), drop=True),
        Exit(ExitCode.DRAIN_TIMEOUT, ("source front",)),
    ]


def test_a_lost_source_costs_its_pipelines_only_and_the_exit_status() -> None:
    clock = Clock()
    clock.run()
    assert clock.fault("source front") == []
    assert clock.report("faulted", "pipeline front") == []
    assert clock.core.phase == "running"
    clock.step(Asked("signal"))
    for kinds, _ in STAGES:
        clock.stop(kinds)
    assert clock.actions[-1] == Exit(ExitCode.SOURCE)


def test_a_failed_runner_is_made_anew_with_a_delay_that_grows() -> None:
    clock = Clock()
    clock.core = Core(KINDS, chance=lambda: 0.0)
    clock.run()
    clock.told.clear()
    for n, delay_s in enumerate((0.5, 1.0, 2.0), 1):
        assert clock.fault("model yolox") == []
        assert clock.told[-1].reason == f"broken; restart {n} of 3"
        assert clock.wait(delay_s - 0.01) == []
        assert clock.wait(0.02) == [Again("model yolox", False)]
        assert clock.report("prepared", "model yolox") == [Go("model yolox")]
        clock.report("running", "model yolox")
    assert clock.core.code is ExitCode.OK


def test_a_runner_that_no_restart_mends_ends_all_and_drops_what_it_can_no_longer_do() -> None:
    clock = Clock()
    clock.run()
    assert fail_for_good(clock) == [Stop(SOURCES, drop=True)]
    assert clock.told[-1].reason == "broken; 3 restarts did not help"
    assert clock.core.why == "model yolox failed"
    assert clock.core.code is ExitCode.ENGINE


def test_a_runner_that_held_for_a_while_has_all_its_restarts_again() -> None:
    clock = Clock()
    clock.run()
    for _ in range(20):
        assert clock.fault("model yolox") == []
        clock.wait(10)
        clock.report("prepared", "model yolox")
        clock.report("running", "model yolox")
        clock.wait(STABLE_S)
    assert clock.core.phase == "running"


def test_a_runner_that_failed_at_boot_is_not_tried_while_others_still_open() -> None:
    clock = Clock()
    clock.fault("model yolox")
    assert clock.wait(60) == []


def test_a_failing_sink_changes_nothing_while_running() -> None:
    clock = Clock()
    clock.run()
    for unit in ("sink log", "sink cloud"):
        assert clock.fault(unit) == []
        assert clock.core.phases[unit] == "faulted"
        clock.report("running", unit)
    assert (clock.core.phase, clock.core.code) == ("running", ExitCode.OK)


@pytest.mark.parametrize(("last", "code"), [("ended", ExitCode.OK), ("faulted", ExitCode.SOURCE)])
def test_the_end_of_every_pipeline_is_the_end(last: Phase, code: ExitCode) -> None:
    clock = Clock()
    clock.run()
    assert clock.report("ended", "source front", "pipeline front") == []
    if last == "faulted":
        clock.fault("source rear")
    assert clock.report(last, "pipeline rear") == [Stop(SOURCES)]
    assert clock.core.why == "every pipeline has ended"
    assert clock.core.code is code


def test_pipelines_may_end_before_admission_is_told() -> None:
    clock = Clock()
    clock.boot()
    clock.report("ended", "pipeline front", "pipeline rear")
    assert clock.step(Admitted()) == [*(Go(u) for u in WORKERS), Stop(SOURCES)]


def test_a_fault_that_led_to_the_end_decides_the_status_even_if_units_hang() -> None:
    clock = Clock()
    clock.run()
    fail_for_good(clock)
    clock.wait(10)
    last = clock.actions[-1]
    assert isinstance(last, Exit)
    assert last.code is ExitCode.ENGINE
    assert last.hanging


def test_a_fault_on_the_way_out_does_not_hide_that_a_unit_hangs() -> None:
    clock = Clock()
    clock.run()
    clock.step(Asked("signal"))
    clock.fault("source front")  # frames were not given back: the runner has them
    clock.stop((*SOURCES, *SINKS))
    assert clock.wait(10)[-1] == Exit(ExitCode.DRAIN_TIMEOUT, ("model yolox",))


def test_a_fault_on_the_way_out_is_the_status_when_all_stop() -> None:
    clock = Clock()
    clock.run()
    clock.step(Asked("signal"))
    clock.fault("model yolox")
    for kinds, _ in STAGES:
        clock.stop(kinds)
    assert clock.actions[-1] == Exit(ExitCode.ENGINE)


def test_a_report_of_a_stranger_ends_nothing() -> None:
    clock = Clock()
    clock.run()
    assert clock.report("running", "sink nobody") == []
    assert clock.phase == "running"


def test_every_kind_has_a_verdict_and_a_stage() -> None:
    assert FAULTS.keys() == ERRORS.keys()
    staged = [k for kinds, _ in STAGES for k in kinds]
    assert sorted(staged) == sorted(FAULTS.keys() - {"pipeline"})
    assert [until for _, until in STAGES] == sorted(until for _, until in STAGES)


CAMERAS: dict[str, Kind] = {**KINDS, "source front": "camera"}


def cameras() -> Clock:
    """One camera and a file; no jitter."""
    clock = Clock(CAMERAS)
    clock.core = Core(CAMERAS, {"source front": Backoff(0.2, 1.6)}, lambda: 0.0)
    return clock


def run_cameras() -> Clock:
    clock = cameras()
    clock.run()
    clock.told.clear()
    return clock


class TestCameras:
    def test_one_that_is_absent_at_boot_keeps_nobody_waiting(self) -> None:
        clock = cameras()
        clock.step(Report("source front", "faulted", SourceError("no such device")))
        for unit in ("source rear", "model yolox", "sink log"):
            assert clock.report(HEALTHY[KINDS[unit]], unit) == []
        assert clock.report("running", "sink cloud") == [Admit(WORKERS[1:])]
        assert clock.step(Admitted()) == [Go("source rear"), Go("model yolox")]
        assert clock.wait(0.2) == [Again("source front", False)]
        assert clock.report("prepared", "source front") == [Go("source front")]
        clock.report("running", "source front")
        assert clock.told[-1].reason == "after 0.2 s and 1 try"
        assert clock.core.code is ExitCode.OK

    def test_one_that_is_slow_to_open_is_waited_for_only_so_long(self) -> None:
        clock = cameras()
        for unit, kind in KINDS.items():
            if unit != "source front" and kind in HEALTHY:
                clock.report(HEALTHY[kind], unit)
        assert clock.phase == "booting"
        assert clock.wait(CAMERA_S) == [Admit(WORKERS[1:])]
        clock.step(Admitted())
        assert clock.report("prepared", "source front") == [Go("source front")]

    def test_one_that_fails_is_tried_ever_more_seldom_and_others_are_left_alone(self) -> None:
        clock = run_cameras()
        for i, delay_s in enumerate((0.2, 0.4, 0.8, 1.6, 1.6, 1.6), 1):
            clock.step(Report("source front", "faulted", SourceError("unplugged")))
            assert clock.wait(delay_s - 0.01) == []
            assert clock.wait(0.02) == [Again("source front", i % AFRESH == 0)]
            assert clock.wait(5) == [], "once a fault"
        assert clock.phase == "running"
        told = [(t.state, t.reason) for t in clock.told]
        assert told[0] == ("faulted", "unplugged")
        assert [reason.partition(": ")[2] for _, reason in told[1:]] == [
            "every 4th try is with new memory"
        ], "a line each, not six"

    def test_each_complaint_is_told_once_until_it_is_back(self) -> None:
        clock = run_cameras()
        for complaint in ("no picture", "no such device", "no picture", "no such device"):
            clock.step(Report("source front", "faulted", SourceError(complaint)))
            clock.wait(2)
            clock.report("prepared", "source front")  # that it opens proves nothing
        clock.report("running", "source front")
        clock.step(Report("source front", "faulted", SourceError("no picture")))
        assert [(t.state, t.reason) for t in clock.told] == [
            ("faulted", "no picture"),
            ("faulted", "no such device"),
            ("faulted", "source front fails again and again: every 4th try is with new memory"),
            ("running", "after 8.0 s and 4 tries"),
            ("faulted", "no picture"),
        ]

    def test_an_endless_loop_is_told_once_and_so_is_its_end(self) -> None:
        clock = run_cameras()
        for _ in range(50):
            clock.step(Report("source front", "faulted", SourceError("brown-out")))
            clock.wait(2)
            clock.report("running", "source front")
            clock.wait(0.5)
        told = [t.state for t in clock.told]
        assert told == [*["faulted", "running"] * 3, "faulted", "faulted", "running", "looping"]
        assert (
            clock.told[-1].reason == "source front comes and goes: 5 faults within 60 s, the last: brown-out"
        )
        assert clock.core.recoveries["source front"].looping
        clock.wait(STABLE_S)
        assert (clock.told[-1].state, clock.told[-1].reason) == ("running", "steadily")
        assert clock.core.recoveries["source front"].faults == 50

    def test_a_loop_that_ends_for_good_is_a_fault_again(self) -> None:
        clock = run_cameras()
        for _ in range(5):
            clock.step(Report("source front", "faulted", SourceError("brown-out")))
            clock.report("running", "source front")
        clock.step(Report("source front", "faulted", SourceError("gone")))
        clock.wait(STABLE_S)
        assert [t.state for t in clock.told][-2:] == ["looping", "faulted"]
        assert clock.told[-1].reason == "gone"

    def test_an_error_may_ask_for_patience(self) -> None:
        clock = run_cameras()
        refused = SourceError("wrong password")
        refused.wait_s = 60.0
        clock.step(Report("source front", "faulted", refused))
        assert clock.wait(59) == []
        assert clock.wait(1) == [Again("source front", False)]

    def test_nothing_is_tried_again_on_the_way_out(self) -> None:
        clock = run_cameras()
        clock.step(Report("source front", "faulted", SourceError("unplugged")))
        clock.step(Asked("signal"))
        assert clock.wait(1) == []
        assert clock.core.code is ExitCode.OK, "an unplugged camera is no failure of the daemon"


PHASES: tuple[Phase, ...] = ("prepared", "running", "ended", "faulted", "stopped")
HAPPENINGS: st.SearchStrategy[Happening] = st.one_of(
    st.builds(
        lambda u, p, e: Report(u, p, ERRORS[KINDS[u]] if p == "faulted" and e else None),
        st.sampled_from(sorted(KINDS)),
        st.sampled_from(PHASES),
        st.booleans(),
    ),
    st.just(Tick()),
    st.builds(Asked, st.just("signal")),
    st.builds(Admitted, st.sampled_from([None, MemoryRefused("too much")])),
)


@given(st.lists(st.tuples(HAPPENINGS, st.floats(0, 1)), max_size=60))
def test_any_order_of_happenings_ends_in_exactly_one_exit_and_nothing_after(
    events: list[tuple[Happening, float]],
) -> None:
    clock = Clock()
    for event, gap in events:
        clock.now += gap
        clock.step(event)
    clock.step(Asked("signal"))  # at the latest
    clock.wait(STAGES[-1][1])
    exits = [a for a in clock.actions if isinstance(a, Exit)]
    assert len(exits) == 1
    assert clock.actions[-1] is exits[0]
    stops = [a.kinds for a in clock.actions if isinstance(a, Stop)]
    assert stops == [SOURCES, RUNNERS, SINKS]
    assert sum(isinstance(a, Admit) for a in clock.actions) <= 1
    assert clock.step(*(e for e, _ in events)) == [], "it acts after its end"
    reported = {e.unit for e, _ in events if isinstance(e, Report) and e.phase == "stopped"}
    assert set(exits[0].hanging) >= {u for u, k in KINDS.items() if k != "pipeline"} - reported
    if exits[0].hanging:
        assert exits[0].code is not ExitCode.OK
