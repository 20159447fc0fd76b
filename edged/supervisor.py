"""What happens next: a pure state machine, `step(now, event) -> actions`. No thread, no clock, no I/O.

    booting ──all opened──► admitting ──► running ──► draining: sources, then runners, then sinks ──► over
       └─ a unit faulted ───────┴── refused ──┴── signal, end of input, fault ──┘

A camera that fails, at boot or later, is tried again (recovery.py) and keeps nobody waiting. The daemon (daemon.py)
feeds it events and does what it says.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from edged.backoff import Backoff
from edged.errors import EdgedError, ExitCode
from edged.recovery import Recovery
from edged.units import Report

Kind = Literal["source", "camera", "runner", "sink", "remote-sink", "pipeline"]
Phase = Literal["booting", "admitting", "running", "draining", "over"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """All units were let go, or refused with `error`."""

    error: EdgedError | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A signal or a limit of time asks for the end."""

    why: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Happening = Report | Admitted | Asked | Tick


@dataclass(frozen=True, slots=True)
class Admit:
    """Add up the regions of these units, and refuse or say that they fit."""

    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Go:
    """Let a unit work."""

    unit: str


@dataclass(frozen=True, slots=True)
class Again:
    """Let a unit that failed try again; `afresh`: with new memory."""

    unit: str
    afresh: bool


