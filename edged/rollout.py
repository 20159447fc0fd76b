"""Rollout of the configuration, one after the other: checked, kept, run, and confirmed or undone.

    begin: check ──► keep as trial ──► Runtime.change ──► look: trial.judge ──► confirmed
                 │               │                │              └────────────► undone: changed back
                 └───────────────┴── refused ─────┘

A refusal leaves all as it was. If the process ends at any moment, the next start runs what was confirmed last
(config/boot.py). One thread calls all of this: the desk's (desk.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from edged.config.boot import Boot
from edged.config.ledger import FILE, REFUSED, UNDONE, Entry, Ledger
from edged.config.load import MAX_BYTES, base_of, from_data, parse, read
from edged.config.machine import inspect_machine
from edged.config.patch import canonical, diff, etag, plain, restore
from edged.config.schema import Config
from edged.errors import ConfigError, EdgedError, ExitCode, Problem, defect
from edged.health import Health
from edged.models.model import Model
from edged.steering import Busy, NoSuchThing, Stale
from edged.trial import Trial, judge

LOOK_S = 0.1  # between two looks at a trial
CHANGE_S = 600.0  # a change that takes longer hangs: a large engine loads in a minute or two
MOST_SHOWN = 8  # differences in a line of the log
LABEL = "the new configuration"
T = TypeVar("T")

log = logging.getLogger(__name__)


class Runtime(Protocol):
    """What is asked of the daemon. Any thread."""

    def change(self, config: Config, models: Mapping[str, Model]) -> Future[tuple[str, ...]]:
        """Run this from now on. The pipelines that were added or replaced; an EdgedError: all is as it was."""
        ...

    def healths(self) -> Mapping[str, Health]:
        """Of each pipeline; `since_s` is CLOCK_MONOTONIC."""
        ...

    def stopping(self) -> bool:
        """Whether the process is about to end, by whatever: pipelines that stop have not ended well then."""
        ...

    def event(self, state: str, reason: str) -> None:
        """News of the unit "configuration"."""
        ...

    def stop(self, why: str, code: ExitCode) -> None:
        """End the process with this status, so that it is started again with what was confirmed."""
        ...


class Ended(Exception):
    """The process ends while a change is under way: the next start settles it."""


class Lost(Exception):
    """What runs is not known any more: only a new process gets over that."""


@dataclass(frozen=True, slots=True)
class Running:
    """A configuration that can be run, in all its forms."""

    config: Config
    data: Mapping[str, Any]
    models: Mapping[str, Model]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to run. grew_from: the sha256 of the file, where it is the file. label: who it is in errors."""

    data: dict[str, Any]
    by: str
    grew_from: str | None = None
    label: str = LABEL


@dataclass(frozen=True, slots=True)
class Public:
    """What other threads see, replaced as a whole. `data`, `touched`: of the trial, or else the current revision."""

    ledger: Ledger
    data: Mapping[str, Any]
    touched: tuple[str, ...] = ()
    trial: Trial | None = None


