"""The daemon: does what the supervisor's core decides with the parts that a configuration names.

`Daemon.run` is the main thread's loop on one bounded inbox; every other thread posts reports there. Only
this loop changes what runs.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from edged.announcer import Announcer
from edged.assembly import REGISTERED, Assembly, Makers
from edged.board import Board
from edged.config.machine import inspect_machine
from edged.config.schema import Config
from edged.devices.choose import choose_device, open_devices
from edged.errors import ConfigError, EdgedError, ExitCode, FatalDeviceError
from edged.memory import Budget, Want, available_bytes, wanted_bytes
from edged.messages import Event, Identity
from edged.metrics import Snapshot
from edged.observed import model_use, pipeline_counts, region_uses, sink_counts, source_use
from edged.process import ask_on_signals, freeze_garbage, has_terminal, tuned_interpreter
from edged.sinks.worker import SinkWorker
from edged.supervisor import (
    Action,
    Admit,
    Admitted,
    Again,
    Asked,
    Core,
    Exit,
    Go,
    Happening,
    Kind,
    Stop,
    Tell,
    Tick,
)
from edged.units import Report, Unit, die

TICK_S = 0.2
SINK_DRAIN_S = 1.5  # within the time that supervisor.STAGES leaves to sinks
PATIENCE_S = 5.0  # after which boot says what it waits for
INBOX = 1024  # reports; a unit posts a handful in its life, a failing sink two in seconds
MAX_ERRORS = 100  # kept for the snapshot; all are logged

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop by itself: frames given out a pipeline, seconds of running; None: never."""

    frames: int | None = None
    seconds: float | None = None


