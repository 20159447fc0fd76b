"""`edged run` under systemd: tells it five times a second how the daemon is, and passes SIGHUP on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from edged.daemon import Daemon
from edged.service.notify import Facts, Notifier, status_of

STUCK_S = 8.0  # frames wait and none is done

log = logging.getLogger(__name__)


def no_reload() -> Future[Any]:
    """Where nobody can change what runs."""
    log.warning("asked to read the configuration again: restart edged instead")
    done: Future[Any] = Future()
    done.set_result(None)
    return done


class Service:
    """Made before the daemon is: MissingPackage where systemd waits for words that cannot be said. Main thread.

    `reload`: applies the configuration's file as it is now; one at a time, and what came of it is logged there.
    """

    def __init__(self, reload: Callable[[], Future[Any]] = no_reload) -> None:
        self._notifier = Notifier()
        self._progress = Progress()
        self._reload, self._reloading = reload, Future[Any]()
        self._reloading.set_result(None)

    def tick(self, daemon: Daemon) -> None:
        if daemon.reload_asked.is_set() and self._reloading.done():
            daemon.reload_asked.clear()
            self._reloading = self._reload()
        not_ready, not_alive = ready(daemon), self._progress.stuck(time.monotonic(), daemon)
        self._notifier.tick(
            Facts(
                not_ready,
                not_alive,
                reloading=not self._reloading.done(),
                stopping=daemon.core.phase in ("draining", "over"),
                status=not_alive or not_ready or status_of(daemon.board.healths),
            )
        )


def ready(daemon: Daemon) -> str:
    """Why it is not ready."""
    if daemon.core.phase == "running":
        return ""
    return f"{daemon.core.phase}: {', '.join(daemon.core.waiting_for)}"


class Progress:
    """When each pipeline last did something with the frames that it was given."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int, float]] = {}  # frames done, offered by then, when

    def stuck(self, now: float, daemon: Daemon) -> str:
        """Which pipeline has frames to look at and does not; "": none."""
        for name, counts in daemon.snapshot().pipelines.items():
            done = counts.inferred + counts.failed
            done_then, offered, since = self._seen.get(name, (-1, 0, now))
            if done != done_then or counts.offered == offered:
                self._seen[name] = (done, counts.offered, now)
            elif now - since > STUCK_S:
                return f"pipeline {name} makes no progress"
        return ""
