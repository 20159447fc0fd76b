"""`edged run` under systemd: tells it five times a second how the daemon is, and passes SIGHUP on."""

from __future__ import annotations

import logging
import time

from edged.daemon import Daemon
from edged.service.notify import Facts, Notifier, status_of

STUCK_S = 8.0  # frames wait and none is done

log = logging.getLogger(__name__)


class Service:
    """Made before the daemon is: MissingPackage where systemd waits for words that cannot be said. Main thread."""

    def __init__(self) -> None:
        self._notifier = Notifier()
        self._progress = Progress()

    def tick(self, daemon: Daemon) -> None:
        if daemon.reload_asked.is_set():
            daemon.reload_asked.clear()
            log.info("asked to read the configuration again")
        not_ready, not_alive = ready(daemon), self._progress.stuck(time.monotonic(), daemon)
        self._notifier.tick(
            Facts(
                not_ready,
                not_alive,
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
