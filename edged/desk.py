"""The desk: where changes of the configuration are handed in, one at a time, and what is said of them.

    any thread: apply, revert, reload ──► one job ──► the desk's thread: rollout.py

The desk never waits for more than one job: while one is applied or tried, all others are Busy, but for one that wants
back to what was before the trial.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from edged.config.boot import Boot
from edged.config.load import base_of, read
from edged.config.patch import redact
from edged.errors import ConfigError, EdgedError, ExitCode, encodable
from edged.models.model import Model
from edged.rollout import LOOK_S, Ended, Rollout, Runtime, Wanted, one_line
from edged.steering import Busy, ConfigState, RevisionInfo

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Job:
    """wanted: called in the desk's thread. loud: nobody may wait for the future, so that a refusal is an event."""

    wanted: Callable[[], Wanted]
    base: str | None = None
    loud: bool = False
    done: Future[ConfigState] = field(default_factory=Future)


@dataclass(slots=True)
class _Early:
    """Who wants a trial undone before it is over: back to revision `back`."""

    by: str
    back: int
    done: Future[ConfigState] = field(default_factory=Future)


class Desk:
    """The configuration part of steering.Steering. All methods: any thread.

    Build it beside the daemon that runs `booted.config` with `models`, and `start` it once that takes changes. It has
    one thread. `clock` is CLOCK_MONOTONIC; `pause(s)` waits, and says whether the desk is to end.
    """

    def __init__(
        self,
        runtime: Runtime,
        booted: Boot,
        models: Mapping[str, Model],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        self._closing = threading.Event()
        self._pause = pause or self._closing.wait
        self._rollout = Rollout(runtime, booted, models, clock, self._pause)
        self._runtime, self._booted, self._clock = runtime, booted, clock
        self._jobs: queue.Queue[_Job | None] = queue.Queue()  # at most one job, and the end
        self._lock = threading.Lock()
        self._busy = False
        self._early: _Early | None = None  # guarded by the lock
        self._seen: tuple[tuple[int, int, int], str] | None = None  # how the file looked, and its hash
        self._thread = threading.Thread(target=self._main, name="desk", daemon=True)

    def start(self) -> None:
        """Tell what start has decided, and take changes."""
        for note in self._booted.notes:
            self._rollout.say(note.state, note.reason, logging.WARNING)
        self._thread.start()

    def close(self, timeout_s: float = 1.0) -> None:
        """End. A trial stays one on disk, and is undone at the next start; what waits is Busy. Idempotent."""
        with self._lock:
            self._closing.set()
        self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            while not self._jobs.empty():
                self._fail(self._jobs.get(), _stopping())
            self._booted.revisions.close()

    def config(self) -> ConfigState:
        """Secrets are ***; `apply` puts the stored ones back."""
        public = self._rollout.public
        entry = public.ledger.tried or public.ledger.now
        return ConfigState(
            revision=entry.number,
            etag=entry.etag,
            state="confirmed" if public.ledger.trial is None else "trial",
            by=entry.by,
            at=entry.at,
            touched=public.touched,
            confirm_left_s=None if public.trial is None else public.trial.left_s(self._clock()),
            file=encodable(os.path.abspath(self._booted.file)),
            file_changed=self._file_hash() != entry.grew_from,
            base=encodable(str(base_of(self._booted.file))),
            data=redact(public.data),
        )

    def history(self) -> tuple[RevisionInfo, ...]:
        """Newest first."""
        entries = reversed(self._rollout.public.ledger.entries)
        return tuple(RevisionInfo(revision=e.number, at=e.at, by=e.by, outcome=e.outcome) for e in entries)

    def apply(self, data: Mapping[str, Any], *, base: str | None, by: str) -> Future[ConfigState]:
        """See steering.Steering. A value that still is as `config` shows it keeps its secrets."""
        return self._submit(_Job(lambda: self._rollout.edited(data, by), base))

    def revert(self, revision: int | None, *, by: str) -> Future[ConfigState]:
        """See steering.Steering. Back to what was before a trial undoes it now."""
        with self._lock:
            public = self._rollout.public
            back = public.trial is not None and revision in (None, public.ledger.current)
            if back and self._busy and self._early is None and not self._closing.is_set():
                self._early = _Early(by, public.ledger.current)
                return self._early.done
        return self._submit(_Job(lambda: self._rollout.earlier(revision, by)))

    def reload(self, *, by: str) -> Future[ConfigState]:
        """The file as it is now, also where nothing can be kept: a file lasts by itself."""
        return self._submit(_Job(lambda: self._rollout.file_now(by), loud=True))

    def _submit(self, job: _Job) -> Future[ConfigState]:
        with self._lock:
            refusal = self._refusal()
            if refusal is None:
                self._busy = True
                self._jobs.put(job)
        if refusal is not None:
            self._refused(job, refusal)
        return job.done

    def _refusal(self) -> Busy | None:
        if self._closing.is_set():
            return _stopping()
        if not self._busy:
            return None
        public = self._rollout.public
        if public.trial is None:
            return Busy("another change is being applied", hint="try again when it runs")
        left_s = public.trial.left_s(self._clock())
        tried = f"revision {public.ledger.trial} is being tried"
        return Busy(
            f"{tried}; it is confirmed or undone in at most {left_s:.0f} s",
            hint="try again then, or undo it now: edged config revert",
        )

    def _refused(self, job: _Job, e: EdgedError) -> None:
        if job.loud:
            self._rollout.say("refused", one_line(e), logging.WARNING)
        job.done.set_exception(e)

    def _file_hash(self) -> str:
        """Of the file as it is now; "": it cannot be read. Read again only when it looks changed."""
        try:
            found = os.stat(self._booted.file)
            looks = (found.st_ino, found.st_mtime_ns, found.st_size)
            seen = self._seen
            if seen is None or seen[0] != looks:
                self._seen = seen = looks, read(self._booted.file).sha256
            return seen[1]
        except (OSError, ConfigError):
            return ""

    def _main(self) -> None:
        job: _Job | None = None
        try:
            while (job := self._jobs.get()) is not None:
                self._carry_out(job)
        except Ended:
            self._fail(job, _stopping())
        except Exception as e:  # what runs may not be what was confirmed: only a new process knows
            log.exception("a change of the configuration came to no end")
            self._fail(
                job, EdgedError(f"edged starts again: {one_line(e)}", hint="this is a defect: report it")
            )
            self._rollout.say("faulted", one_line(e), logging.ERROR)
            self._runtime.stop("a change of the configuration came to no end", ExitCode.INTERNAL)

    def _carry_out(self, job: _Job) -> None:
        """The desk is free once, before the future is done: who has waited for it may go on at once."""
        if not job.done.set_running_or_notify_cancel():
            self._free()
            return
        try:
            self._rollout.begin(job.wanted, job.base)
        except EdgedError as e:
            self._free()
            self._refused(job, e)
            return
        if not self._rollout.is_trying():
            self._free()
            job.done.set_result(self.config())
            return
        job.done.set_result(self.config())
        while self._rollout.is_trying():
            if self._pause(LOOK_S):
                raise Ended
            if self._early is None:
                self._rollout.look()
            else:
                self._rollout.undo(f"asked for, {self._early.by}")
        self._free()

    def _free(self) -> None:
        with self._lock:
            self._busy = False
            early, self._early = self._early, None
        if early is None or not early.done.set_running_or_notify_cancel():
            return
        if self._rollout.public.ledger.current == early.back:
            early.done.set_result(self.config())
        else:
            message = "the revision that was tried was confirmed just before"
            early.done.set_exception(Busy(message, hint="edged config revert goes back now"))

    def _fail(self, job: _Job | None, e: EdgedError) -> None:
        with self._lock:
            self._closing.set()
            early, self._early = self._early, None
        for waits in (job, early):
            if waits is not None and not waits.done.done():
                waits.done.set_exception(e)


def _stopping() -> Busy:
    return Busy("edged is stopping", hint="look at the configuration once it has started, and try again")
