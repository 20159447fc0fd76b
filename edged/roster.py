"""Who there is and what each said last: units, sinks and pipelines under the names that reports use.

While a change is on its way there are two of a name: what it brings, and later what it replaces, goes under a key of
its own (`key_of`) until it runs, or is gone. Used by the core's thread; others may look up `phases`, `reasons` and
`recoveries`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edged.backoff import Backoff
from edged.errors import EdgedError
from edged.escalation import AFRESH, FAULTS, Kind
from edged.happenings import Swap, Tell
from edged.recovery import Recovery
from edged.units import Report

MOST_TOLD = 16  # different complaints of one unit between two changes of its state


def key_of(name: str, era: int) -> str:
    """What a unit is called that does not, or no longer, run under its own name."""
    return f"{name} of change {era}"


class Roster:
    """See the module. `kinds`, `backoffs`: as of Core. Values are by key; a key is a name, or as `key_of` says."""

    def __init__(
        self, kinds: Mapping[str, Kind], backoffs: Mapping[str, Backoff], chance: Callable[[], float]
    ) -> None:
        self.kinds: dict[str, Kind] = {}
        self.phases: dict[str, str] = {}
        self.reasons: dict[str, str] = {}  # why it failed last
        self.errors: dict[str, EdgedError] = {}  # the same
        self.recoveries: dict[str, Recovery] = {}
        self.opened: set[str] = set()  # units that have been running
        self.stopped: set[str] = set()
        self.left: tuple[str, ...] = ()  # what a change has replaced or removed, until it is gone
        self.behind: set[str] = set()  # units of changes that are over, which hang
        self._told: dict[str, tuple[str, set[str]]] = {}  # the state, and the complaints in it
        self._eras = dict.fromkeys(kinds, 0)
        self._keys = {(name, 0): name for name in kinds}
        self._chance = chance
        for name, kind in kinds.items():
            self._enter(name, name, kind, backoffs.get(name))

    def _enter(self, key: str, name: str, kind: Kind, backoff: Backoff | None) -> None:
        self.kinds[key], self.phases[key] = kind, "starting"
        backoff = FAULTS[kind].backoff if backoff is None else backoff
        if backoff is not None:
            before = self.recoveries.get(name)
            faults = 0 if before is None else before.faults
            self.recoveries[key] = Recovery(name, backoff, FAULTS[kind].look_at, faults)

    def of(self, *kinds: Kind) -> list[str]:
        return [u for u, k in self.kinds.items() if k in kinds]

    def key(self, r: Report) -> str | None:
        """None for a stranger: a change that is over has left it behind, and it is late."""
        return self._keys.get((r.unit, r.era))

    def era(self, name: str) -> int:
        """Of what runs under this name."""
        return self._eras[name]

    def runs(self, key: str) -> bool:
        """Whether it is no part of a change on its way."""
        return key in self._eras

    def is_starting(self, unit: str) -> bool:
        return self.phases[unit] == "starting" and unit not in self.stopped

    def have_stopped(self, units: Iterable[str]) -> bool:
        return self.stopped.issuperset(units)

    def note(self, key: str, r: Report) -> None:
        """What a unit said."""
        if r.phase == "stopped":  # its thread has ended; `phases` keeps how
            self.stopped.add(key)
        else:
            self.phases[key] = r.phase
            if r.phase == "running":
                self.opened.add(key)
        if r.error is not None:
            self.reasons[key], self.errors[key] = r.error.message, r.error

    # What is told of it.

    def news(self, now: float, key: str, r: Report) -> list[Tell]:
        """A new state, or a new complaint in the same; its recovery hears of it, too. Pipelines: see board.py."""
        if r.phase == "stopped" or self.kinds[key] == "pipeline":
            return []
        state, error, reason = str(r.phase), r.error, ""
        recovery = self.recoveries.get(key)
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
        if error is not None:
            reason = error.message + self._restarts(key)
        return self.tell(Tell(key, state, reason, error))

    def _restarts(self, key: str) -> str:
        """How often it may still fail, where that has an end."""
        tries = FAULTS[self.kinds[key]].tries
        if tries is None:
            return ""
        failures = self.recoveries[key].failures
        return f"; restart {failures} of {tries}" if failures <= tries else f"; {tries} restarts did not help"

    def given_up(self, key: str, *, ending: bool) -> bool:
        """Whether no further restart is to be tried, where restarts have an end: on the way out none is."""
        tries, recovery = FAULTS[self.kinds[key]].tries, self.recoveries.get(key)
        return tries is not None and recovery is not None and (ending or recovery.failures > tries)

    def tell_afresh(self, unit: str) -> list[Tell]:
        """A unit that failed many times in a row is tried with new memory: once until it is back."""
        if self.recoveries[unit].looping:
            return []
        reason = f"{unit} fails again and again: every {AFRESH}th try is with new memory"
        return self.tell(
            Tell(unit, "faulted", reason, EdgedError(reason, hint=FAULTS[self.kinds[unit]].look_at))
        )

    def tell(self, news: Tell) -> list[Tell]:
        """Unless it was told already. Of what does not run under its own name only faults on its way out are."""
        if not self.runs(news.unit):
            return [news] if news.error is not None and news.unit in self.left else []
        state, complaints = self._told.get(news.unit, ("", set()))
        if state != news.state:
            self._told[news.unit] = (news.state, {news.reason})
            return [news]
        if news.error is None or news.reason in complaints or len(complaints) >= MOST_TOLD:
            return []
        complaints.add(news.reason)
        return [news]

    # What a change does to it.

    def adopt(self, swap: Swap) -> None:
        """What a change brings, under keys of its own."""
        for name, kind in swap.kinds.items():
            key = key_of(name, swap.era)
            self._keys[name, swap.era] = key
            self._enter(key, name, kind, swap.backoffs.get(name))
        self.stopped.update(key_of(name, swap.era) for name in swap.then)  # till they are started

    def started(self, units: Iterable[str]) -> None:
        self.stopped.difference_update(units)

    def commit(self, swap: Swap) -> list[Tell]:
        """What the change brings runs from now on under its own names. Returns what is to be told of units."""
        left, told = [], []
        for name in swap.leaves:
            kind, era = self.kinds[name], self._eras.pop(name)
            left.append(self._move(name, name, era, key_of(name, era)))
            self._told.pop(name, None)
            if name not in swap.kinds and kind != "pipeline":
                told.append(Tell(name, "stopped", "no longer configured"))
        self.left = tuple(left)
        for name, kind in swap.kinds.items():
            self._eras[name] = swap.era
            self._move(key_of(name, swap.era), name, swap.era, name)
            if kind != "pipeline" and self.phases[name] != "starting":
                phase, error = self.phases[name], self.errors.get(name)
                told += self.tell(Tell(name, phase, self.reasons.get(name, ""), error))
        return told

    def forget(self, swap: Swap, but: Iterable[str]) -> None:
        """What left, or what a change brought in vain; those that hang (`but`) are kept until they stop, or to be named
        at the end.
        """
        self.behind.update(but)
        self._drop({*self.left, *(key_of(n, swap.era) for n in swap.kinds)} - {*but})
        self.left = ()

    def gone(self, key: str) -> bool:
        """Whether it was left behind and has stopped at last; then it is forgotten."""
        if key not in self.behind or key not in self.stopped:
            return False
        self.behind.discard(key)
        self._drop({key})
        return True

    def _drop(self, keys: set[str]) -> None:
        for key in keys:
            for table in self._tables():
                table.pop(key, None)
        self.opened -= keys
        self.stopped -= keys
        self._keys = {k: v for k, v in self._keys.items() if v not in keys}

    def _tables(self) -> tuple[dict[str, Any], ...]:
        return self.kinds, self.phases, self.reasons, self.errors, self.recoveries

    def _move(self, old: str, name: str, era: int, new: str) -> str:
        for table in self._tables():
            if old in table:
                table[new] = table.pop(old)
        for group in (self.opened, self.stopped):
            if old in group:
                group.discard(old)
                group.add(new)
        self._keys[name, era] = new
        return new
