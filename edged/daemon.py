"""The daemon: builds the units that a configuration names and does what the supervisor's core decides.

`Daemon.run` is the main thread's loop on one bounded inbox; every other thread posts reports there. Only
this loop changes what runs.
"""

from __future__ import annotations

import gc
import logging
import queue
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

from edged import registry
from edged.config.machine import inspect_machine
from edged.config.schema import Config, ModelConfig
from edged.devices.cpu import CpuDevice
from edged.engines.choose import make_engine
from edged.errors import ConfigError, EdgedError, ExitCode, MemoryRefused
from edged.interfaces import Engine
from edged.mailbox import Bell
from edged.memory import Budget, wanted_bytes
from edged.messages import Event, Identity, Message, ModelId, State, topic
from edged.metrics import RegionUse, SinkCounts, Snapshot
from edged.models.model import Model
from edged.parsers.base import Parser
from edged.pipeline import Pipeline
from edged.runner import Runner
from edged.sinks.worker import SinkWorker
from edged.sources.unit import SourceUnit
from edged.supervisor import Action, Admit, Admitted, Asked, Core, Exit, Happening, Kind, Stop, Tick
from edged.units import Report

TICK_S = 0.2
SINK_DRAIN_S = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop by itself: frames given out a pipeline, seconds of running; None: never."""

    frames: int | None = None
    seconds: float | None = None


class Daemon:
    """One run of one configuration. Build it, `run` it once.

    `on_tick(snapshot)` is called from the main loop about five times a second, `on_event(event)` for each
    change of a unit's state; both must be quick.
    """

    def __init__(
        self,
        config: Config,
        limits: Limits = Limits(),
        on_tick: Callable[[Daemon], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.config = config
        self.identity = Identity(config.device.id, uuid.uuid4().hex)
        self.device = CpuDevice(Budget(config.runtime.memory_budget))
        self.errors: list[EdgedError] = []
        self.events: queue.Queue[Happening] = queue.Queue(maxsize=1024)
        self._limits = limits
        self._on_tick, self._on_event = on_tick, on_event
        self._states: dict[str, str] = {}
        self._event_seq = 0
        self._running_since: float | None = None
        found = inspect_machine(config)
        if found.problems:
            raise ConfigError(config.file, found.problems)
        self._bells = {name: Bell() for name in config.models}
        self.sinks = {name: self._sink(name) for name in config.sinks}
        self.pipelines = {name: self._pipeline(name, found.models) for name in config.pipelines}
        self.runners = {r.name: r for name in config.models for r in self._runners(name, found.models[name])}
        self.sources = {s.name: s for s in map(self._source, config.sources) if s is not None}
        kinds: dict[str, Kind] = {}
        kinds.update(dict.fromkeys(self.sources, "source"))
        kinds.update(dict.fromkeys(self.runners, "runner"))
        kinds.update({f"sink {n}": self._sink_kind(n) for n in self.sinks})
        kinds.update(dict.fromkeys((f"pipeline {n}" for n in self.pipelines), "pipeline"))
        self.core = Core(kinds)

    # Building: no thread starts, nothing is opened.

    def _sink_kind(self, name: str) -> Kind:
        cls = registry.load("sinks", self.config.sinks[name].kind)
        return "remote-sink" if getattr(cls, "REMOTE", False) else "sink"

    def _sink(self, name: str) -> SinkWorker:
        entry = self.config.sinks[name]
        sink = registry.load("sinks", entry.kind)(name, entry.options, self.identity)

        def report(_: str, state: str, error: EdgedError | None) -> None:
            self.post(Report(f"sink {name}", "faulted" if state == "faulted" else "running", error))

        return SinkWorker(name, sink, entry.deliver, report)

    def _pipeline(self, name: str, models: Mapping[str, Model]) -> Pipeline:
        entry = self.config.pipelines[name]
        model = models[entry.model]
        pipeline = Pipeline(
            name,
            entry,
            self.identity,
            ModelId(model.name, model.version, model.sha256),
            model.output.labels,
            [self.sinks[s].offer for s in entry.sinks],
            self._bells[entry.model],
            live=True,  # its source says, once built
            limit=self._limits.frames,
        )
        pipeline.on_end = lambda: self.post(Report(f"pipeline {name}", "ended"))
        return pipeline

    def _runners(self, name: str, model: Model) -> list[Runner]:
        if not any(p.config.model == name for p in self.pipelines.values()):
            return []
        entry = self.config.models[name]
        return [
            Runner(
                f"model {name}" + (f"#{i}" if entry.instances > 1 else ""),
                self.device,
                *_makers(model, entry),
                model.input,
                self._bells[name],
                self.post,
                in_flight=entry.in_flight,
                priority=entry.priority,
            )
            for i in range(entry.instances)
        ]

    def _source(self, name: str) -> SourceUnit | None:
        pipelines = [p for p in self.pipelines.values() if p.config.source == name]
        if not pipelines:
            return None
        entry = self.config.sources[name]
        source = registry.load("sources", entry.kind)(name, entry.options)
        models = self.config.models
        # one is being filled, a camera's driver holds extra ones; each pipeline has one in its mailbox and some on
        # the device
        slots = 1 + getattr(source, "extra_slots", 0)
        for p in pipelines:
            p.mailbox.live = source.live
            m = models[p.config.model]
            slots += 1 + m.in_flight * m.instances
        return SourceUnit(
            f"source {name}", source, self.device, pipelines, slots, self._post_source(pipelines)
        )

    def _post_source(self, pipelines: list[Pipeline]) -> Callable[[Report], None]:
        """A source's phases are its pipelines' phases."""

        def post(r: Report) -> None:
            self.post(r)
            if r.phase in ("running", "ended", "faulted"):
                for p in pipelines:
                    self.post(Report(f"pipeline {p.name}", r.phase))

        return post

    # Any thread.

    def post(self, event: Happening) -> None:
        self.events.put(event)

    def stop(self, why: str = "asked to stop") -> None:
        """Drain and end; safe from any thread and from a signal handler's flag."""
        self.post(Asked(why))

    def snapshot(self) -> Snapshot:
        since = self._running_since
        units: list[SourceUnit | Runner] = [*self.sources.values(), *self.runners.values()]
        regions = {}
        for u in units:
            if u.region is None:
                continue
            slots = u.slots if isinstance(u, SourceUnit) else None
            use = (0, 0) if slots is None else (len(slots), slots.high_water)
            regions[u.name] = RegionUse(u.region.nbytes, u.region.used_bytes, *use)
        sinks = {
            n: SinkCounts(
                state=self.core.phases[f"sink {n}"],
                offered=w.offered,
                published=w.published,
                replaced=w.replaced,
                failed=w.failed,
                held=w.held,
            )
            for n, w in self.sinks.items()
        }
        return Snapshot(
            at=time.time_ns(),
            wall_s=0.0 if since is None else time.monotonic() - since,
            pipelines={n: p.counts() for n, p in self.pipelines.items()},
            sinks=sinks,
            regions=regions,
            errors=tuple(str(e) for e in self.errors),
        )

    # The main thread.

    def run(self, *, signals: bool = True) -> ExitCode:
        """Run until the end; returns the exit code. Call once, in the main thread when `signals`."""
        # a short interval bounds how long another thread's Python delays a frame
        sys.setswitchinterval(0.0005)
        asked = threading.Event()
        restore = _on_signals(asked) if signals else {}
        try:
            for worker in self.sinks.values():
                worker.start()
            for unit in (*self.sources.values(), *self.runners.values()):
                unit.start()
            return self._loop(asked)
        finally:
            for number, handler in restore.items():
                signal.signal(number, handler)

    def _loop(self, asked: threading.Event) -> ExitCode:
        next_tick = 0.0
        while True:
            try:
                event: Happening = self.events.get(timeout=TICK_S)
            except queue.Empty:
                event = Tick()
            now = time.monotonic()
            code = self._do(now, event)
            if now >= next_tick and code is None:
                next_tick = now + TICK_S
                for due in self._due(asked, now):
                    code = self._do(now, due) if code is None else code
                if self._on_tick is not None:
                    self._on_tick(self)
            if code is not None:
                return code

    def _due(self, asked: threading.Event, now: float) -> list[Happening]:
        limit, since = self._limits.seconds, self._running_since
        due: list[Happening] = [Tick()]
        if asked.is_set():
            due.append(Asked("signal"))
        if limit is not None and since is not None and now - since >= limit:
            due.append(Asked("its seconds are over"))
        return due

    def _do(self, now: float, event: Happening) -> ExitCode | None:
        """One event and all that follows from it."""
        todo: list[Happening] = [event]
        while todo:
            event = todo.pop(0)
            self._tell(event)
            for action in self.core.step(now, event):
                if isinstance(action, Exit):
                    return self._exit(action)
                answer = self._act(action)
                if answer is not None:
                    todo.append(answer)
        return None

    def _act(self, action: Action) -> Happening | None:
        if isinstance(action, Admit):
            return self._admit()
        if isinstance(action, Stop):
            if action.drop:
                for p in self.pipelines.values():
                    p.mailbox.close()
                    p.mailbox.drain()
            for kind in action.kinds:
                _STOP[kind](self)
        return None

    def _admit(self) -> Admitted:
        """Add up every region, refuse with figures, or let all units go."""
        specs = {p: s.spec for s in self.sources.values() for p in s.pipelines if s.spec is not None}
        try:
            plans = {s.name: wanted_bytes(s.plan()) for s in self.sources.values()}
            for name, r in self._by_model():
                mine = {p: spec for p, spec in specs.items() if p.config.model == name}
                plans[r.name] = wanted_bytes(r.plan(mine))
            self.device.budget.admit_all(plans)
        except EdgedError as e:
            self._error("memory" if isinstance(e, MemoryRefused) else "daemon", e)
            return Admitted(e)
        for owner, nbytes in plans.items():  # each unit admits its own when it allocates
            self.device.budget.give_back(owner, nbytes)
        gc.collect()
        gc.freeze()  # what lives from boot to end is never scanned again
        self._running_since = time.monotonic()
        for unit in (*self.runners.values(), *self.sources.values()):
            unit.go()
        return Admitted()

    def _by_model(self) -> list[tuple[str, Runner]]:
        return [(r.name.removeprefix("model ").partition("#")[0], r) for r in self.runners.values()]

    def _stop_sources(self) -> None:
        for s in self.sources.values():
            s.stop()

    def _stop_runners(self) -> None:
        for r in self.runners.values():
            r.stop()

    def _stop_sinks(self) -> None:
        self._publish(self._state("offline"))
        for name, worker in self.sinks.items():

            def stop(name: str = name, worker: SinkWorker = worker) -> None:
                if worker.stop(SINK_DRAIN_S):
                    self.post(Report(f"sink {name}", "stopped"))

            threading.Thread(target=stop, name=f"stop sink {name}", daemon=True).start()

    def _exit(self, action: Exit) -> ExitCode:
        for p in self.pipelines.values():
            p.mailbox.drain()
        for name in action.hanging:
            self.errors.append(
                EdgedError(f"{name} did not stop in time", hint="report this with the journal")
            )
        gc.unfreeze()
        return action.code

    # Telling: errors once, changes of state as events.

    def _tell(self, event: Happening) -> None:
        if not isinstance(event, Report) or event.phase == "stopped":
            return
        if event.error is not None:
            self._error(event.unit, event.error)
        name = event.unit.removeprefix("pipeline ")
        if name in self.pipelines and name != event.unit:
            self.pipelines[name].state = event.phase
        was = self._states.get(event.unit)
        if was == event.phase:
            return
        self._states[event.unit] = event.phase
        self._event_seq += 1
        body = Event(
            device=self.identity.device,
            session_id=self.identity.session_id,
            seq=self._event_seq,
            at=time.time_ns(),
            unit=event.unit,
            state=event.phase,
            was=was,
            reason="" if event.error is None else event.error.message,
        )
        self._publish(body)
        if name != event.unit:
            self._publish(self._state("online"))
        if self._on_event is not None:
            self._on_event(body)

    def _state(self, state: Literal["online", "offline"]) -> State:
        pipelines = {n: p.state for n, p in self.pipelines.items()}
        who = self.identity
        return State(
            device=who.device, session_id=who.session_id, state=state, at=time.time_ns(), pipelines=pipelines
        )

    def _publish(self, body: State | Event) -> None:
        cls: Literal["state", "event"] = "state" if isinstance(body, State) else "event"
        seq = body.at if isinstance(body, State) else body.seq
        message = Message(topic(body.device, cls), cls, (body.session_id, "daemon", seq), body)
        for worker in self.sinks.values():
            worker.offer(message)

    def _error(self, unit: str, error: EdgedError) -> None:
        self.errors.append(error)
        del self.errors[:-100]
        log.error("%s: %s", unit, error)


def _makers(model: Model, entry: ModelConfig) -> tuple[Callable[[], Engine], Callable[[Engine], Parser]]:
    def engine() -> Engine:
        return make_engine(model, entry)

    def parser(loaded: Engine) -> Parser:
        made: Parser = registry.load("parsers", model.output.parser)(model)
        made.check(loaded.outputs)
        return made

    return engine, parser


_STOP: dict[Kind, Callable[[Daemon], None]] = {
    "source": Daemon._stop_sources,
    "runner": Daemon._stop_runners,
    "sink": Daemon._stop_sinks,
    "remote-sink": lambda _: None,  # with "sink"
    "pipeline": lambda _: None,
}


def _on_signals(asked: threading.Event) -> dict[int, Any]:
    """SIGTERM and SIGINT ask once; the second one ends the process at once, by the signal's own default."""

    def handler(number: int, _: FrameType | None) -> None:
        asked.set()
        signal.signal(number, signal.SIG_DFL)

    return {n: signal.signal(n, handler) for n in (signal.SIGTERM, signal.SIGINT)}