@dataclass(frozen=True, slots=True)
class Tell:
    """News of a unit: its phase, or "looping"."""

    unit: str
    state: str
    reason: str = ""
    error: EdgedError | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop all units of these kinds. `drop`: forget frames that wait in mailboxes, counted."""

    kinds: tuple[Kind, ...]
    drop: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """Leave, with the units that did not stop in time."""

    code: ExitCode
    hanging: tuple[str, ...] = ()


Action = Admit | Go | Again | Tell | Stop | Exit

Verdict = Literal["refuse to start", "end", "lose it", "try again", "it retries"]

# What a fault of a unit means: while booting, and later. A sink's worker retries by itself; at boot only a remote
# sink may be down (a robot starts without its broker, but not with its socket taken). One that was open is later, too:
# a disk that is full already when the first state is told must not keep a robot from looking.
FAULTS: dict[Kind, tuple[Verdict, Verdict]] = {
    "source": ("refuse to start", "lose it"),
    "camera": ("try again", "try again"),
    "runner": ("refuse to start", "end"),
    "sink": ("refuse to start", "it retries"),
    "remote-sink": ("it retries", "it retries"),
    "pipeline": ("lose it", "lose it"),
}
# Who is stopped after whom, and how long after the wish to stop the next ones are told, ready or not: a unit
# that hangs must not cost the others their orderly end. The process is to be gone after 5 s; the rest is for
# the interpreter. Sources come first, so that runners finish what was accepted and sinks publish it.
STAGES: tuple[tuple[tuple[Kind, ...], float], ...] = (
    (("source", "camera"), 2.0),
    (("runner",), 2.8),
    (("sink", "remote-sink"), 4.4),
)


CAMERA_S = 3.0  # how long boot waits for a camera that takes its time to open
MOST_TOLD = 16  # different complaints of one unit between two changes of its state


class Core:
    """The state of the whole. `kinds`: each unit's kind; `backoffs`: of each camera. Used by one thread.

    `phases` is what each unit said last, `reasons` why it failed last. `chance`: random numbers in [0, 1).
    """

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        backoffs: Mapping[str, Backoff] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.kinds = dict(kinds)
        self.phase: Phase = "booting"
        self.phases: dict[str, str] = dict.fromkeys(kinds, "starting")
        self.reasons: dict[str, str] = {}
        self.recoveries = {u: Recovery(u, b) for u, b in (backoffs or {}).items()}
        self.code = ExitCode.OK
        self.why = ""  # why it ends
        self._chance = chance
        self._told: dict[str, tuple[str, set[str]]] = {}  # the state, and the complaints in it
        self._began: float | None = None
        self._opened: set[str] = set()  # units that have been running
        self._stopped: set[str] = set()
        self._stage = 0  # of STAGES, while draining
        self._since = 0.0  # when draining began
        self._hung = ExitCode.DRAIN_TIMEOUT  # the code if units hang: a fault that led to the end goes before

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """Units that have neither opened nor failed yet."""
        return tuple(
            u for u in self._of("source", "camera", "runner", "sink", "remote-sink") if self._is_starting(u)
        )

    def step(self, now: float, event: Happening) -> list[Action]:
        """Actions are to be done in order. `now`: seconds of a clock that never goes back."""
        self._began = now if self._began is None else self._began
        match event:
            case Report():
                return self._report(now, event)
            case Admitted(error=error):
                return self._admitted(now, error)
            case Asked(why=why):
                return self._drain(now, why)
            case Tick():
                return [*self._try_again(now), *self._go_on(now)]

    def _report(self, now: float, r: Report) -> list[Action]:
        kind = self.kinds[r.unit]
        if r.phase == "stopped":  # its thread has ended; `phases` keeps how
            self._stopped.add(r.unit)
        else:
            self.phases[r.unit] = r.phase
            if r.phase == "running":
                self._opened.add(r.unit)
        if r.error is not None:
            self.reasons[r.unit] = r.error.message
        actions: list[Action] = list(self._news(now, r))
        if r.phase == "prepared" and kind == "camera" and self.phase == "running":
            actions.append(Go(r.unit))
        if r.error is None:
            return [*actions, *self._go_on(now)]
        later = self.phase not in ("booting", "admitting") or (kind == "sink" and r.unit in self._opened)
        verdict = FAULTS[kind][later]
        if verdict not in ("it retries", "try again") and self.code is ExitCode.OK:
            self.code = r.error.exit_code
        if verdict == "end":
            return [*actions, *self._drain(now, f"{r.unit} failed", drop=True)]
        return [*actions, *self._go_on(now)]

    def _news(self, now: float, r: Report) -> list[Tell]:
        """What is to be told of a report: a new state, or a new complaint in the same. Pipelines: see board.py."""
        if r.phase == "stopped" or self.kinds[r.unit] == "pipeline":
            return []
        state, error, reason = str(r.phase), r.error, ""
        recovery = self.recoveries.get(r.unit)
        if recovery is not None and error is not None:
            looped = recovery.looping
            error = recovery.fault(now, error, self._chance())
            if error is None:
                return []
            state = "looping" if recovery.looping != looped else state
        elif recovery is not None and r.phase == "running":
            up = recovery.up(now)
            if up is None:
                return []
            reason = up
        elif recovery is not None and recovery.down:
            return []  # that it opened proves nothing
        return self._tell(Tell(r.unit, state, error.message if error else reason, error))

    def _tell(self, news: Tell) -> list[Tell]:
        """Unless it was told already."""
        state, complaints = self._told.get(news.unit, ("", set()))
        if state != news.state:
            self._told[news.unit] = (news.state, {news.reason})
            return [news]
        if news.error is None or news.reason in complaints or len(complaints) >= MOST_TOLD:
            return []
        complaints.add(news.reason)
        return [news]

    def _try_again(self, now: float) -> list[Action]:
        """What is due of the cameras that failed, and which of them have stopped coming and going."""
        if self.phase in ("draining", "over"):
            return []
        actions: list[Action] = []
        for unit, recovery in self.recoveries.items():
            if recovery.due(now):
                actions.append(Again(unit, recovery.afresh))
            if recovery.settled(now):
                now_it_is = ("faulted", self.reasons[unit]) if recovery.down else ("running", "steadily")
                actions += self._tell(Tell(unit, *now_it_is))
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
        if self.phase == "running" and all(
            self.phases[p] in ("ended", "faulted") for p in self._of("pipeline")
        ):
            return self._drain(now, "every pipeline has ended")
        return self._advance(now)

    def _waited_for(self, now: float) -> bool:
        patient = self._began is None or now - self._began < CAMERA_S
        return any(patient or self.kinds[u] != "camera" for u in self.waiting_for)

    def _prepared(self) -> tuple[str, ...]:
        return tuple(u for u in self.phases if self.phases[u] == "prepared" and u not in self._stopped)

    def _admitted(self, now: float, error: EdgedError | None) -> list[Action]:
        if self.phase != "admitting":
            return []
        if error is not None and self.code is ExitCode.OK:
            self.code = error.exit_code
        if self.code is not ExitCode.OK:
            return self._drain(now, "it could not start")
        self.phase = "running"
        return [*(Go(u) for u in self._prepared()), *self._go_on(now)]

    def _drain(self, now: float, why: str, *, drop: bool = False) -> list[Action]:
        """Begin to end, unless it is ending. Frames that wait are finished, if not `drop` and if time allows."""
        if self.phase in ("draining", "over"):
            return self._advance(now)
        self.phase, self.why, self._since = "draining", why, now
        if self.code is not ExitCode.OK:
            self._hung = self.code
        return [Stop(STAGES[0][0], drop), *self._advance(now)]

    def _advance(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while self.phase == "draining":
            kinds, until_s = STAGES[self._stage]
            if self._alive(kinds) and now < self._since + until_s:
                break
            self._stage += 1
            if self._stage < len(STAGES):
                actions.append(Stop(STAGES[self._stage][0], drop=True))
            else:
                self.phase = "over"
                hanging = tuple(u for kinds, _ in STAGES for u in self._alive(kinds))
                actions.append(Exit(self._hung if hanging else self.code, hanging))
        return actions

    def _of(self, *kinds: Kind) -> list[str]:
        return [u for u, k in self.kinds.items() if k in kinds]

    def _alive(self, kinds: tuple[Kind, ...]) -> list[str]:
        return [u for u in self._of(*kinds) if u not in self._stopped]

    def _is_starting(self, unit: str) -> bool:
        return self.phases[unit] == "starting" and unit not in self._stopped
