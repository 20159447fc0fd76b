"""The state of a pipeline, as subscribers and operators see it: one pure function on any clock.

    starting ──► running ◄──► degraded         running: looks, and can be believed
        │           │            │             degraded: looks, but not as promised (reason)
        └───────────┴────────────┴──► faulted  starting, faulted, paused, stopped: does not look
                                               any ──► paused, stopped

A faulted pipeline is running again only when a result comes: while its source is opened again and again it
stays faulted, so that an endless loop is one line. `step` may be called as often as wanted, for each result or
five times a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

State = Literal["starting", "running", "degraded", "faulted", "paused", "stopped"]

# what `step` may do, besides staying
TRANSITIONS: dict[State, frozenset[State]] = {
    "starting": frozenset({"running", "degraded", "faulted", "paused", "stopped"}),
    "running": frozenset({"degraded", "faulted", "paused", "stopped"}),
    "degraded": frozenset({"running", "faulted", "paused", "stopped"}),
    "faulted": frozenset({"running", "degraded", "paused", "stopped"}),
    "paused": frozenset({"starting", "faulted", "stopped"}),
    "stopped": frozenset({"starting", "faulted", "paused"}),
}
LOOKS: frozenset[State] = frozenset({"running", "degraded"})


@dataclass(frozen=True, slots=True)
class Health:
    """`reason` is empty only when running. `since_s`: when this state began; a new reason does not begin it anew.

    `good_since_s`: since when a degraded pipeline has had nothing to complain of; None: it has.
    `beneath`: of a paused pipeline whose source or model does not work, as `str` of it would be otherwise.
    """

    state: State = "starting"
    reason: str = "not started yet"
    since_s: float = 0.0
    good_since_s: float | None = None
    beneath: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}" if self.reason else self.state


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of a pipeline at one moment; texts are empty where there is nothing to say.

    stopped, paused: why it was stopped or paused. fault: why its source or model does not work now, with what is
    done about it. waiting: what it still waits for (a source that opens, a model that loads).
    looping: what comes and goes, when that is all that can be said of it.
    result_s: when its last result was handed on, None: none yet. invalid: why that result was not valid.
    limited: why it works, but not as asked (a fallback engine, a slower mode). All on the clock of `step`.
    """

    stopped: str = ""
    paused: str = ""
    fault: str = ""
    looping: str = ""
    waiting: str = ""
    result_s: float | None = None
    invalid: str = ""
    limited: str = ""


@dataclass(frozen=True, slots=True)
class Patience:
    """silent_s: without a result for so long a pipeline is degraded. recover_s: good time that ends that."""

    silent_s: float = 0.8
    recover_s: float = 3.0


def _unseen(h: Health, o: Observation) -> bool:
    """Whether it has yet to give a result since it came into a state in which it does not look."""
    if h.state in ("paused", "stopped"):  # a result may still have come out after that
        return True
    return h.state not in LOOKS and (o.result_s is None or o.result_s < h.since_s)


def _silent(now: float, o: Observation, p: Patience) -> bool:
    return o.result_s is not None and now - o.result_s > p.silent_s


# the first that holds decides: (state, reason, "" for no); a reason holds no running time, or it would change always
_RULES: tuple[tuple[State, Callable[[Health, float, Observation, Patience], str]], ...] = (
    ("stopped", lambda h, now, o, p: o.stopped),
    ("paused", lambda h, now, o, p: o.paused),
    ("degraded", lambda h, now, o, p: o.looping if h.state in LOOKS else ""),
    ("faulted", lambda h, now, o, p: o.fault),
    ("faulted", lambda h, now, o, p: h.reason if h.state == "faulted" and _unseen(h, o) else ""),
    ("starting", lambda h, now, o, p: (o.waiting or "no picture yet") if _unseen(h, o) else ""),
    ("degraded", lambda h, now, o, p: o.looping),
    ("degraded", lambda h, now, o, p: f"late: no result for {p.silent_s:g} s" if _silent(now, o, p) else ""),
    ("degraded", lambda h, now, o, p: o.invalid),
    ("degraded", lambda h, now, o, p: o.limited),
)


def step(h: Health, now: float, o: Observation, p: Patience = Patience()) -> Health:
    """The state after an observation at `now` (seconds, never falls). Never raises."""
    for state, says in _RULES:
        reason = says(h, now, o, p)
        if reason:
            return _enter(h, now, state, reason, _beneath(o) if state == "paused" else "")
    if h.state != "degraded":
        return _enter(h, now, "running", "")
    good_since_s = now if h.good_since_s is None else h.good_since_s
    if now - good_since_s >= p.recover_s:
        return _enter(h, now, "running", "")
    return replace(h, good_since_s=good_since_s)


def _beneath(o: Observation) -> str:
    return f"faulted: {o.fault}" if o.fault else f"starting: {o.waiting}" if o.waiting else ""


def _enter(h: Health, now: float, state: State, reason: str, beneath: str = "") -> Health:
    return Health(state, reason, h.since_s if state == h.state else now, beneath=beneath)
