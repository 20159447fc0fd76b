"""What happens next: a pure state machine, `step(now, event) -> actions`. No thread, no clock, no I/O.

    booting ──all opened──► admitting ──► running ──► draining: sources, then runners, then sinks ──► over
       └─ a unit faulted ───────┴── refused ──┴── signal, end of input, fault that no restart mends ──┘

What fails later is tried again, or lost, as escalation.py says; a camera that is absent at boot keeps nobody waiting.
While running, one change at a time may be on its way (changing.py). The daemon (daemon.py) feeds the core events
and does what it says.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Literal

from edged.backoff import Backoff
from edged.changing import CAMERA_S, Changing
from edged.errors import EdgedError, ExitCode
from edged.escalation import FAULTS, Kind
from edged.happenings import (
    Action,
    Admit,
    Admitted,
    Again,
    Asked,
    Done,
    Exit,
    Go,
    Gone,
    Happening,
    Start,
    Stop,
    Swap,
    Tell,
    Tick,
)
from edged.roster import Roster, key_of
from edged.steering import Busy
from edged.units import Report

Phase = Literal["booting", "admitting", "running", "draining", "over"]

# Who is stopped after whom, and how long after the wish to stop the next ones are told, ready or not: a unit
# that hangs must not cost the others their orderly end. The process is to be gone after 5 s; the rest is for
# the interpreter. Sources come first, so that runners finish what was accepted and sinks publish it.
STAGES: tuple[tuple[tuple[Kind, ...], float], ...] = (
    (("source", "camera"), 2.0),
    (("runner",), 2.8),
    (("sink", "remote-sink"), 4.4),
)


_UNITS: tuple[Kind, ...] = ("source", "camera", "runner", "sink", "remote-sink")
_RECOVER: tuple[Kind, ...] = ("camera", "runner")  # those that are let work again once they have opened


class Core:
    """The state of the whole. `kinds`: each unit's kind; `backoffs`: of each camera. Used by one thread.

    `phases` is what each unit said last, `reasons` why it failed last. `chance`: random numbers in [0, 1).
    `changing`: the change that is on its way; None: nothing is.
    """

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        backoffs: Mapping[str, Backoff] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.roster = Roster(kinds, backoffs or {}, chance)
        self.phases, self.reasons = self.roster.phases, self.roster.reasons
        self.recoveries = self.roster.recoveries
        self.phase: Phase = "booting"
        self.changing: Changing | None = None
        self.code = ExitCode.OK
        self.why = ""  # why it ends
        self._began: float | None = None
        self._stage = 0  # of STAGES, while draining
        self._since = 0.0  # when draining began
        self._hung = ExitCode.DRAIN_TIMEOUT  # the code if units hang: a fault that led to the end goes before

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """Units that have neither opened nor failed yet."""
        return tuple(u for u in self._of(*_UNITS) if self.roster.is_starting(u))

    def step(self, now: float, event: Happening) -> list[Action]:
        """Actions are to be done in order. `now`: seconds of a clock that never goes back."""
        self._began = now if self._began is None else self._began
        match event:
            case Report():
                return self._report(now, event)
            case Admitted(error=error):
                return self._admitted(now, error)
            case Asked(why=why, code=code):
                self.code = code if self.code is ExitCode.OK else self.code
                return self._drain(now, why)
            case Swap():
                return self._swap(now, event)
            case Tick():
                return [*self._try_again(now), *self._go_on(now)]

    def _report(self, now: float, r: Report) -> list[Action]:
        key, changing = self.roster.key(r), self.changing
        if key is None:
            return []
        kind, own = self.roster.kinds[key], key == r.unit
        if changing is not None and changing.takes(r, key, kind):
            return self._go_on(now)
        if r.phase == "served":  # of a change that is over
            return []
        self.roster.note(key, r)
        if self.roster.gone(key):
            return [Gone(key), *self._go_on(now)]
        actions: list[Action] = list(self.roster.news(now, key, r))
        if r.phase == "prepared" and own and kind in _RECOVER and self.phase == "running":
            actions.append(Go(key))
        if r.error is None or not own:
            return [*actions, *self._go_on(now)]
        later = self.phase not in ("booting", "admitting") or (kind == "sink" and key in self.roster.opened)
        verdict = FAULTS[kind].later if later else FAULTS[kind].at_boot
        given_up = self.roster.given_up(key, ending=self.phase == "draining")
        if verdict in ("refuse to start", "lose it") or given_up:
            self.code = r.error.exit_code if self.code is ExitCode.OK else self.code
        if later and given_up:
            return [*actions, *self._drain(now, f"{key} failed", drop=True)]
        return [*actions, *self._go_on(now)]

    def _try_again(self, now: float) -> list[Action]:
        """What is due of what failed, and what of it has stopped coming and going."""
        if self.phase in ("draining", "over"):
            return []
        actions: list[Action] = []
        for unit, recovery in self.recoveries.items():
            if self.roster.kinds[unit] == "runner" and not (
                self.phase == "running" and self.roster.runs(unit)
            ):
                continue  # it refuses the start, or the change
            if recovery.due(now):
                actions.append(Again(unit, recovery.afresh))
                if recovery.afresh:
                    actions += self.roster.tell_afresh(unit)
            if recovery.settled(now):
                now_it_is = ("faulted", self.reasons[unit]) if recovery.down else ("running", "steadily")
                actions += self.roster.tell(Tell(unit, *now_it_is))
        return actions

    def _go_on(self, now: float) -> list[Action]:
        """What follows from how things are."""
        if self.phase == "booting" and not self._waited_for(
            now
        ):  # all have said what is wrong, if anything is
            if self.code is not ExitCode.OK:
                return self._drain(now, "it could not start")
            self.phase = "admitting"
            return [Admit(self._prepared())]
        if self.changing is not None:
            return self._go_on_changing(now, self.changing)
        if self.phase == "running" and all(
            self.phases[p] in ("ended", "faulted") for p in self._of("pipeline")
        ):
            return self._drain(now, "every pipeline has ended")
        return self._advance(now)

    def _swap(self, now: float, swap: Swap) -> list[Action]:
        """A change begins; only while running, and none is on its way."""
        self.roster.adopt(swap)
        self.changing = Changing(swap, now)
        first = tuple(key_of(n, swap.era) for n in swap.first)
        return [Start(first), *self._go_on(now)]

    def _go_on_changing(self, now: float, changing: Changing) -> list[Action]:
        actions = changing.go_on(now, self.roster)
        done = actions[-1] if actions else None
        if isinstance(done, Done):
            self.changing = None
            if not done.stopped:  # else they are brought back first
                actions += self._go_on(now)
        return actions

    def _waited_for(self, now: float) -> bool:
        patient = self._began is None or now - self._began < CAMERA_S
        return any(patient or self.roster.kinds[u] != "camera" for u in self.waiting_for)

    def _prepared(self) -> tuple[str, ...]:
        stopped = self.roster.stopped
        return tuple(u for u in self.phases if self.phases[u] == "prepared" and u not in stopped)

    def _admitted(self, now: float, error: EdgedError | None) -> list[Action]:
        if self.changing is not None:
            self.changing.admitted(error)
            return self._go_on(now)
        if self.phase != "admitting":
            return []
        if error is not None and self.code is ExitCode.OK:
            self.code = error.exit_code
        if self.code is not ExitCode.OK:
            return self._drain(now, "it could not start")
        self.phase = "running"
        return [*(Go(u) for u in self._prepared()), *self._go_on(now)]

    def fail(self, now: float, error: EdgedError) -> list[Action]:
        """End because of what no unit said: what a refused change had stopped does not come back."""
        self.code = error.exit_code if self.code is ExitCode.OK else self.code
        return self._drain(now, "what ran before cannot be brought back")

    def _drain(self, now: float, why: str, *, drop: bool = False) -> list[Action]:
        """Begin to end, unless it is ending. Frames that wait are finished, if not `drop` and if time allows."""
        if self.phase in ("draining", "over"):
            return self._advance(now)
        self.phase, self.why, self._since = "draining", why, now
        if self.code is not ExitCode.OK:
            self._hung = self.code
        changing, self.changing = self.changing, None
        over = [] if changing is None else [Done(Busy("edged is stopping", hint="start it again"))]
        return [*over, Stop(STAGES[0][0], drop), *self._advance(now)]

    def _advance(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while self.phase == "draining":
            kinds, until_s = STAGES[self._stage]
            if self._awaited(kinds) and now < self._since + until_s:
                break
            self._stage += 1
            if self._stage < len(STAGES):
                actions.append(Stop(STAGES[self._stage][0], drop=True))
            else:
                self.phase = "over"
                hanging = tuple(u for kinds, _ in STAGES for u in self._alive(kinds))
                code = self._hung if self._awaited(_UNITS) else self.code
                actions.append(Exit(code, hanging))
        return actions

    def _of(self, *kinds: Kind) -> list[str]:
        return self.roster.of(*kinds)

    def _awaited(self, kinds: tuple[Kind, ...]) -> list[str]:
        """Those that are known to hang since a change left them behind are not: they were told then."""
        return [u for u in self._alive(kinds) if u not in self.roster.behind]

    def _alive(self, kinds: tuple[Kind, ...]) -> list[str]:
        return [u for u in self._of(*kinds) if u not in self.roster.stopped]
