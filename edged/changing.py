"""The phases of a change of what runs, pure: no thread, no clock, no I/O. The core (supervisor.py) steps it.

    opening ► admitting ► loading ►┬─────────────────────────────────────────► finishing ► closing ► done
    new units  memory     new      └ stopping ► reopening ► readmitting ─┘ commit   old         old units
    open                  runners    what only one may      their memory            pipelines   stop
       └────────────┴────────┴────── have open ──┴───────────────┴─► undoing ► done, with the error

Until the commit everything that goes beyond its own name stays as it was: a refusal stops what is new, and what was
stopped already is told as `Done.stopped`, to be brought back. A camera that does not open is no refusal: it is tried
again. What hangs is left behind when its time is over, and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from edged.errors import EdgedError
from edged.escalation import FAULTS, Kind
from edged.happenings import Action, Admit, Commit, Done, Go, Leave, Settle, Start, Swap
from edged.roster import Roster, key_of
from edged.units import Report

CAMERA_S = 3.0  # how long boot, or a change, waits for a camera that takes its time to open
OPEN_S = 30.0  # for a file or a sink that a change brings
LOAD_S = 600.0  # for a model, and again for its first inferences
EXCHANGE_S = 5.0  # for what is to stop before its successor opens
FINISH_S = 10.0  # for frames that an old pipeline has accepted; then those that wait are dropped,
DROP_S = 1.0  # and those that are on the device have this long, before nothing of them counts any more
CLOSE_S = 10.0  # for what has nothing to do any more

Phase = Literal[
    "opening",
    "admitting",
    "loading",
    "stopping",
    "reopening",
    "readmitting",
    "finishing",
    "closing",
    "undoing",
]


class Changing:
    """One change on its way. `go_on` is called after whatever happened, and looks at how things are."""

    def __init__(self, swap: Swap, now: float) -> None:
        self.swap = swap
        self.phase: Phase = "opening"
        self.served: set[str] = set()  # sources that serve the new pipelines and hold nothing of the old
        self.over: set[str] = set()  # pipelines that leave and have ended, as `key_of` calls them
        self._since = now
        self._stopped: tuple[str, ...] = ()  # of swap.before
        self._error: EdgedError | None = None
        self._admitted: bool | None = None
        self._dropped = False

    @property
    def committed(self) -> bool:
        return self.phase in ("finishing", "closing")

    def admitted(self, error: EdgedError | None) -> None:
        if self.phase in ("admitting", "readmitting"):
            self._error, self._admitted = error, error is None

    def takes(self, r: Report, key: str, kind: Kind) -> bool:
        """Whether a report is only this change's affair: a source serves, a pipeline that leaves has ended."""
        if r.phase == "served" and r.change == self.swap.era:
            self.served.add(r.unit)
        elif kind == "pipeline" and r.phase in ("ended", "faulted") and self._leaves(r, key):
            self.over.add(key_of(r.unit, r.era))
        else:
            return False
        return True

    def _leaves(self, r: Report, key: str) -> bool:
        return r.unit in self.swap.leaves and r.era != self.swap.era

    def go_on(self, now: float, roster: Roster) -> list[Action]:
        """What follows from how things are; ends with Done."""
        actions: list[Action] = []
        while True:
            new = _STEPS[self.phase](self, now, roster)
            if new is None:
                return actions
            actions += new
            if any(isinstance(a, Done) for a in new):
                return actions

    # One step a phase: None to wait, else what is done on the way into the next.

    def _opening(self, now: float, roster: Roster) -> list[Action] | None:
        units = self._staged(self.swap.first)
        if self._failed(now, roster, units):
            return self._undo(now, roster)
        if self._waits(now, roster, units):
            return None
        return self._enter(now, "admitting", Admit(tuple(u for u in units if roster.phases[u] == "prepared")))

    def _admitting(self, now: float, roster: Roster) -> list[Action] | None:
        if self._admitted is None:
            return None
        if not self._admitted or self._failed(now, roster, self._staged(self.swap.first)):
            return self._undo(now, roster)
        runners = [u for u in self._staged(self.swap.first) if roster.kinds[u] == "runner"]
        return self._enter(now, "loading", *(Go(u) for u in runners))

    def _loading(self, now: float, roster: Roster) -> list[Action] | None:
        units = self._staged(self.swap.first)
        if self._failed(now, roster, units):
            return self._undo(now, roster)
        if any(roster.kinds[u] == "runner" and roster.phases[u] != "running" for u in units):
            return None
        if not (self.swap.before or self.swap.then):
            return self._commit(now, roster)
        self._stopped = self.swap.before
        return self._enter(now, "stopping", _leave(roster, self.swap.before))

    def _stopping(self, now: float, roster: Roster) -> list[Action] | None:
        if not roster.have_stopped(self.swap.before) and now < self._since + EXCHANGE_S:
            return None
        units = self._staged(self.swap.then)
        roster.started(units)
        return self._enter(now, "reopening", Start(units))

    def _reopening(self, now: float, roster: Roster) -> list[Action] | None:
        units = self._staged(self.swap.then)
        if self._failed(now, roster, self._staged(self.swap.first + self.swap.then)):
            return self._undo(now, roster)
        if self._waits(now, roster, units):
            return None
        if not any(roster.phases[u] == "prepared" for u in units):
            return self._commit(now, roster)
        self._admitted = None
        opened = self._staged(self.swap.first + self.swap.then)
        return self._enter(
            now, "readmitting", Admit(tuple(u for u in opened if roster.phases[u] == "prepared"))
        )

    def _readmitting(self, now: float, roster: Roster) -> list[Action] | None:
        if self._admitted is None:
            return None
        return self._commit(now, roster) if self._admitted else self._undo(now, roster)

    def _finishing(self, now: float, roster: Roster) -> list[Action] | None:
        pipelines = self._leaving(roster, "pipeline")
        left = [p for p in pipelines if p not in self.over and roster.phases[p] not in ("ended", "faulted")]
        late = now >= self._since + (DROP_S if self._dropped else FINISH_S)
        if left and late and not self._dropped:
            self._dropped, self._since = True, now
            return [Leave(tuple(left), drop=True)]
        if left and not late:
            return None
        return self._enter(now, "closing", Settle(), _leave(roster, self._leaving(roster, "runner")))

    def _closing(self, now: float, roster: Roster) -> list[Action] | None:
        units = self._leaving(roster, "source", "camera", "runner", "sink", "remote-sink")
        waits = not roster.have_stopped(units) or not self.served.issuperset(self.swap.serves)
        if waits and now < self._since + CLOSE_S:
            return None
        return [self._done(roster, units)]

    def _undoing(self, now: float, roster: Roster) -> list[Action] | None:
        units = self._staged(self.swap.first + self.swap.then)
        if not roster.have_stopped(units) and now < self._since + CLOSE_S:
            return None
        return [self._done(roster, units)]

    # Helpers.

    def _enter(self, now: float, phase: Phase, *actions: Action) -> list[Action]:
        self.phase, self._since = phase, now
        return list(actions)

    def _commit(self, now: float, roster: Roster) -> list[Action]:
        told = roster.commit(self.swap)
        sources = [u for u, k in self.swap.kinds.items() if k in ("source", "camera")]
        return self._enter(
            now,
            "finishing",
            Commit(),
            *told,
            *(Go(u) for u in sources if roster.phases[u] == "prepared"),
            _leave(roster, self._leaving(roster, "source", "camera")),
        )

    def _undo(self, now: float, roster: Roster) -> list[Action]:
        return self._enter(
            now, "undoing", _leave(roster, self._staged(self.swap.first + self.swap.then), drop=True)
        )

    def _done(self, roster: Roster, units: Iterable[str]) -> Done:
        hanging = tuple(u for u in units if not roster.have_stopped((u,)))
        if not self.committed:  # those of cameras that had to stop first
            for name in self.swap.leaves:
                if key_of(name, roster.era(name)) in self.over:
                    roster.phases[name] = "ended"
        roster.forget(self.swap, hanging)
        return Done(self._error, self._stopped if self._error is not None else (), hanging)

    def _staged(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(key_of(n, self.swap.era) for n in names)

    def _leaving(self, roster: Roster, *kinds: str) -> list[str]:
        """Keys of what leaves, once committed."""
        return [u for u in roster.left if roster.kinds[u] in kinds]

    def _failed(self, now: float, roster: Roster, units: Iterable[str]) -> bool:
        """Whether one of these keeps the change from being made; `_error` says why."""
        for unit in units:
            if not _refuses(roster, unit):
                continue
            error = roster.errors.get(unit)
            if error is not None and roster.phases[unit] == "faulted":
                self._error = error
                return True
            loads = roster.kinds[unit] == "runner"
            what, limit_s = ("loaded", LOAD_S) if loads else ("opened", OPEN_S)
            waits = roster.is_starting(unit) or (
                loads and self.phase == "loading" and roster.phases[unit] != "running"
            )
            if waits and now >= self._since + limit_s:
                hint = "look at what it opens"
                self._error = EdgedError(f"{unit} has not {what} within {limit_s:g} s", hint=hint)
                return True
        return False

    def _waits(self, now: float, roster: Roster, units: Iterable[str]) -> bool:
        patient = now < self._since + CAMERA_S
        return any(roster.is_starting(u) and (patient or _refuses(roster, u)) for u in units)


def _refuses(roster: Roster, unit: str) -> bool:
    """Whether the change is refused when this unit does not open; a camera and a broker may be away."""
    return FAULTS[roster.kinds[unit]].at_boot == "refuse to start"


def _leave(roster: Roster, units: Iterable[str], *, drop: bool = False) -> Leave:
    """Those that have not stopped already, or were never started."""
    return Leave(tuple(u for u in units if u not in roster.stopped), drop)


_STEPS: dict[Phase, Callable[[Changing, float, Roster], list[Action] | None]] = {
    "opening": Changing._opening,
    "admitting": Changing._admitting,
    "loading": Changing._loading,
    "stopping": Changing._stopping,
    "reopening": Changing._reopening,
    "readmitting": Changing._readmitting,
    "finishing": Changing._finishing,
    "closing": Changing._closing,
    "undoing": Changing._undoing,
}
