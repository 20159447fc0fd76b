"""What happens next: a pure state machine, `step(now, event) -> actions`. No thread, no clock, no I/O.

    booting ──all opened──► admitting ──► running ──► draining: sources, then runners, then sinks ──► over
       └─ a unit faulted ───────┴── refused ──┴── signal, end of input, fault ──┘

The daemon (daemon.py) feeds it events and does what it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edged.errors import EdgedError, ExitCode
from edged.units import Report

Kind = Literal["source", "runner", "sink", "remote-sink", "pipeline"]
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
    """Add up the regions of all units, refuse or let them go."""


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


Action = Admit | Stop | Exit

Verdict = Literal["refuse to start", "end", "lose it", "it retries"]

# What a fault of a unit means: while booting, and later. A sink's worker retries by itself; at boot only a
# remote sink may be down (a robot starts without its broker, but not with its socket taken).
FAULTS: dict[Kind, tuple[Verdict, Verdict]] = {
    "source": ("refuse to start", "lose it"),
    "runner": ("refuse to start", "end"),
    "sink": ("refuse to start", "it retries"),
    "remote-sink": ("it retries", "it retries"),
    "pipeline": ("lose it", "lose it"),
}
# Who is stopped after whom, and how long after the wish to stop the next ones are told, ready or not: a unit
# that hangs must not cost the others their orderly end. The process is to be gone after 5 s; the rest is for
# the interpreter. Sources come first, so that runners finish what was accepted and sinks publish it.
STAGES: tuple[tuple[tuple[Kind, ...], float], ...] = (
    (("source",), 2.0),
    (("runner",), 2.8),
    (("sink", "remote-sink"), 4.4),
)


class Core:
    """The state of the whole: `kinds` maps each unit's name to its kind. Used by one thread."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.kinds = dict(kinds)
        self.phase: Phase = "booting"
        self.phases: dict[str, str] = dict.fromkeys(kinds, "starting")
        self.code = ExitCode.OK
        self.why = ""  # why it ends
        self._stopped: set[str] = set()
        self._stage = 0  # of STAGES, while draining
        self._since = 0.0  # when draining began
        self._hung = ExitCode.DRAIN_TIMEOUT  # the code if units hang: a fault that led to the end goes before

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """Units that have neither opened nor failed yet."""
        return tuple(u for u in self._of("source", "runner", "sink", "remote-sink") if self._is_starting(u))

    def step(self, now: float, event: Happening) -> list[Action]:
        """Actions are to be done in order. `now`: seconds of a clock that never goes back."""
        match event:
            case Report():
                return self._report(now, event)
            case Admitted(error=error):
                return self._admitted(now, error)
            case Asked(why=why):
                return self._drain(now, why)
            case Tick():
                return self._advance(now)

    def _report(self, now: float, r: Report) -> list[Action]:
        kind = self.kinds[r.unit]
        if r.phase == "stopped":  # its thread has ended; `phases` keeps how
            self._stopped.add(r.unit)
        else:
            self.phases[r.unit] = r.phase
        if r.error is None:
            return self._go_on(now)
        verdict = FAULTS[kind][self.phase not in ("booting", "admitting")]
        if verdict != "it retries" and self.code is ExitCode.OK:
            self.code = r.error.exit_code
        return self._drain(now, f"{r.unit} failed", drop=True) if verdict == "end" else self._go_on(now)

    def _go_on(self, now: float) -> list[Action]:
        """What follows from how things are."""
        if self.phase == "booting" and not self.waiting_for:  # all have said what is wrong, if anything is
            if self.code is not ExitCode.OK:
                return self._drain(now, "it could not start")
            self.phase = "admitting"
            return [Admit()]
        if self.phase == "running" and all(
            self.phases[p] in ("ended", "faulted") for p in self._of("pipeline")
        ):
            return self._drain(now, "every pipeline has ended")
        return self._advance(now)

    def _admitted(self, now: float, error: EdgedError | None) -> list[Action]:
        if self.phase != "admitting":
            return []
        if error is not None and self.code is ExitCode.OK:
            self.code = error.exit_code
        if self.code is not ExitCode.OK:
            return self._drain(now, "it could not start")
        self.phase = "running"
        return self._go_on(now)

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
