"""`edged run` under systemd: tells it five times a second how the daemon is, and passes SIGHUP on."""

from __future__ import annotations

from concurrent.futures import Future

from edged.cli._steered import Steered
from edged.daemon import Daemon
from edged.service.notify import Facts, Notifier, status_of
from edged.steering import ConfigState


class Service:
    """Made before the daemon is: MissingPackage where systemd waits for words that cannot be said. Main thread."""

    def __init__(self) -> None:
        self._notifier = Notifier()
        self._reload: Future[ConfigState] | None = None

    def tick(self, daemon: Daemon, steered: Steered) -> None:
        if daemon.reload_asked.is_set():
            daemon.reload_asked.clear()
            self._reload = steered.reload(by="SIGHUP")  # what comes of it is an event
        not_ready, not_alive = daemon.ready(), daemon.alive()
        self._notifier.tick(
            Facts(
                not_ready,
                not_alive,
                reloading=self._reload is not None and not self._reload.done(),
                stopping=steered.stopping(),
                status=not_alive or not_ready or status_of(daemon.healths()),
            )
        )
