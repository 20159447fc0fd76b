"""`edged run` under systemd: tells it five times a second how the daemon is, and passes SIGHUP on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from edged.daemon import Daemon
from edged.service.notify import Facts, Notifier, status_of


class Service:
    """Made before the daemon is: MissingPackage where systemd waits for words that cannot be said. Main thread."""

    def __init__(self) -> None:
        self._notifier = Notifier()
        self._reload: Future[Any] | None = None  # on its way: one at a time

    def tick(self, daemon: Daemon, reload: Callable[[], Future[Any]]) -> None:
        """`reload`: applies the configuration's file as it is now; what comes of it is told there."""
        if self._reload is not None and self._reload.done():
            self._reload = None
        if daemon.reload_asked.is_set() and self._reload is None:
            daemon.reload_asked.clear()
            self._reload = reload()
        not_ready, not_alive = daemon.ready(), daemon.alive()
        self._notifier.tick(
            Facts(
                not_ready,
                not_alive,
                reloading=self._reload is not None,
                stopping=daemon.stopping,
                status=not_alive or not_ready or status_of(daemon.healths()),
            )
        )
