"""How a running daemon is steered: what may be asked of it, and what it answers with.

    control server (HTTP), SIGHUP ──► Steering: apply, revert, reload, pipeline(…) ──► a Future of what came of it

The control server (control/) knows the daemon by this interface alone. Changes of the configuration go through the
desk (desk.py), one after the other; the supervisor alone changes what runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Literal, Protocol

import msgspec

from edged.config.words import suggest
from edged.errors import RequestError as RequestError
from edged.looks import Look
from edged.metrics import Snapshot

Verb = Literal["pause", "resume", "restart"]


class NoSuchThing(RequestError):
    """It names a pipeline or a revision that there is not."""


def no_such_pipeline(name: str, there: Iterable[str]) -> NoSuchThing:
    hint = suggest(name, there, "pipelines") or "there is none"
    return NoSuchThing(f"there is no pipeline '{name}'", hint=hint)


class Stale(RequestError):
    """It was made for a revision (If-Match) that is no longer the current one."""


class Busy(RequestError):
    """Not now: another change is being tried, or the daemon is stopping."""


class ConfigState(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration that is desired now.

    revision: counts up with every accepted change, on this device. etag: names data; what If-Match must say.
    state: "trial" until the pipelines that the change touches are healthy, at most `confirm_left_s` more; then
        "confirmed", or the revision before it is back.
    by: who made it ("file", "uid 1000 (ros)", "revert to 12"). at: ns UTC. touched: pipelines that the change
        added or replaced.
    data: as in the file (TOML's tables as objects), relative paths relative to `base`. file_changed: the file is
        no longer what this revision grew from, and will win at the next start or reload.
    """

    revision: int
    etag: str
    state: Literal["trial", "confirmed"]
    by: str
    at: int
    touched: tuple[str, ...] = ()
    confirm_left_s: float | None = None
    file: str
    file_changed: bool = False
    base: str
    data: Mapping[str, Any]


class RevisionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the history. `outcome`: "confirmed", "trial", or why it was undone."""

    revision: int
    at: int
    by: str
    outcome: str


class Steering(Protocol):
    """Any thread. Futures end with what is said here, or with an EdgedError; nobody need wait for them."""

    def snapshot(self) -> Snapshot:
        """What is observed now."""
        ...

    def ready(self) -> str:
        """Why it is not ready (still loading, stopping); "": each runner is loaded, each pipeline runs or recovers."""
        ...

    def alive(self) -> str:
        """Why it is not alive: which thread makes no progress; "": all do. What the watchdog is fed by."""
        ...

    def pipeline(self, name: str, verb: Verb) -> Future[str]:
        """Pause, resume or restart a pipeline; the Future is its health in words once that is done."""
        ...

    def look(self, name: str) -> Look:
        """A look at the next frame of a pipeline and what comes of it. NoSuchThing: there is no such pipeline."""
        ...

    def config(self) -> ConfigState: ...

    def history(self) -> tuple[RevisionInfo, ...]:
        """Newest first; the last 32."""
        ...

    def apply(self, data: Mapping[str, Any], *, base: str | None, by: str) -> Future[ConfigState]:
        """Replace the whole configuration. `base`: the etag that it was made from; None: whatever is current.

        Done when it runs, as a trial, or is refused: Stale, Busy, ConfigError (every problem), MemoryRefused, …
        """
        ...

    def revert(self, revision: int | None, *, by: str) -> Future[ConfigState]:
        """Make an earlier revision the desired one again; None: the one confirmed before the current.

        During a trial only the one before it: the trial is undone now, and the Future done when it is.
        """
        ...

    def reload(self, *, by: str) -> Future[ConfigState]:
        """Apply the file as it is now (SIGHUP, systemctl reload)."""
        ...
