"""A unit: a thread that opens its own things, waits to be let go, works, and says how it went.

Life, as the supervisor sees it through reports:

    start() ─► prepare ─► "prepared" ─► go() ─► work, "running" ─► "ended"
       ┌─►        └──────────── fault ───────────┴─► "faulted" (its error)       always last: "stopped"
       └──────────── again() ◄── let_go ◄─────────────┘   if it `recovers`

Only the unit's thread opens and closes; others call `start`, `go`, `again` and `stop`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Literal

from edged.errors import EdgedError, FatalDeviceError, forget_frames
from edged.interfaces import Device
from edged.memory import Region, Want

Phase = Literal["prepared", "running", "ended", "faulted", "stopped", "served"]
Plan = Mapping[str, Sequence[Want]]  # by the owner's name: a region each
Demand = Mapping[str, tuple[Device, Sequence[Want]]]  # the same, with where it is to be
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """A unit's change of phase; `error` is set when it faulted.

    "served" is none: a source serves what `change` wants. `era`: the change that the unit came with; 0: boot.
    """

    unit: str
    phase: Phase
    error: EdgedError | None = None
    era: int = 0
    change: int = 0


def die(unit: str, e: FatalDeviceError) -> None:
    """One line for the journal, then the end, without closing anything; systemd starts a new process."""
    log.critical("%s: %s", unit, e)
    logging.shutdown()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(e.exit_code)


def defect(where: str, e: BaseException) -> EdgedError:
    """What is no error of edged's own, as one."""
    return EdgedError(
        f"{where}: unexpected {type(e).__name__}: {e}",
        hint="this is a defect in edged; please report it with the lines above",
    )


class Unit(ABC):
    """Base of SourceUnit and Runner. Subclasses fill in the steps, all run in the unit's thread.

    `call`: what its thread is doing that may never return, and since when (CLOCK_MONOTONIC, ns); None: nothing such.
    """

    def __init__(self, name: str, post: Callable[[Report], None]) -> None:
        self.name = name
        self.error: EdgedError | None = None  # why it failed; read by `release`, and by others once stopped
        self.regions: dict[str, Region] = {}  # what it allocated; figures stay readable once closed
        self.call: tuple[str, int] | None = None
        self._post = post
        self._go = threading.Event()
        self._again = threading.Event()
        self._afresh = False
        self._defect = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    @abstractmethod
    def prepare(self) -> None:
        """Open or load; learn what memory is wanted. May be slow."""

    @abstractmethod
    def plan(self) -> Plan:
        """What `work` will allocate. In any thread, once prepared."""

    def device_of(self, owner: str) -> Device:
        """Where the region of this owner of the plan will be."""
        raise NotImplementedError

    def demand(self) -> Demand:
        """The plan, with the device of each region."""
        return {owner: (self.device_of(owner), wants) for owner, wants in self.plan().items()}

    @abstractmethod
    def work(self) -> None:
        """Allocate what was planned, say "running" (`say_running`) once it does, and work until done or `stopping`."""

    @property
    def recovers(self) -> bool:
        """Whether a fault is followed by another try instead of the end."""
        return False

    def devices(self) -> Sequence[Device]:
        """Those that a fault of the unit may come from."""
        return ()

    def let_go(self) -> None:
        """After a fault that is not the end: close what failed. Memory may stay."""
        raise NotImplementedError

    def current(self) -> AbstractContextManager[None]:
        """Entered by the unit's thread for all of its life: its device."""
        return nullcontext()

    @abstractmethod
    def release(self) -> None:
        """Close everything; legal after any step failed (then `error` says why)."""

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def start(self) -> None:
        self._thread.start()

    def go(self) -> None:
        """Memory is admitted: work."""
        self._go.set()

    def again(self, *, afresh: bool = False) -> None:
        """Prepare once more after a fault. `afresh`: with new memory."""
        self._afresh = afresh
        self._again.set()

    def stop(self) -> None:
        """Ask the unit to end; it reports "stopped" when it has."""
        self._stop.set()
        self._go.set()
        self._again.set()

    def join(self, timeout_s: float) -> bool:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # For subclasses, in the unit's thread.

    @contextmanager
    def calling(self, what: str) -> Iterator[None]:
        """Note what is being done, for whoever judges whether it hangs: a key of liveness.CALL_S."""
        before, self.call = self.call, (what, time.monotonic_ns())
        try:
            yield
        finally:
            self.call = before

    def say_running(self) -> None:
        self._post(Report(self.name, "running"))

    def allocate(self, plan: Plan, *, keep: bool = False) -> dict[str, Region]:
        """A region for every owner of `plan` that has none open: those are returned.

        MemoryRefused: none is left; with `keep` those of before are.
        """
        made = {}
        try:
            for owner, wants in plan.items():
                if owner not in self.regions or not self.regions[owner].is_open:
                    made[owner] = self.device_of(owner).region(owner, wants)
                    self.regions = {**self.regions, owner: made[owner]}  # others may be reading the old table
        except BaseException:
            for region in (made if keep else self.regions).values():
                region.close()
            raise
        return made

    def forget(self, owner: str) -> None:
        """Close the region of an owner that is gone for good; its figures go, too."""
        region = self.regions.get(owner)
        if region is not None:
            region.close()
            self.regions = {o: r for o, r in self.regions.items() if o != owner}

    def renew(self) -> None:
        """Before a try with new memory."""
        self.free()

    def free(self) -> None:
        """Close all regions."""
        for region in self.regions.values():
            region.close()

    def _main(self) -> None:
        try:
            with self.current():
                self._live()
        except BaseException as e:  # there is no such device
            self._fault(e)
        self._post(Report(self.name, "stopped"))

    def _live(self) -> None:
        while not self._tried() and self.recovers and self._rested():
            pass
        try:
            self.release()
        except BaseException as e:
            self._fault(e)

    def _tried(self) -> bool:
        """From opening to the end of work; False: it failed on the way."""
        try:
            self.prepare()
            if self.stopping:  # it may have given up
                return True
            self._post(Report(self.name, "prepared"))
            self._go.wait()
            if not self.stopping:
                self.work()
                self._post(Report(self.name, "ended"))
        except BaseException as e:  # a thread keeps its failure for its owner, whatever it is
            self._fault(e)
            return False
        return True

    def _rested(self) -> bool:
        """Let go of what failed and wait for `again`; False: it is to stop instead."""
        for step in (self.let_go, self._await_again):  # what fails in the first must not cost the wait
            try:
                step()
            except BaseException as e:
                self._fault(e)
        self._go.clear()
        if self.stopping:  # `stop` sets this first: a wish to stop is never cleared away unseen
            return False
        self.error = None
        return True

    def _await_again(self) -> None:
        self._again.wait()
        self._again.clear()
        if self._afresh:
            self.renew()

    def _fault(self, e: BaseException) -> None:
        if not isinstance(e, EdgedError):
            if repr(e) != self._defect:  # one that comes again and again is shown once
                self._defect = repr(e)
                log.error("%s: a defect in edged", self.name, exc_info=e)
            e = defect(self.name, e)
        self._survive(e)
        forget_frames(e)  # the daemon keeps many
        self.error = self.error or e
        self._post(Report(self.name, "faulted", e))

    def _survive(self, e: EdgedError) -> None:
        """End the process here if a device is lost: what closes things would fail as well, or hang."""
        try:
            for device in self.devices():
                device.check()
        except FatalDeviceError as lost:
            e = lost if not isinstance(e, FatalDeviceError) else e
        if isinstance(e, FatalDeviceError):
            die(self.name, e)
