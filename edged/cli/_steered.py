"""A daemon and the desk beside it as one thing: what outsiders steer, and what the desk asks of the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from edged.config.boot import Boot
from edged.config.schema import Config
from edged.daemon import Daemon
from edged.desk import Desk
from edged.errors import ExitCode
from edged.health import Health
from edged.looks import Look
from edged.metrics import Snapshot
from edged.models.model import Model
from edged.steering import ConfigState, RevisionInfo, Verb


class Steered:
    """steering.Steering for the control server, rollout.Runtime for the desk. Any thread.

    `booted`: what the daemon was built from. `tick` is the main thread's; `close` ends the desk.
    """

    def __init__(self, daemon: Daemon, booted: Boot) -> None:
        self._daemon = daemon
        self._started = False
        self.desk = Desk(self, booted, daemon.models)

    def tick(self) -> None:
        """What waits at the desk is tried once there is something that runs."""
        if not self._started and not self._daemon.ready():
            self._started = True
            self.desk.start()

    def close(self) -> None:
        self.desk.close()

    # The daemon's.

    def snapshot(self) -> Snapshot:
        return self._daemon.snapshot()

    def ready(self) -> str:
        return self._daemon.ready()

    def alive(self) -> str:
        return self._daemon.alive()

    def pipeline(self, name: str, verb: Verb) -> Future[str]:
        return self._daemon.pipeline(name, verb)

    def look(self, name: str) -> Look:
        return self._daemon.look(name)

    # The desk's.

    def config(self) -> ConfigState:
        return self.desk.config()

    def history(self) -> tuple[RevisionInfo, ...]:
        return self.desk.history()

    def apply(self, data: Mapping[str, Any], *, base: str | None, by: str) -> Future[ConfigState]:
        return self.desk.apply(data, base=base, by=by)

    def revert(self, revision: int | None, *, by: str) -> Future[ConfigState]:
        return self.desk.revert(revision, by=by)

    def reload(self, *, by: str) -> Future[ConfigState]:
        return self.desk.reload(by=by)

    # The daemon's, for the desk.

    def change(self, config: Config, models: Mapping[str, Model]) -> Future[tuple[str, ...]]:
        return self._daemon.change(config, models)

    def healths(self) -> Mapping[str, Health]:
        return self._daemon.healths()

    def event(self, state: str, reason: str) -> None:
        self._daemon.event("configuration", state, reason)

    def stopping(self) -> bool:
        return self._daemon.stopping

    def stop(self, why: str, code: ExitCode) -> None:
        self._daemon.stop(why, code)
