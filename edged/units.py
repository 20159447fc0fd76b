"""A unit: a thread that opens its own things, waits to be let go, works, and says how it went.

Life, as the supervisor sees it through reports:

    start() ─► prepare ─► "prepared" ─► go() ─► "running" ─► "ended"
                  └──────────── fault ───────────┴─► "faulted" (its error)       always last: "stopped"

Only the unit's thread opens and closes; others call `start`, `go` and `stop`.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edged.errors import EdgedError
from edged.memory import Region

Phase = Literal["prepared", "running", "ended", "faulted", "stopped"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """A unit's change of phase; `error` is set when it faulted."""

    unit: str
    phase: Phase
    error: EdgedError | None = None


class Unit(ABC):
    """Base of SourceUnit and Runner. Subclasses fill in three steps, all run in the unit's thread."""

    def __init__(self, name: str, post: Callable[[Report], None]) -> None:
        self.name = name
        self.error: EdgedError | None = None  # why it failed; read by `release`, and by others once stopped
        self.region: Region | None = None  # what it allocated; its figures stay readable once closed
        self._post = post
        self._go = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    @abstractmethod
    def prepare(self) -> None:
        """Open or load; learn what memory is wanted. May be slow."""

    @abstractmethod
    def work(self) -> None:
        """Allocate what was admitted, then work until done or `stopping`."""

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

    def stop(self) -> None:
        """Ask the unit to end; it reports "stopped" when it has."""
        self._stop.set()
        self._go.set()

    def join(self, timeout_s: float) -> bool:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _main(self) -> None:
        try:
            self.prepare()
            self._post(Report(self.name, "prepared"))
            self._go.wait()
            if not self.stopping:
                self._post(Report(self.name, "running"))
                self.work()
                self._post(Report(self.name, "ended"))
        except BaseException as e:  # a thread keeps its failure for its owner, whatever it is
            self._fault(e)
        try:
            self.release()
        except BaseException as e:
            self._fault(e)
        self._post(Report(self.name, "stopped"))

    def _fault(self, e: BaseException) -> None:
        if not isinstance(e, EdgedError):
            log.error("%s: a defect in edged", self.name, exc_info=e)
            e = EdgedError(
                f"{self.name}: unexpected {type(e).__name__}: {e}",
                hint="this is a defect in edged; please report it with the lines above",
            )
        self.error = self.error or e
        self._post(Report(self.name, "faulted", e))
