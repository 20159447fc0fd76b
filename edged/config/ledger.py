"""Which revision of the configuration is the desired one: pure values and decisions. No clock, no I/O.

    file at first start ─► revision 1, confirmed
    a change            ─► staged: a trial ──all well──► confirmed: the current one
                                       └──anything else──► discarded, with why; the current one stays

At start nothing is on trial any more: `choose` says what runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec.structs import replace

KEPT = 32  # revisions in the history
CONFIRMED, TRIAL = "confirmed", "trial"
UNDONE, REFUSED = (
    "undone: ",
    "refused: ",
)  # how the outcome of a trial begins that ran, and of one that did not
FILE: Literal["file"] = "file"  # who made a revision that is the file as it was


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One revision. `etag` names its data; `grew_from` is the sha256 of the file that it is, or that it changed.

    at: ns UTC. outcome: "confirmed", "trial", or UNDONE or REFUSED with the reason.
    """

    number: int
    at: int
    by: str
    etag: str
    grew_from: str
    outcome: str = CONFIRMED


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The history, oldest first. `current` is confirmed; `trial` is being tried, and confirmed or discarded next."""

    current: int
    trial: int | None = None
    entries: tuple[Entry, ...]

    def entry(self, number: int) -> Entry | None:
        return next((e for e in self.entries if e.number == number), None)

    @property
    def now(self) -> Entry:
        """What is confirmed."""
        return self._of(self.current)

    @property
    def tried(self) -> Entry | None:
        return None if self.trial is None else self._of(self.trial)

    @property
    def next(self) -> int:
        """The number of the next revision: numbers are used once."""
        return max(e.number for e in self.entries) + 1

    @property
    def before(self) -> Entry | None:
        """What was confirmed before the current one."""
        older = (e for e in self.entries if e.number < self.current and e.outcome == CONFIRMED)
        return max(older, key=lambda e: e.number, default=None)

    def staged(self, entry: Entry) -> Ledger:
        """With a trial; of the history the newest KEPT stay, the current one always."""
        entries = [*self.entries, replace(entry, outcome=TRIAL)]
        surplus = [e for e in entries if e.number not in (self.current, entry.number)]
        dropped = {e.number for e in surplus[: max(0, len(entries) - KEPT)]}
        kept = tuple(e for e in entries if e.number not in dropped)
        return Ledger(current=self.current, trial=entry.number, entries=kept)

    def confirmed(self) -> Ledger:
        """The trial is the current one."""
        assert self.trial is not None
        return replace(self._ended(CONFIRMED), current=self.trial)

    def discarded(self, outcome: str) -> Ledger:
        """The current one stays."""
        return self._ended(outcome)

    def grown_from(self, sha256: str) -> Ledger:
        """The file that says the same as the current revision is another one now."""
        return self._with(replace(self.now, grew_from=sha256))

    def _ended(self, outcome: str) -> Ledger:
        assert self.trial is not None
        return replace(self._with(replace(self._of(self.trial), outcome=outcome)), trial=None)

    def _with(self, entry: Entry) -> Ledger:
        return replace(self, entries=tuple(entry if e.number == entry.number else e for e in self.entries))

    def _of(self, number: int) -> Entry:
        found = self.entry(number)
        assert found is not None, f"revision {number} is not in the history"
        return found


def is_whole(ledger: Ledger) -> bool:
    """Whether it can be believed: what it names is there, numbers rise, and only its trial is one."""
    numbers = [e.number for e in ledger.entries]
    trials = [e.number for e in ledger.entries if e.outcome == TRIAL]
    now = ledger.entry(ledger.current)
    return (
        numbers == sorted(set(numbers))
        and now is not None
        and now.outcome == CONFIRMED
        and trials == ([] if ledger.trial is None else [ledger.trial])
    )


@dataclass(frozen=True, slots=True)
class FileNow:
    """The file at start. `problem`: why it cannot be used; "": it can. `at`: ns UTC, now."""

    sha256: str
    etag: str
    at: int
    problem: str = ""


State = Literal["undone", "file", "revision"]


@dataclass(frozen=True, slots=True)
class Note:
    """An event: a trial was undone, the file runs though a revision was there, or a revision though the file was."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What runs: the file, or the data of ledger.current. `ledger` is what is to be kept."""

    run: Literal["file", "revision"]
    ledger: Ledger
    notes: tuple[Note, ...] = ()


def first(file: FileNow, number: int = 1) -> Choice:
    """No revision is known: the file runs."""
    entry = Entry(number=number, at=file.at, by=FILE, etag=file.etag, grew_from=file.sha256)
    return Choice(FILE, Ledger(current=number, entries=(entry,)))


def choose(ledger: Ledger, file: FileNow) -> Choice:
    """What runs at start, of what was kept and the file as it is now."""
    notes: list[Note] = []
    if ledger.trial is not None:
        why = "the process ended before it was confirmed"
        notes.append(Note("undone", f"revision {ledger.trial}: {why}"))
        ledger = ledger.discarded(UNDONE + why)
    now = ledger.now
    kept = f"revision {now.number} (by {now.by}) runs"
    if file.problem:
        notes.append(Note("revision", f"the file cannot be used, so {kept}: {file.problem}"))
        return Choice("revision", ledger, tuple(notes))
    if file.etag == now.etag:  # at most its comments changed
        same = ledger if file.sha256 == now.grew_from else ledger.grown_from(file.sha256)
        return Choice(FILE, same, tuple(notes))
    if file.sha256 == now.grew_from:
        return Choice("revision", ledger, tuple(notes))
    failed = _undone(ledger, file)
    if failed is not None:
        why = f"the file is as it was in revision {failed.number}, which was {failed.outcome}"
        notes.append(Note("revision", f"{why}; {kept}: change the file, or reload it to try it again"))
        return Choice("revision", ledger, tuple(notes))
    chosen = file_instead(ledger, file, f"it has changed since revision {now.number} (by {now.by})")
    return Choice(FILE, chosen.ledger, (*notes, *chosen.notes))


def _undone(ledger: Ledger, file: FileNow) -> Entry | None:
    """The trial of just this file that came after the current revision, and ran badly.

    One that was refused did not run: a daemon that starts with it may well take it ([runtime] changes only then).
    """
    later = (e for e in ledger.entries if e.number > ledger.current and e.grew_from == file.sha256)
    return next((e for e in later if e.outcome.startswith(UNDONE)), None)


def file_instead(ledger: Ledger, file: FileNow, why: str) -> Choice:
    """The file runs as a new revision, though there is a confirmed one."""
    number = ledger.next
    entry = Entry(number=number, at=file.at, by=FILE, etag=file.etag, grew_from=file.sha256)
    note = Note("file", f"the file runs, as revision {number}: {why}")
    return Choice(FILE, ledger.staged(entry).confirmed(), (note,))
