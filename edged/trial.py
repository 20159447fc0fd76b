"""Whether a changed configuration has proved itself: a pure decision on any clock.

    wait ──every touched pipeline settled──► confirm
      ├─────one is faulted by the change───► undo
      └─────confirm_s is over──────────────► undo

A pipeline has settled when it has been as it should for STEADY_S, or when it has ended well. One that is no better than
it was before the change is not the change's fault. One that is paused proves nothing: it is judged by its source and
its model, and for the whole of confirm_s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

from edged.health import Health, State

STEADY_S = 3.0  # a camera that opens and is lost again has shown itself by then
# A pipeline that is degraded by these has not shown that the change is good. Others tell of the scene (black) or of
# what the configuration itself allows (a fallback engine).
UNPROVEN = frozenset({"late", "frozen", "torn"})
Verdict = Literal["wait", "confirm", "undo"]


@dataclass(frozen=True, slots=True)
class Trial:
    """began_s: when the change ran. before: the healths until then, of pipelines that there were."""

    touched: tuple[str, ...]
    began_s: float
    confirm_s: float
    before: Mapping[str, Health]

    def left_s(self, now: float) -> float:
        return max(0.0, self.began_s + self.confirm_s - now)


def judge(trial: Trial, now: float, healths: Mapping[str, Health]) -> tuple[Verdict, str]:
    """What to do at `now`, and why: what is wrong, or what is not quite right."""
    steady_s = min(STEADY_S, trial.confirm_s / 2)
    words = {
        name: f"pipeline {name}: {_bare(healths.get(name)) or 'not there yet'}" for name in trial.touched
    }
    open_ = []
    for name in trial.touched:
        health, before = _bare(healths.get(name)), _bare(trial.before.get(name))
        as_before = health is not None and _same(health, before)
        if health is not None and health.state == "faulted" and not as_before:
            return "undo", words[name]
        if health is None or not _settled(
            health, as_before, now - max(health.since_s, trial.began_s), steady_s
        ):
            open_.append(name)
    over = trial.left_s(now) <= 0
    unproven = [n for n in open_ if over and _is_unproven(healths.get(n))]
    if open_ == unproven:
        flaws = [
            words[n] + (" (unproven)" if n in unproven else "")
            for n in trial.touched
            if healths[n].state not in ("running", "stopped")
        ]
        return "confirm", ", ".join(flaws)
    if over:
        missing = ", ".join(words[n] for n in open_ if n not in unproven)
        return "undo", f"not healthy within {trial.confirm_s:g} s: {missing}"
    return "wait", ""


def _bare(health: Health | None) -> Health | None:
    """A paused pipeline as its source or model is, where that does not work."""
    if health is None or not health.beneath:
        return health
    state, _, reason = health.beneath.partition(": ")
    return replace(health, state=cast(State, state), reason=reason, beneath="")


def _is_unproven(health: Health | None) -> bool:
    return health is not None and health.state == "paused" and not health.beneath


def _settled(health: Health, as_before: bool, for_s: float, steady_s: float) -> bool:
    if health.state == "stopped":
        return True
    if health.state in ("starting", "paused") or for_s < steady_s:
        return False
    return health.state == "running" or as_before or _check(health) not in UNPROVEN


def _same(health: Health, before: Health | None) -> bool:
    """Whether it complains of what it complained of before."""
    if before is None or health.state != before.state:
        return False
    return _check(health) == _check(before) if health.state == "degraded" else health.reason == before.reason


def _check(health: Health) -> str:
    """The check that failed: reasons are "<check>: words"."""
    return health.reason.partition(":")[0]
