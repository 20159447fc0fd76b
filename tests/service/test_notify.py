"""What systemd is told: on a virtual clock, and through a stand-in for systemd-python."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import MissingPackage
from edged.health import Health
from edged.service.notify import (
    EXTEND_S,
    STATUS_LENGTH,
    Facts,
    Notifier,
    Told,
    status_of,
    step,
    watchdog_period_s,
)

TICK_S = 0.2
LOADING = Facts(not_ready="loading", status="loading")
WELL = Facts(status="well")


def tell(facts: list[Facts], watchdog_s: float | None = None) -> list[list[str]]:
    """What is said at each tick."""
    told, said = Told(), []
    for n, f in enumerate(facts):
        told, lines = step(told, n * TICK_S, f, watchdog_s)
        said.append(lines)
    return said


def test_ready_is_told_once_and_the_status_when_it_changes() -> None:
    assert tell([LOADING, WELL, WELL, Facts(status="ill")]) == [
        [f"EXTEND_TIMEOUT_USEC={EXTEND_S * 1e6:.0f}", "STATUS=loading"],
        ["READY=1", "STATUS=well"],
        [],
        ["STATUS=ill"],
    ]


def test_a_start_that_loads_asks_for_more_time_before_it_is_over() -> None:
    said = tell([LOADING] * 500)  # 100 s
    asked = [n * TICK_S for n, lines in enumerate(said) if any("EXTEND" in line for line in lines)]
    assert len(asked) == 10
    assert max(b - a for a, b in pairwise(asked)) < EXTEND_S / 2


def test_a_start_that_hangs_is_not_given_more_time() -> None:
    hangs = Facts(not_ready="loading", not_alive="model tiny hangs")
    assert not any("EXTEND" in line for lines in tell([hangs] * 500, 10) for line in lines)


def test_the_dog_is_fed_at_half_its_time_and_only_while_alive() -> None:
    hung = Facts(not_alive="pipeline front makes no progress")
    said = tell([WELL] * 50 + [hung] * 50 + [WELL], 4.0)
    fed = [n for n, lines in enumerate(said) if "WATCHDOG=1" in lines]
    assert fed == [0, 10, 20, 30, 40, 100]


def test_a_reload_is_told_from_its_begin_to_its_end() -> None:
    busy = Facts(status="well", reloading=True)
    assert tell([WELL, busy, busy, WELL]) == [
        ["READY=1", "STATUS=well"],
        ["RELOADING=1", "MONOTONIC_USEC=200000"],
        [],
        ["READY=1"],
    ]


def test_stopping_is_told_once_and_ready_never_after_it() -> None:
    assert tell([LOADING, Facts(stopping=True, status="x"), Facts(stopping=True, status="x")])[1:] == [
        ["STOPPING=1", "STATUS=x"],
        [],
    ]


def test_a_status_is_one_line_of_bounded_length() -> None:
    ((line,),) = ([x for x in lines if "STATUS" in x] for lines in tell([Facts(status="a\nb\tc " * 100)]))
    assert "\n" not in line
    assert len(line) <= len("STATUS=") + STATUS_LENGTH


FACTS = st.builds(
    Facts,
    not_ready=st.sampled_from(["", "loading"]),
    not_alive=st.sampled_from(["", "hangs"]),
    reloading=st.booleans(),
    stopping=st.booleans(),
    status=st.sampled_from(["a", "b"]),
)


@given(st.lists(FACTS, max_size=60), st.sampled_from([None, 1.0, 4.0]))
def test_whatever_happens(facts: list[Facts], watchdog_s: float | None) -> None:
    ready = reloading = stopping = False
    for f, lines in zip(facts, tell(facts, watchdog_s), strict=True):
        for line in lines:
            match line.partition("=")[0]:
                case "READY":
                    assert (not ready and not f.not_ready) or reloading
                    ready, reloading = True, False
                case "RELOADING":
                    assert ready
                    assert not reloading
                    reloading = True
                case "STOPPING":
                    assert not stopping
                    stopping = True
                case "EXTEND_TIMEOUT_USEC":
                    assert not ready
                    assert not f.not_alive
                case "WATCHDOG":
                    assert watchdog_s is not None
                    assert not f.not_alive
        assert ready == reloading or not reloading


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),  # another process is watched
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_period(environment: dict[str, str], expected: float | None) -> None:
    assert watchdog_period_s(environment) == expected


def test_status_names_what_does_not_run() -> None:
    healths = {"front": Health("faulted", "no camera"), "rear": Health("running", "")}
    assert status_of(healths) == "front faulted: no camera; 1 of 2 pipelines running"


class Manager:
    """Stands for systemd.daemon: takes notifications, or fails."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.error: OSError | None = None

    def notify(self, lines: str) -> bool:
        if self.error is not None:
            raise self.error
        self.taken.append(lines)
        return True


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Manager:
    found = Manager()
    monkeypatch.setitem(sys.modules, "systemd", SimpleNamespace(daemon=found))
    return found


UNDER_SYSTEMD = {"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": "4000000"}


def test_all_that_is_news_is_one_message(manager: Manager) -> None:
    now = [0.0]
    notifier = Notifier(UNDER_SYSTEMD, clock=lambda: now[0])
    for now[0] in (0.0, 1.0, 2.0):
        notifier.tick(WELL)
    assert manager.taken == ["READY=1\nWATCHDOG=1\nSTATUS=well", "WATCHDOG=1"]


def test_without_systemd_nothing_is_said_or_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd", None)
    Notifier({}).tick(WELL)


def test_where_systemd_waits_the_package_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd", None)
    with pytest.raises(MissingPackage, match=r"Type=notify.*'systemd-python'") as caught:
        Notifier(UNDER_SYSTEMD)
    assert "edged[systemd]" in caught.value.hint


def test_a_manager_that_takes_nothing_is_told_of_once(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    manager.error = ConnectionRefusedError(111, "Connection refused")
    notifier = Notifier(UNDER_SYSTEMD, clock=iter(range(0, 100, 2)).__next__)
    for _ in range(3):
        notifier.tick(WELL)
    (line,) = caplog.messages
    assert "Connection refused" in line
    assert "READY=1" in line