class Daemon:
    """One run of one configuration. Build it (ConfigError when the machine lacks what it names), `run` it once.

    `on_tick(daemon)` is called from the main loop about five times a second, `on_event(event)` for each
    change of a unit's state; both must be quick.
    """

    def __init__(
        self,
        config: Config,
        limits: Limits = Limits(),
        on_tick: Callable[[Daemon], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        makers: Makers = REGISTERED,
    ) -> None:
        found = inspect_machine(config)
        choice = choose_device(config)
        if found.problems or choice.problems:
            raise ConfigError(config.file, [*found.problems, *choice.problems])
        self.config = config
        self.identity = Identity(config.device.id, uuid.uuid4().hex)
        # a GPU's device asks for what is free of each kind of memory itself
        self.budget = Budget(
            config.runtime.memory_budget, available_bytes if choice.kind == "cpu" else lambda: None
        )
        self.devices = open_devices(choice, self.budget)
        self.errors: list[EdgedError] = []
        self.hanging: tuple[str, ...] = ()  # units that did not stop in time, once it has ended
        self.reload_asked = threading.Event()  # by SIGHUP; whoever reloads clears it
        self._inbox: queue.Queue[Happening] = queue.Queue(INBOX)
        self._limits, self._on_tick = limits, on_tick
        self._began: float | None = None  # when the units were let go
        self._ended: float | None = None
        parts = Assembly(
            config,
            found.models,
            self.identity,
            self.devices,
            self.post,
            frames=limits.frames,
            makers=makers,
        )
        self.sinks, self.pipelines = parts.sinks, parts.pipelines
        self.runners, self.sources = parts.runners, parts.sources
        self.sync_groups = parts.sync_groups
        self.units: dict[str, Unit] = {**self.sources, **self.runners}
        self.core = Core(parts.kinds, parts.backoffs)
        self.board = Board(
            self.pipelines, parts.needs, lambda unit: r.limited if (r := self.runners.get(unit)) else ""
        )
        offers = [worker.offer for worker in self.sinks.values()]
        self._announcer = Announcer(self.identity, offers, on_event)

    # Any thread.

    def post(self, event: Happening) -> None:
        """Never waits: a unit's thread must not hang on a main loop that is stuck or has ended."""
        try:
            self._inbox.put_nowait(event)
        except queue.Full:
            log.error("the main loop does not read its inbox; lost: %s", event)

    def stop(self, why: str = "asked to stop") -> None:
        """Drain and end."""
        self.post(Asked(why))

    def snapshot(self) -> Snapshot:
        now = time.monotonic() if self._ended is None else self._ended
        return Snapshot(
            at=time.time_ns(),
            wall_s=0.0 if self._began is None else now - self._began,
            pipelines={n: pipeline_counts(p, self.board.healths[n]) for n, p in self.pipelines.items()},
            sources={n.removeprefix("source "): source_use(u, self.core) for n, u in self.sources.items()},
            sinks={n: sink_counts(self.core.phases[f"sink {n}"], w) for n, w in self.sinks.items()},
            regions={k: v for u in self.units.values() for k, v in region_uses(u).items()},
            models={n.removeprefix("model "): model_use(r, self.core) for n, r in self.runners.items()},
            sync_groups={n: g.counts() for n, g in self.sync_groups.items()},
            errors=tuple(str(e) for e in self.errors),
        )

    # The main thread.

    def run(self, *, signals: bool = True) -> ExitCode:
        """Run until the end; returns the exit code. Call once, in the main thread when `signals`."""
        asked, reload = threading.Event(), None if has_terminal() else self.reload_asked
        with tuned_interpreter(), ask_on_signals(asked, reload) if signals else nullcontext():
            try:
                for worker in self.sinks.values():
                    worker.start()
                for unit in self.units.values():
                    unit.start()
                return self._loop(asked)
            except FatalDeviceError as e:
                die("edged", e)
                raise
            except BaseException:  # a defect here: let nobody go on without a supervisor
                for unit in self.units.values():
                    unit.stop()
                for pipeline in self.pipelines.values():
                    pipeline.drop()
                for worker in self.sinks.values():
                    worker.stop(0.0)
                raise

    def _loop(self, asked: threading.Event) -> ExitCode:
        # a model may load for minutes: till then nobody looks, and nobody may take silence for "saw nothing"
        self.board.look(time.monotonic(), self.core)
        self._announcer.state("online", self.board.healths)
        next_tick, patience = 0.0, time.monotonic() + PATIENCE_S
        while True:
            happenings: list[Happening] = []
            try:
                happenings.append(self._inbox.get(timeout=TICK_S))
            except queue.Empty:
                next_tick = 0.0
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK_S
                happenings += self._due(asked, now)
                if self.core.phase == "booting" and now >= patience:
                    patience = float("inf")
                    log.warning("still waiting for %s", ", ".join(self.core.waiting_for))
                if self._on_tick is not None:
                    self._on_tick(self)
            for happening in happenings:
                code = self._do(now, happening)
                if code is not None:
                    return code

    def _due(self, asked: threading.Event, now: float) -> list[Happening]:
        """What time brings."""
        due: list[Happening] = [Tick()]
        if asked.is_set():
            due.append(Asked("signal"))
        limit, began = self._limits.seconds, self._began
        if limit is not None and began is not None and now - began >= limit:
            due.append(Asked("its seconds are over"))
        return due

    def _do(self, now: float, happening: Happening) -> ExitCode | None:
        """One thing that happened and all that follows from it; the exit code when that is the end."""
        actions = self.core.step(now, happening)
        for action in actions:  # causes are told before what follows from them
            if isinstance(action, Tell):
                self._tell(action)
        for change in self.board.look(now, self.core):
            self._announcer.event(f"pipeline {change.pipeline}", change.now.state, change.now.reason)
            self._announcer.state("online", self.board.healths)
        for action in actions:
            code = self._act(now, action)
            if code is not None:
                return code
        return None

    def _act(self, now: float, action: Action) -> ExitCode | None:
        match action:
            case Admit(units=units):
                return self._do(now, self._admit(units))
            case Go(unit=unit):
                self.units[unit].go()
            case Again(unit=unit, afresh=afresh):
                self.units[unit].again(afresh=afresh)
            case Stop():
                self._stop(action)
            case Exit():
                return self._exit(action)
        return None

    def _tell(self, news: Tell) -> None:
        """An event for the sinks, and a line where something is wrong, or right again."""
        self._announcer.event(news.unit, news.state, news.reason)
        if news.error is not None:
            then = "; it is tried again" if news.unit in self.core.recoveries else ""
            self._error(news.error, then, news.unit)
        elif news.unit in self.core.recoveries and news.reason:
            verb = "running again" if news.state == "running" else "stays away:"
            log.warning("%s: %s %s", news.unit, verb, news.reason, extra={"edged_unit": news.unit})

    def _admit(self, units: Sequence[str]) -> Admitted:
        """Add up the regions of all units that opened; refused with figures, or let go (see Core)."""
        plans: dict[int, dict[str, Sequence[Want]]] = {gpu: {} for gpu in self.devices}
        numbers = {id(device): gpu for gpu, device in self.devices.items()}
        try:
            for name in units:
                unit = self.units[name]
                for owner, wants in unit.plan().items():
                    plans[numbers[id(unit.device_of(owner))]][owner] = wants
            self.budget.try_all({o: wanted_bytes(w) for plan in plans.values() for o, w in plan.items()})
            for gpu, plan in plans.items():
                self.devices[gpu].admit(plan)
        except EdgedError as e:
            self._error(e)
            return Admitted(e)
        freeze_garbage()
        self._began = time.monotonic()
        return Admitted()

    def _stop(self, action: Stop) -> None:
        if action.drop:
            for pipeline in self.pipelines.values():
                pipeline.drop()
        for kind in action.kinds:
            _STOP[kind](self)

    def _stop_sources(self) -> None:
        for s in self.sources.values():
            s.stop()

    def _stop_runners(self) -> None:
        for r in self.runners.values():
            r.stop()

    def _stop_sinks(self) -> None:
        self._announcer.state("offline", self.board.healths)
        for name, worker in self.sinks.items():
            # a thread each: a sink that hangs must not cost the others their time
            stop = threading.Thread(target=self._stop_sink, args=(name, worker), daemon=True)
            stop.name = f"stop sink {name}"
            stop.start()

    def _stop_sink(self, name: str, worker: SinkWorker) -> None:
        if worker.stop(SINK_DRAIN_S):
            self.post(Report(f"sink {name}", "stopped"))

    def _exit(self, action: Exit) -> ExitCode:
        self._ended = time.monotonic()
        for device in () if action.hanging else self.devices.values():
            device.close()
        self.hanging = action.hanging
        for name in action.hanging:
            self._error(
                EdgedError(f"{name} did not stop in time", hint="see the lines about it, if any"), unit=name
            )
        return action.code

    def _error(self, error: EdgedError, then: str = "", unit: str = "") -> None:
        """`then`: what edged does about it. `unit`: whose error it is, for the journal."""
        self.errors.append(error)
        del self.errors[:-MAX_ERRORS]
        log.error("%s%s", error, then, extra={"edged_unit": unit})


_STOP: dict[Kind, Callable[[Daemon], None]] = {
    "source": Daemon._stop_sources,
    "camera": lambda _: None,  # with "source"
    "runner": Daemon._stop_runners,
    "sink": Daemon._stop_sinks,
    "remote-sink": lambda _: None,  # with "sink"
    "pipeline": lambda _: None,  # it has no thread
}
