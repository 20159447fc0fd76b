"""What happens next: a pure state machine, `step(now, event) -> actions`. No thread, no clock, no I/O.

    booting ──all prepared──► admit ──► running ──► draining: sources, then runners, then sinks ──► over
       └── a unit faulted ────────────────┴── signal, end of input, fault ──┘

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

DRAIN_S = 5.0  # from the wish to stop to the end of the process


@dataclass(frozen=True, slots=True)
class Admitted:
    """Memory was admitted, or refused with `error`."""

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
    """Stop all units of these kinds. `drop`: forget frames that wait in mailboxes."""

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
STOP_ORDER: tuple[tuple[Kind, ...], ...] = (("source",), ("runner",), ("sink", "remote-sink"))


class Core:
    """The state of the whole: `units` maps each unit's name to its kind. Used by one thread."""

    def __init__(self, units: Mapping[str, Kind]) -> None:
        self.kinds = dict(units)
        self.phase: Phase = "booting"
        self.phases: dict[str, str] = dict.fromkeys(units, "starting")
        self.stopped: set[str] = set()
        self.code = ExitCode.OK
        self.why = ""  # why it ends
        self._stage = 0  # of STOP_ORDER, while draining
        self._end = 0.0

    def step(self, now: float, event: Happening) -> list[Action]:
        match event:
            case Report():
                return self._report(now, event)
            case Admitted(error=error):
                if self.phase != "admitting":
                    return []
                if error is not None:
                    return self._drain(now, "memory was refused", error.exit_code, drop=True)
                self.phase = "running"
                # sources may have ended meanwhile
                return self._all_over(now)
            case Asked(why=why):
                return self._drain(now, why, ExitCode.OK, drop=True)
            case Tick():
                return self._tick(now)

    def _report(self, now: float, r: Report) -> list[Action]:
        if r.unit not in self.kinds:
            raise KeyError(f"{r.unit} is no unit of this daemon")
        if r.phase == "stopped":  # its thread ended; `phases` keeps how
            self.stopped.add(r.unit)
        else:
            self.phases[r.unit] = r.phase
        if r.phase == "faulted" and r.error is not None:
            return self._fault(now, r.unit, r.error)
        if self.phase == "booting":
            return self._boot(now)
        if self.phase == "running":
            return self._all_over(now)
        return self._next_stage(now) if self.phase == "draining" else []

    def _fault(self, now: float, unit: str, error: EdgedError) -> list[Action]:
        verdict = FAULTS[self.kinds[unit]][self.phase not in ("booting", "admitting")]
        if verdict != "it retries" and self.code is ExitCode.OK:
            self.code = error.exit_code
        if self.phase == "booting":
            return self._boot(now)
        if verdict == "end" or (verdict == "refuse to start" and self.phase == "admitting"):
            return self._drain(now, f"{unit} failed", error.exit_code, drop=True)
        return self._all_over(now) if self.phase == "running" else self._next_stage(now)

    def _boot(self, now: float) -> list[Action]:
        """Wait for every unit's word, so that all that is wrong is said at once."""
        units = [u for u, k in self.kinds.items() if k != "pipeline"]
        if any(self.phases[u] == "starting" for u in units):
            return []
        if self.code is not ExitCode.OK:
            return self._drain(now, "it could not start", self.code, drop=True)
        self.phase = "admitting"
        return [Admit()]

    def _all_over(self, now: float) -> list[Action]:
        pipelines = [u for u, k in self.kinds.items() if k == "pipeline"]
        if self.phase == "running" and all(self.phases[p] in ("ended", "faulted") for p in pipelines):
            return self._drain(now, "every pipeline has ended", self.code, drop=False)
        return []

    def _drain(self, now: float, why: str, code: ExitCode, *, drop: bool) -> list[Action]:
        if self.phase in ("draining", "over"):
            return []
        self.phase, self.why, self._end = "draining", why, now + DRAIN_S
        if self.code is ExitCode.OK:
            self.code = code
        self._stage = 0
        return [Stop(STOP_ORDER[0], drop), *self._next_stage(now)]

    def _next_stage(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while self.phase == "draining" and not self._alive(STOP_ORDER[self._stage]):
            self._stage += 1
            if self._stage == len(STOP_ORDER):
                self.phase = "over"
                actions.append(Exit(self.code))
            else:
                actions.append(Stop(STOP_ORDER[self._stage]))
        return actions

    def _alive(self, kinds: tuple[Kind, ...]) -> list[str]:
        return [u for u, k in self.kinds.items() if k in kinds and u not in self.stopped]

    def _tick(self, now: float) -> list[Action]:
        if self.phase != "draining" or now < self._end:
            return []
        self.phase = "over"
        hanging = tuple(u for kinds in STOP_ORDER for u in self._alive(kinds))
        return [Exit(self.code if self.code is not ExitCode.OK else ExitCode.DRAIN_TIMEOUT, hanging)]
