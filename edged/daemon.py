"""The daemon: does what the supervisor's core decides with the parts that a configuration names.

`Daemon.run` is the main thread's loop on one bounded inbox; every other thread posts reports and orders there. Only
this loop changes what runs.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from edged.admission import admit
from edged.assembly import REGISTERED, Makers
from edged.config.schema import Config
from edged.errors import EdgedError, ExitCode, FatalDeviceError
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
    Gone,
    Happening,
    Leave,
    Settle,
    Start,
    Stop,
    Tell,
    Tick,
)
from edged.helm import Helm
from edged.instance import Instance
from edged.messages import Event
from edged.models.model import Model
from edged.orders import Order
from edged.process import ask_on_signals, freeze_garbage, has_terminal, tuned_interpreter
from edged.sensors.thread import Sensors
from edged.sinks.worker import SinkWorker
from edged.standing import Thing
from edged.steering import Verb
from edged.units import Report, die

TICK_S = 0.2
SINK_DRAIN_S = 1.5  # within the time that supervisor.STAGES leaves to sinks
PATIENCE_S = 5.0  # after which boot says what it waits for

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop by itself: frames given out a pipeline, seconds of running; None: never."""

    frames: int | None = None
    seconds: float | None = None


class Daemon(Instance):
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
        sensors: Sensors | None = None,
    ) -> None:
        super().__init__(config, limits.frames, on_event, makers, sensors)
        self.reload_asked = threading.Event()  # by SIGHUP; whoever reloads clears it
        self._limits, self._on_tick = limits, on_tick
        self._helm = Helm(self.standing, self.core, self._do, self._act_all, self._health)

    # Any thread; what is done with the Future when it is done is done in the main thread, and must be quick.

    def change(self, config: Config, models: Mapping[str, Model]) -> Future[tuple[str, ...]]:
        """Run this configuration instead; `models`: what config.models loaded to.

        Done once it runs and what it replaces is gone, with the pipelines that it touches; whether those are healthy is
        the caller's to judge. An EdgedError: it was refused, and what ran before runs.
        """
        return self._orders.give(lambda now, future: self._helm.change(now, config, models, future))

    def pipeline(self, name: str, verb: Verb) -> Future[str]:
        """Pause, resume or restart a pipeline; done with its health in words once that is done."""
        return self._orders.give(lambda now, future: self._helm.pipeline(now, name, verb, future))

    def event(self, unit: str, state: str, reason: str) -> None:
        """News of what is none of the parts (the configuration), for sinks and `on_event`."""

        def tell(_: float, told: Future[None]) -> None:
            self.telling.event(unit, state, reason)
            told.set_result(None)

        self._orders.give(tell)

    # The main thread.

    def run(self, *, signals: bool = True) -> ExitCode:
        """Run until the end; returns the exit code. Call once, in the main thread when `signals`."""
        asked, reload = threading.Event(), None if has_terminal() else self.reload_asked
        with tuned_interpreter(), ask_on_signals(asked, reload) if signals else nullcontext():
            try:
                self.standing.start(k for k, kind in self.core.roster.kinds.items() if kind != "pipeline")
                return self._loop(asked)
            except FatalDeviceError as e:
                die("edged", e)
                raise
            except BaseException:  # a defect here: let nobody go on without a supervisor
                self.ended = True
                for unit in self.standing.units:
                    unit.stop()
                for pipeline in self.standing.pipelines:
                    pipeline.drop()
                for worker in self.standing.workers:
                    worker.stop(0.0)
                raise
            finally:
                self.ended = True
                self._orders.refuse()

    def _loop(self, asked: threading.Event) -> ExitCode:
        # a model may load for minutes: till then nobody looks, and nobody may take silence for "saw nothing"
        self.telling.board.look(time.monotonic(), self.core)
        self.telling.state("online")
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
                for worker in self.standing.workers:
                    worker.look(now)
                if self._on_tick is not None:
                    self._on_tick(self)
            for happening in happenings:
                if isinstance(happening, Order):
                    code = self._obey(now, happening)
                else:
                    code = self._do(now, happening)
                if code is not None:
                    return code

    def _hold_back(self, now: float) -> None:
        for news in () if self.thinner is None else self.thinner.look(now, self.pipelines):
            self.telling.event("pressure", news.state, news.reason)

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
                self.telling.news(action)
        if not any(
            isinstance(a, Commit) for a in actions
        ):  # the core knows other parts by then than the board
            self.telling.look(now)
        for action in actions:
            code = self._act(now, action)
            if code is not None:
                return code
        return None

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
                self.telling.look(now)
                return self._helm.done(now, action)
            case Gone(unit=unit):
                self.standing.gone(unit)
            case Stop():
                self._stop(action)
            case Exit():
                return self._exit(action)
        return None

    def _admit(self, units: Sequence[str]) -> Admitted:
        """Add up the regions of all units that opened; refused with figures, or let go (see Core)."""
        try:
            admit(self.budget, self.standing.demands(units))
        except EdgedError as e:
            if self._began is None:
                self.telling.error(e)
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
            self.telling.state("offline")
        for kind in action.kinds:
            for key in self.core.roster.of(kind):
                self._stop_part(key)

    def _leave(self, action: Leave) -> None:
        """Parts of a change: new ones that are not wanted after all, or old ones."""
        parts = [self.standing.things[key].part for key in action.units]
        leaving = [part.offer for part in parts if isinstance(part, SinkWorker)]
        if leaving and self.standing.transition is not None and not action.drop:
            self.standing.transition.reroute()
            self.telling.reroute(self.standing.offers, leaving)
        for key in action.units:
            self._stop_part(key)

    def _stop_part(self, key: str) -> None:
        """A sink in a thread of its own: one that hangs must not cost the others their time."""
        thing = self.standing.things[key]
        if isinstance(thing.part, SinkWorker):
            name = f"stop {key}"
            threading.Thread(target=self._stop_sink, args=(thing, thing.part), name=name, daemon=True).start()
        else:
            self.standing.stop(key)

    def _stop_sink(self, thing: Thing, worker: SinkWorker) -> None:
        worker.stop(SINK_DRAIN_S)
        worker.join()
        self.post(Report(thing.name, "stopped", era=thing.era))

    def _exit(self, action: Exit) -> ExitCode:
        self._ended = time.monotonic()
        for device in () if action.hanging else self.devices.values():
            device.close()
        self.hanging = action.hanging
        for name in action.hanging:
            self.telling.error(
                EdgedError(f"{name} did not stop in time", hint="see the lines about it, if any"), unit=name
            )
        return action.code

    # Orders, in the main thread.

    def _obey(self, now: float, order: Order[Any]) -> ExitCode | None:
        """Do what somebody asked for; what keeps it from being done is told to them."""
        if not order.future.set_running_or_notify_cancel():
            return None
        try:
            return order.do(now, order.future)
        except FatalDeviceError:
            raise
        except EdgedError as e:
            order.future.set_exception(e)
        return None

    def _commit(self, now: float) -> None:
        """Others run from now on."""
        before = self.standing.parts.pipelines
        self.standing.commit()
        if self.thinner is not None:
            self.thinner.options = self.config.pressure
        self.telling.swap(now, before, self.standing.parts, self.standing.offers)

    def _health(self, now: float, name: str) -> str:
        self.telling.look(now)
        return str(self.telling.board.healths[name])
