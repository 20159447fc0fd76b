"""The life of a unit as its reports tell it."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable

import pytest

from edged.errors import ExitCode, SourceError
from edged.units import Plan, Unit
from tests.rig import Post


class Scripted(Unit):
    """Each step calls what it was given."""

    def __init__(self, post: Post, **steps: Callable[[], object]) -> None:
        super().__init__("unit test", post)
        self._steps = steps
        self.done: list[tuple[str, threading.Thread]] = []

    def _step(self, name: str) -> None:
        self.done.append((name, threading.current_thread()))
        self._steps.get(name, lambda: None)()

    def prepare(self) -> None:
        self._step("prepare")

    def plan(self) -> Plan:
        return {}

    def work(self) -> None:
        self.say_running()
        self._step("work")

    def release(self) -> None:
        self._step("release")

    @property
    def steps(self) -> list[str]:
        return [name for name, _ in self.done]


def fail(error: BaseException) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step


def test_a_whole_life_runs_in_the_units_own_thread() -> None:
    post = Post()
    unit = Scripted(post)
    unit.start()
    post.wait_for("unit test", "prepared")
    assert unit.steps == ["prepare"], "it works before it was let go"
    unit.go()
    assert unit.join(10)
    assert post.phases("unit test") == ["prepared", "running", "ended", "stopped"]
    assert unit.steps == ["prepare", "work", "release"]
    assert {thread.name for _, thread in unit.done} == {"unit test"}
    assert unit.error is None


def test_a_unit_that_is_stopped_before_it_was_let_go_never_works() -> None:
    post = Post()
    unit = Scripted(post)
    unit.start()
    post.wait_for("unit test", "prepared")
    unit.stop()
    assert unit.join(10)
    assert post.phases("unit test") == ["prepared", "stopped"]
    assert unit.steps == ["prepare", "release"]


@pytest.mark.parametrize("step", ["prepare", "work", "release"])
def test_a_fault_in_any_step_is_told_and_everything_is_released(step: str) -> None:
    post, error = Post(), SourceError("source 'x' has gone", hint="plug it in")
    unit = Scripted(post, **{step: fail(error)})
    unit.start()
    unit.go()
    assert unit.join(10)
    reports = post.drain()
    assert [r.error for r in reports if r.phase == "faulted"] == [error]
    assert reports[-1].phase == "stopped"
    assert unit.steps[-1] == "release"
    assert unit.error is error


def test_the_first_of_two_faults_is_why_it_failed() -> None:
    post, first, second = Post(), SourceError("first"), SourceError("second")
    unit = Scripted(post, prepare=fail(first), release=fail(second))
    unit.start()
    assert unit.join(10)
    assert [r.error for r in post.drain() if r.error] == [first, second]
    assert unit.error is first


@pytest.mark.parametrize("error", [ValueError("surprise"), SystemExit(3)], ids=repr)
def test_what_is_no_error_of_edged_is_a_defect_with_its_traceback_in_the_log(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    post = Post()
    unit = Scripted(post, prepare=fail(error))
    with caplog.at_level(logging.ERROR):
        unit.start()
        assert unit.join(10)
    assert unit.error is not None
    assert unit.error.exit_code is ExitCode.INTERNAL
    assert f"unit test: unexpected {type(error).__name__}: {error}" in unit.error.message
    assert "please report" in unit.error.hint
    assert "Traceback" in caplog.text


def test_joining_a_unit_that_never_started_or_is_at_work() -> None:
    post, gate = Post(), threading.Event()
    unit = Scripted(post, prepare=gate.wait)
    assert unit.join(0)
    unit.start()
    assert not unit.join(0)
    gate.set()
    unit.stop()
    assert unit.join(10)


def test_an_error_that_is_kept_keeps_nothing_else() -> None:
    class Memory:
        """Stands for slots, or for what a driver mapped."""

    held: list[weakref.ref[Memory]] = []

    def work() -> None:
        memory = Memory()
        held.append(weakref.ref(memory))
        try:
            raise OSError("the cause")
        except OSError as e:
            raise SourceError("it failed") from e

    post = Post()
    unit = Scripted(post, work=work)
    unit.start()
    unit.go()
    assert unit.join(10)
    assert unit.error is not None
    assert held[0]() is None, "the traceback of the error holds it"