class Rollout:
    """`pause(s)` waits, and says whether the desk is to end. `public` may be read by any thread."""

    def __init__(
        self,
        runtime: Runtime,
        booted: Boot,
        models: Mapping[str, Model],
        clock: Callable[[], float],
        pause: Callable[[float], bool],
    ) -> None:
        self._runtime, self._clock, self._pause = runtime, clock, pause
        self._file, self._revisions = booted.file, booted.revisions
        self._confirmed = Running(booted.config, booted.data, models)
        self._candidate: Running | None = None
        self.public = Public(self._ledger, booted.data)

    @property
    def _ledger(self) -> Ledger:
        ledger = self._revisions.ledger
        assert ledger is not None, "config.boot.boot() made these revisions"
        return ledger

    # What may be wanted.

    def edited(self, data: Mapping[str, Any], by: str) -> Wanted:
        """Data from outside; what still is as it was shown keeps its secrets."""
        whole = restore(plain(data, LABEL), self._confirmed.data)
        if len(canonical(whole)) > MAX_BYTES:
            raise ConfigError(
                LABEL, [Problem("", f"is larger than {MAX_BYTES >> 20} MiB", "leave things out")]
            )
        return Wanted(whole, by)

    def earlier(self, revision: int | None, by: str) -> Wanted:
        entry = self._ledger.before if revision is None else self._ledger.entry(revision)
        if entry is None:
            what = "revision before the current one" if revision is None else f"revision {revision}"
            raise NoSuchThing(f"there is no {what}", hint="edged config history lists the last 32")
        return Wanted(self._revisions.data(entry.number), f"revert to {entry.number}, {by}")

    def file_now(self, by: str) -> Wanted:
        text = read(self._file)
        data = plain(parse(text.text, self._file), self._file)
        return Wanted(data, f"{FILE}, {by}", text.sha256, self._file)

    # What comes of it.

    def begin(self, wanted: Callable[[], Wanted], base: str | None) -> None:
        """Run it, as a trial if it touches pipelines. EdgedError: refused.

        base: the etag that it was made from, if it matters.
        """
        current = self._ledger.now
        if base is not None and base != current.etag:
            message = (
                f"it was made for another revision: now it is revision {current.number}, etag {current.etag}"
            )
            raise Stale(message, hint="get the configuration again, and repeat the change on that")
        want = _sound(wanted)
        tag = etag(want.data)
        same = tag == current.etag
        if same and want.grew_from not in (None, current.grew_from):
            self._revisions.regrow(str(want.grew_from))
            self._show(self._confirmed.data, self.public.touched)
        # a file that is read again names models, which may be others by now
        known = same and want.grew_from is None
        candidate = self._confirmed if known else _sound(lambda: self._checked(want))
        if same and candidate.models == self._confirmed.models:
            log.info("%s is the same as revision %d: nothing changes", want.label, current.number)
            return
        entry = Entry(
            number=self._ledger.next,
            at=time.time_ns(),
            by=want.by,
            etag=tag,
            grew_from=want.grew_from or current.grew_from,
        )
        self._revisions.stage(entry, want.data, must_last=want.grew_from is None)
        self._try(candidate, entry.number)

    def _checked(self, want: Wanted) -> Running:
        """All that can be known beforehand."""
        config = from_data(want.data, file=want.label, base=base_of(self._file))
        found = inspect_machine(config)
        if found.problems:
            raise ConfigError(want.label, found.problems)
        for warning in (*config.warnings, *found.warnings):
            log.warning("%s: warning: %s", want.label, warning)
        return Running(msgspec.structs.replace(config, file=self._file), want.data, found.models)

    def _try(self, candidate: Running, number: int) -> None:
        changes = [str(c) for c in diff(self._confirmed.data, candidate.data)]
        more = [f"{len(changes) - MOST_SHOWN} more"] if len(changes) > MOST_SHOWN else []
        log.info("revision %d: %s", number, "; ".join([*changes[:MOST_SHOWN], *more]))
        before = dict(self._runtime.healths())
        try:
            touched = self._run(candidate)
        except EdgedError as e:
            self._revisions.discard(REFUSED + one_line(e))
            self._show(self._confirmed.data, self.public.touched)
            raise
        confirm_s = candidate.config.control.confirm_s
        self._candidate = candidate
        self._show(candidate.data, touched, Trial(touched, self._clock(), confirm_s, before))
        if touched:
            which = f"revision {number} runs and touches {', '.join(touched)}"
            self.say("trial", f"{which}: confirmed within {confirm_s:g} s, or undone")
        elif (undone := self.look()) is not None:
            raise undone

    def _run(self, wanted: Running) -> tuple[str, ...]:
        done = self._runtime.change(wanted.config, wanted.models)
        deadline = self._clock() + CHANGE_S
        while not done.done():
            if self._pause(LOOK_S):
                raise Ended
            if self._clock() > deadline:
                raise Lost(f"a change was not made within {CHANGE_S:g} s, and not refused")
        if self._runtime.stopping() and (done.cancelled() or done.exception() is not None):
            raise Ended
        if done.cancelled():
            raise Busy("the daemon has not made the change", hint="try again")
        return done.result()

    def is_trying(self) -> bool:
        """Whether there is a trial, which is to be looked at."""
        return self.public.trial is not None

    def look(self) -> EdgedError | None:
        """Judge the trial as it is now. Why it was undone, if it was."""
        trial, candidate = self.public.trial, self._candidate
        assert trial is not None and candidate is not None, "there is no trial"  # noqa: PT018
        healths = self._runtime.healths()
        if self._runtime.stopping():  # asked after they were read
            raise Ended
        verdict, why = judge(trial, self._clock(), healths)
        undone = EdgedError(why) if verdict == "undo" else None
        if verdict == "confirm":
            try:
                self._revisions.confirm()
            except EdgedError as e:  # what could not last must not go on: the next start would not know it
                undone = e
            else:
                self._settle(candidate, trial.touched)
                self.say("confirmed", f"revision {self._ledger.current}{why and ', though '}{why}")
        if undone is not None:
            self.undo(one_line(undone))
        return undone

    def undo(self, why: str) -> None:
        """Change back. On disk it is a trial until then, so that a process that ends meanwhile tells of it, too."""
        number, back = self._ledger.trial, self._ledger.current
        try:
            touched = self._run(self._confirmed)
        except Ended:
            raise
        except Exception as e:
            self._revisions.discard(UNDONE + why)
            self.say("undone", f"revision {number}: {why}", logging.WARNING)
            what = f"back to revision {back} leads only a new process: {one_line(e)}"
            self.say("faulted", what, logging.ERROR)
            code = e.exit_code if isinstance(e, EdgedError) else ExitCode.INTERNAL
            self._runtime.stop("a change could not be undone", code)
            raise Ended from e
        self._revisions.discard(UNDONE + why)
        self._settle(self._confirmed, touched)
        self.say("undone", f"revision {number}: {why}; back to {back}", logging.WARNING)

    def _settle(self, running: Running, touched: tuple[str, ...]) -> None:
        self._confirmed, self._candidate = running, None
        self._show(running.data, touched)

    def _show(self, data: Mapping[str, Any], touched: tuple[str, ...], trial: Trial | None = None) -> None:
        self.public = Public(self._ledger, data, touched, trial)

    def say(self, state: str, reason: str, level: int = logging.INFO) -> None:
        """To those who listen to events, and to the log."""
        log.log(level, "configuration: %s: %s", state, reason)
        self._runtime.event(state, reason)


def _sound(prepare: Callable[[], T]) -> T:
    """Before anything is kept or run, a defect is a refusal like others."""
    try:
        return prepare()
    except EdgedError:
        raise
    except Exception as e:
        log.exception("a change of the configuration cannot be checked: a defect in edged")
        raise defect(e) from e


def one_line(e: BaseException) -> str:
    """An error as the reason of an event; without the remedy, which is for who asked."""
    return "; ".join((e.message if isinstance(e, EdgedError) else str(e) or repr(e)).splitlines())
