"""One run of a configuration: its devices, its parts and what is known of them, as any thread may see it."""

from __future__ import annotations

import logging
import queue
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from edged.assembly import Builder, Makers
from edged.config.machine import inspect_machine
from edged.config.schema import Config
from edged.devices.choose import choose_device, open_devices
from edged.errors import ConfigError, EdgedError, ExitCode
from edged.happenings import Asked, Happening
from edged.health import Health
from edged.liveness import not_alive, not_ready, stuck_loop
from edged.looks import Look
from edged.memory import Budget, available_bytes
from edged.messages import Event, Identity
from edged.metrics import Snapshot
from edged.models.model import Model
from edged.models.state import plan_store
from edged.observed import observe
from edged.orders import Order, Orders
from edged.pipeline import Pipeline
from edged.runner import Runner
from edged.sensors.thread import Sensors
from edged.sinks.worker import SinkWorker
from edged.sources.unit import SourceUnit
from edged.standing import Standing
from edged.steering import no_such_pipeline
from edged.supervisor import Core
from edged.telling import Telling
from edged.thinning import Thinner
from edged.units import Unit

INBOX = 1024  # reports; a unit posts a handful in its life, a failing sink two in seconds

log = logging.getLogger(__name__)


class Instance:
    """Built in the main thread, whose loop (daemon.py) alone changes what it holds.

    ConfigError when the machine lacks what the configuration names. `frames`: how many each pipeline gives out at most.
    """

    def __init__(
        self,
        config: Config,
        frames: int | None,
        on_event: Callable[[Event], None] | None,
        makers: Makers,
        sensors: Sensors | None,
    ) -> None:
        found = inspect_machine(config)
        choice = choose_device(config)
        if found.problems or choice.problems:
            raise ConfigError(config.file, [*found.problems, *choice.problems])
        self.identity = Identity(config.device.id, uuid.uuid4().hex)
        # a GPU's device asks for what is free of each kind of memory itself
        self.budget = Budget(
            config.runtime.memory_budget, available_bytes if choice.kind == "cpu" else lambda: None
        )
        self.devices = open_devices(choice, self.budget)
        self.ended = False  # its main loop turns no more, whatever ended it
        self.hanging: tuple[str, ...] = ()  # units that did not stop in time, once it has ended
        self._inbox: queue.Queue[Happening | Order[Any]] = queue.Queue(INBOX)
        self._orders = Orders(self._inbox)
        self._began: float | None = None  # when the units were let go
        self._ended: float | None = None
        self._ticked_ns = 0  # when the main loop made its last turn; 0: it has not begun
        builder = Builder(
            self.identity,
            self.devices,
            self.post,
            plan_store(config.runtime.state_dir),
            frames=frames,
            makers=makers,
        )
        self.standing = Standing(builder, config, found.models)
        parts = self.standing.parts
        self.core = Core(parts.kinds, parts.backoffs)
        self.thinner = None if sensors is None else Thinner(config.pressure, sensors)
        self.telling = Telling(self.identity, self.core, parts, self.standing.offers, self._limited, on_event)

    # What runs, by name.

    @property
    def config(self) -> Config:
        return self.standing.parts.config

    @property
    def sinks(self) -> Mapping[str, SinkWorker]:
        return self.standing.parts.sinks

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        return self.standing.parts.pipelines

    @property
    def runners(self) -> Mapping[str, Runner]:
        return self.standing.parts.runners

    @property
    def sources(self) -> Mapping[str, SourceUnit]:
        return self.standing.parts.sources

    @property
    def units(self) -> Mapping[str, Unit]:
        return self.standing.parts.units

    @property
    def models(self) -> Mapping[str, Model]:
        """What the configuration's models loaded to."""
        return self.standing.parts.models

    @property
    def errors(self) -> list[EdgedError]:
        """The last ones."""
        return self.telling.errors

    # Any thread.

    def post(self, event: Happening) -> None:
        """Never waits: a unit's thread must not hang on a main loop that is stuck or has ended."""
        try:
            self._inbox.put_nowait(event)
        except queue.Full:
            log.error("the main loop does not read its inbox; lost: %s", event)

    def stop(self, why: str = "asked to stop", code: ExitCode = ExitCode.OK) -> None:
        """Drain and end, with this exit status if no fault has set it."""
        self.post(Asked(why, code))

    @property
    def stopping(self) -> bool:
        """Whether it is on its way out, or out: how it is said to be then proves nothing of what it ran."""
        return self.ended or self.core.phase in ("draining", "over")

    def healths(self) -> Mapping[str, Health]:
        return self.telling.board.healths

    def ready(self) -> str:
        """Why it is not ready; "": each runner is loaded, each pipeline runs or is in declared recovery."""
        return not_ready(self.standing.parts, self.core, self.telling.board.healths)

    def alive(self) -> str:
        """Why it is not alive: which thread makes no progress; "": all do (liveness.py)."""
        if self._ended is not None or not self._ticked_ns:
            return ""
        now_ns = time.monotonic_ns()
        return stuck_loop(self._ticked_ns, now_ns) or not_alive(self.standing.parts, self.core, now_ns)

    def snapshot(self) -> Snapshot:
        now = time.monotonic() if self._ended is None else self._ended
        return observe(
            self.standing.parts,
            self.core,
            self.telling.board.healths,
            at=time.time_ns(),
            wall_s=0.0 if self._began is None else now - self._began,
            thinner=self.thinner,
            errors=tuple(str(e) for e in self.errors),
        )

    def look(self, name: str) -> Look:
        """At the next frame of a pipeline. NoSuchThing: there is no such pipeline."""
        pipeline = self.pipelines.get(name)
        if pipeline is None:
            raise no_such_pipeline(name, self.pipelines)
        return pipeline.look()

    def _limited(self, unit: str) -> str:
        """Why a runner or a pipeline works, but not as asked."""
        runner = self.runners.get(unit)
        if runner is not None:
            return runner.limited
        return "" if self.thinner is None else self.thinner.limited(unit)
