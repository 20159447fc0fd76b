"""Which thread makes no progress: stamps against a clock that the test sets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edged.health import Health
from edged.liveness import CALL_S, JOB_S, JOB_USUAL, LOOP_S, job_limit_s, not_alive, not_ready, stuck_loop
from edged.parts import Parts
from edged.runner import Runner

S = 1_000_000_000


def parts(**keys: Any) -> Parts:
    """Stand-ins with the stamps that are read."""
    runner = Runner.__new__(Runner)
    vars(runner).update(name="model m", model="m", busy_ns=0, usual_ns=S // 10, pipelines=[1, 2], call=None)
    source = SimpleNamespace(call=None)
    pipeline = SimpleNamespace(config=SimpleNamespace(model="m"), waits_ns=keys.get("waits_ns", 0))
    vars(runner).update(keys.get("runner", {}))
    vars(source).update(keys.get("source", {}))
    made: Any = {
        "runners": {"model m": runner},
        "sources": {"source a": source},
        "pipelines": {"p": pipeline},
    }
    return Parts(**made)


def core(phase: str = "running", **phases: str) -> Any:
    phases = {"model m": "running", **{k.replace("_", " "): v for k, v in phases.items()}}
    return SimpleNamespace(
        phase=phase, phases=phases, reasons={"model m": "broken"}, waiting_for=("model m",)
    )


@pytest.mark.parametrize(
    ("stamps", "limit_s", "said"),
    [
        ({"runner": {"busy_ns": S}}, JOB_S, "model m: an inference has taken 11 s"),
        ({"runner": {"busy_ns": S, "usual_ns": S}}, JOB_USUAL, "model m: an inference has taken 21 s"),
        ({"source": {"call": ("read", S)}}, CALL_S["read"], "source a: its read has taken 11 s"),
        ({"source": {"call": ("open", S)}}, CALL_S["open"], "source a: its open has taken 61 s"),
        ({"source": {"call": ("settle", S)}}, CALL_S["settle"], "source a: its settle has taken 61 s"),
        ({"runner": {"call": ("load", S)}}, CALL_S["load"], "model m: its load has taken 601 s"),
        ({"runner": {"call": ("unload", S)}}, CALL_S["unload"], "model m: its unload has taken 61 s"),
        (
            {"runner": {"call": ("unload", S), "usual_ns": 9 * S}},
            180.0,
            "model m: its unload has taken 181 s",
        ),
        ({"waits_ns": S}, 2 * JOB_S, "pipeline p: a frame has waited for 21 s"),
    ],
)
def test_what_takes_longer_than_its_limit_is_named(stamps: Any, limit_s: float, said: str) -> None:
    limit_ns = round(limit_s * S)
    assert not_alive(parts(**stamps), core(), S + limit_ns) == ""
    assert not_alive(parts(**stamps), core(), S + limit_ns + S) == said


def test_what_is_being_mended_is_alive() -> None:
    stamps = {"runner": {"busy_ns": S}, "waits_ns": S}
    assert not_alive(parts(**stamps), core(model_m="faulted"), 1000 * S) == ""
    assert not_alive(parts(**stamps), core(model_m="prepared"), 1000 * S) == ""


@pytest.mark.parametrize("phase", ["booting", "admitting", "draining", "over"])
def test_at_boot_nothing_is_inferred_and_the_end_has_limits_of_its_own(phase: str) -> None:
    assert not_alive(parts(runner={"busy_ns": S}), core(phase), 1000 * S) == ""


@pytest.mark.parametrize(
    ("phase", "alive"), [("booting", False), ("admitting", False), ("draining", True), ("over", True)]
)
def test_a_model_that_never_loads_is_seen_while_booting(phase: str, alive: bool) -> None:
    made = parts(runner={"call": ("load", S)})
    assert not_alive(made, core(phase), 500 * S) == ""
    assert (not_alive(made, core(phase), 1000 * S) == "") is alive


def test_the_limit_of_an_inference_grows_with_what_is_usual() -> None:
    (runner,) = parts(runner={"usual_ns": 3 * S}).runners.values()
    assert job_limit_s(runner) == 3 * JOB_USUAL


def test_a_main_loop_that_does_not_turn() -> None:
    assert stuck_loop(S, S + round(LOOP_S * S)) == ""
    assert stuck_loop(S, 4 * S) == "the main loop has not turned for 3.0 s"


def test_ready_is_a_pipeline_that_has_run_or_says_why_it_does_not() -> None:
    assert not_ready(parts(), core("booting"), {}) == "booting: waiting for model m"
    assert not_ready(parts(), core("draining"), {}) == "draining"
    assert not_ready(parts(), core(model_m="starting"), {}) == "model m is not loaded: starting"
    assert not_ready(parts(), core(model_m="faulted"), {}) == "model m is not loaded: broken"
    assert not_ready(parts(), core(), {"p": Health()}) == "pipeline p: starting: not started yet"
    for state in ("running", "degraded", "faulted", "paused", "stopped"):
        assert not_ready(parts(), core(), {"p": Health(state, "why")}) == ""
