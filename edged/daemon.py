"""The daemon: does what the supervisor's core decides with the parts that a configuration names.

`Daemon.run` is the main thread's loop on one bounded inbox; every other thread posts reports and orders there. Only
this loop changes what runs.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from edged.admission import admit
from edged.announcer import Announcer
from edged.assembly import REGISTERED, Builder, Makers
from edged.board import Board, Change
from edged.config.machine import inspect_machine
from edged.config.schema import Config
from edged.devices.choose import choose_device, open_devices
from edged.errors import ConfigError, EdgedError, ExitCode, FatalDeviceError
from edged.happenings import (
    Action,
    Admit,
    Admitted,
    Again,
    Asked,
    Commit,
    Done,
    Exit,
    Go,
    Happening,
    Leave,
    Settle,
    Start,
    Stop,
    Tell,
    Tick,
)
from edged.health import Health
from edged.helm import Helm
from edged.liveness import not_alive, not_ready, stuck_loop
from edged.looks import Look
from edged.memory import Budget, available_bytes
from edged.messages import Event, Identity
from edged.metrics import PressureUse, Snapshot
from edged.models.model import Model
from edged.models.state import plan_store
from edged.observed import observe
from edged.orders import Order, Orders
from edged.pipeline import Pipeline
from edged.process import ask_on_signals, freeze_garbage, tuned_interpreter
from edged.runner import Runner
from edged.sensors.thread import Sensors
from edged.sinks.worker import SinkWorker
from edged.sources.unit import SourceUnit
from edged.standing import Standing
from edged.steering import NoSuchThing, Verb
from edged.supervisor import Core
from edged.thinning import Thinner
from edged.units import Report, Unit, defect, die

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
    change of a unit's state; both must be quick. `sensors`: pipelines are held back as [pressure] says by what they
    read; whoever made them starts and stops them.
    """

    def __init__(
        self,
        config: Config,
        limits: Limits = Limits(),
        on_tick: Callable[[Daemon], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        makers: Makers = REGISTERED,
        sensors: Sensors | None = None,
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
        self._inbox: queue.Queue[Happening | Order[Any]] = queue.Queue(INBOX)
        self._orders = Orders(self._inbox)
        self._limits, self._on_tick = limits, on_tick
        self._began: float | None = None  # when the units were let go
        self._ended: float | None = None
        self._ticked_ns = 0  # when the main loop made its last turn; 0: it has not begun
        builder = Builder(
            self.identity,
            self.devices,
            self.post,
            plan_store(config.runtime.state_dir),
            frames=limits.frames,
            makers=makers,
        )
        self.standing = Standing(builder, config, found.models)
        parts = self.standing.parts
        self.core = Core(parts.kinds, parts.backoffs)
        self.thinner = None if sensors is None else Thinner(config.pressure, sensors)
        self.board = Board(parts.pipelines, parts.needs, self._limited)
        self._announcer = Announcer(self.identity, self.standing.offers, on_event)
        self._helm = Helm(self.standing, self.core, self._do, self._act_all, self._health)

    # What runs, by name.

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

    def change(self, config: Config, models: Mapping[str, Model]) -> Future[tuple[str, ...]]:
        """Run this configuration instead; `models`: what config.models loaded to.

        Done once it runs and what it replaces is gone, with the pipelines that it touches; whether those are healthy is
        the caller's to judge. An EdgedError: it was refused, and what ran before runs.
        """
        return self._orders.give(lambda now, future: self._helm.change(now, config, models, future))

    def pipeline(self, name: str, verb: Verb) -> Future[str]:
        """Pause, resume or restart a pipeline; done with its health in words once that is done."""
        return self._orders.give(lambda now, future: self._helm.pipeline(now, name, verb, future))

    def healths(self) -> Mapping[str, Health]:
        return self.board.healths

    def ready(self) -> str:
        """Why it is not ready; "": each runner is loaded, each pipeline runs or is in declared recovery."""
        return not_ready(self.standing.parts, self.core, self.board.healths)

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
            self.board.healths,
            at=time.time_ns(),
            wall_s=0.0 if self._began is None else now - self._began,
            sensors=() if self.thinner is None else self.thinner.sensors.readings,
            pressure=PressureUse() if self.thinner is None else self.thinner.use,
            errors=tuple(str(e) for e in self.errors),
        )

    def look(self, name: str) -> Look:
        """At the next frame of a pipeline. NoSuchThing: there is no such pipeline."""
        pipelines = self.pipelines
        if name not in pipelines:
            hint = f"there is: {', '.join(pipelines)}"
            raise NoSuchThing(f"there is no pipeline '{name}'", hint=hint)
        return pipelines[name].look()

    # The main thread.

    def run(self, *, signals: bool = True) -> ExitCode:
        """Run until the end; returns the exit code. Call once, in the main thread when `signals`."""
        asked = threading.Event()
        with tuned_interpreter(), ask_on_signals(asked) if signals else nullcontext():
            try:
                self.standing.start(k for k, kind in self.core.roster.kinds.items() if kind != "pipeline")
                return self._loop(asked)
            except FatalDeviceError as e:
                die("edged", e)
                raise
            except BaseException:  # a defect here: let nobody go on without a supervisor
                for unit in self.standing.units:
                    unit.stop()
                for pipeline in self.standing.pipelines:
                    pipeline.drop()
                for worker in self.standing.workers:
                    worker.stop(0.0)
                raise
            finally:
                self._orders.refuse()

    def _loop(self, asked: threading.Event) -> ExitCode:
        # a model may load for minutes: till then nobody looks, and nobody may take silence for "saw nothing"
        self.board.look(time.monotonic(), self.core)
        self._announcer.state("online", self.board.healths)
        next_tick, patience = 0.0, time.monotonic() + PATIENCE_S
        while True:
            self._ticked_ns = time.monotonic_ns()
            happenings: list[Happening | Order[Any]] = []
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
                self._hold_back(now)
                if self._on_tick is not None:
                    self._on_tick(self)
            for happening in happenings:
                if isinstance(happening, Order):
                    code = self._obey(now, happening)
                else:
                    code = self._do(now, happening)
                if code is not None:
                    return code

    def _limited(self, unit: str) -> str:
        """Why a runner or a pipeline works, but not as asked."""
        runner = self.runners.get(unit)
        if runner is not None:
            return runner.limited
        return "" if self.thinner is None else self.thinner.limited(unit)

    def _hold_back(self, now: float) -> None:
        for news in () if self.thinner is None else self.thinner.look(now, self.pipelines):
            self._announcer.event("pressure", news.state, news.reason)

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
        return self._act_all(now, self.core.step(now, happening))

    def _act_all(self, now: float, actions: Sequence[Action]) -> ExitCode | None:
        for action in actions:  # causes are told before what follows from them
            if isinstance(action, Tell):
                self._tell(action)
        if not any(
            isinstance(a, Commit) for a in actions
        ):  # the core knows other parts by then than the board
            self._announce(self.board.look(now, self.core))
        for action in actions:
            code = self._act(now, action)
            if code is not None:
                return code
        return None

    def _announce(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._announcer.event(f"pipeline {change.pipeline}", change.now.state, change.now.reason)
            self._announcer.state("online", self.board.healths)

    def _act(self, now: float, action: Action) -> ExitCode | None:
        match action:
            case Admit(units=units):
                return self._do(now, self._admit(units))
            case Start(units=units):
                self.standing.start(units)
            case Go(unit=unit):
                self.standing.unit(unit).go()
            case Again(unit=unit, afresh=afresh):
                self.standing.unit(unit).again(afresh=afresh)
            case Leave():
                self._leave(action)
            case Commit():
                self._commit(now)
            case Settle():
                self.standing.settle()
            case Done():
                self._announce(self.board.look(now, self.core))
                return self._helm.done(now, action)
            case Stop():
                self._stop(action)
            case Exit():
                return self._exit(action)
        return None

    def _tell(self, news: Tell) -> None:
        """An event for the sinks, and a line where something is wrong, or right again."""
        self._announcer.event(news.unit, news.state, news.reason)
        if news.error is not None:
            self._error(news.error, "; it is tried again" if news.unit in self.core.recoveries else "")
        elif news.unit in self.core.recoveries and news.reason:
            verb = "running again" if news.state == "running" else "stays away:"
            log.warning("%s: %s %s", news.unit, verb, news.reason)

    def _admit(self, units: Sequence[str]) -> Admitted:
        """Add up the regions of all units that opened; refused with figures, or let go (see Core)."""
        try:
            admit(self.budget, self.standing.demands(units))
        except EdgedError as e:
            if self._began is None:
                self._error(e)
            return Admitted(e)
        if self._began is None:  # what a change brings later is little, and may go again
            freeze_garbage()
            self._began = time.monotonic()
        return Admitted()

    def _stop(self, action: Stop) -> None:
        if action.drop:
            for pipeline in self.standing.pipelines:
                pipeline.drop()
        if "sink" in action.kinds:
            self._announcer.state("offline", self.board.healths)
        for kind in action.kinds:
            for key in self.core.roster.of(kind):
                self._stop_part(key)

    def _leave(self, action: Leave) -> None:
        """Parts of a change: new ones that are not wanted after all, or old ones."""
        leaving = [part.offer for key in action.units if isinstance(part := self._part(key), SinkWorker)]
        if leaving and self.standing.transition is not None and not action.drop:
            self.standing.transition.reroute()
            self._announcer.offers = self.standing.offers
            self._announcer.state("offline", self.board.healths, leaving)
        for key in action.units:
            self._stop_part(key)

    def _stop_part(self, key: str) -> None:
        part = self._part(key)
        if isinstance(part, Unit):
            part.stop()
        elif isinstance(part, SinkWorker):
            # a thread each: a sink that hangs must not cost the others their time
            thing = self.standing.things[key]
            stop = threading.Thread(target=self._stop_sink, args=(thing.name, thing.era, part), daemon=True)
            stop.name = f"stop {key}"
            stop.start()
        elif isinstance(part, Pipeline):
            part.drop()

    def _part(self, key: str) -> object:
        return self.standing.things[key].part

    def _stop_sink(self, name: str, era: int, worker: SinkWorker) -> None:
        if worker.stop(SINK_DRAIN_S):
            self.post(Report(name, "stopped", era=era))

    def _exit(self, action: Exit) -> ExitCode:
        self._ended = time.monotonic()
        for device in () if action.hanging else self.devices.values():
            device.close()
        self.hanging = action.hanging
        for name in action.hanging:
            self._error(EdgedError(f"{name} did not stop in time", hint="see the lines about it, if any"))
        return action.code

    def _error(self, error: EdgedError, then: str = "") -> None:
        """`then`: what edged does about it."""
        self.errors.append(error)
        del self.errors[:-MAX_ERRORS]
        log.error("%s%s", error, then)

    # Orders, in the main thread.

    def _obey(self, now: float, order: Order[Any]) -> ExitCode | None:
        """Do what somebody asked for; what keeps it from being done is told to them."""
        if not order.future.set_running_or_notify_cancel():
            return None
        try:
            return order.do(now, order.future)
        except EdgedError as e:
            order.future.set_exception(e)
        except Exception as e:  # of a part that cannot be built: what runs is to run on
            log.exception("a defect in edged")
            order.future.set_exception(defect("the change", e))
        return None

    def _commit(self, now: float) -> None:
        """Others run from now on."""
        before = self.standing.parts.pipelines
        self.standing.commit()
        parts = self.standing.parts
        if self.thinner is not None:
            self.thinner.options = parts.config.pressure
        self._announcer.offers = self.standing.offers
        for name in before.keys() - parts.pipelines.keys():
            self._announcer.event(f"pipeline {name}", "stopped", "no longer configured")
        self._announce(self.board.swap(now, parts.pipelines, parts.needs))
        self._announcer.state("online", self.board.healths)

    def _health(self, now: float, name: str) -> str:
        self._announce(self.board.look(now, self.core))
        return str(self.board.healths[name])
