"""From a configuration to its parts: sinks, pipelines, runners, sources. No thread starts, nothing is opened.

At boot everything is built; of a change only what is different, and the rest is what runs already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import msgspec

from edged import registry
from edged.changes import Difference, difference
from edged.config.schema import Backend, Config, ModelConfig
from edged.config.words import join
from edged.engines.choose import make_engine
from edged.errors import ConfigError, EdgedError, ModelError, Problem
from edged.framesets import SyncGroup
from edged.interfaces import Device, Engine, Sink, Source, Stream
from edged.mailbox import Bell
from edged.messages import Identity, ModelId
from edged.models.model import Model
from edged.models.plans import PlanStore
from edged.parsers.base import Parser
from edged.parts import Parts
from edged.pipeline import Pipeline
from edged.runner import Runner
from edged.sinks.worker import SinkWorker
from edged.sources.unit import SourceUnit
from edged.sources.ways import Served
from edged.units import Report

Post = Callable[[Report], None]
T = TypeVar("T")


def _make_source(name: str, entry: Backend) -> Source:
    source: Source = registry.load("sources", entry.kind)(name, entry.options)
    return source


def _make_sink(name: str, entry: Backend, identity: Identity) -> Sink:
    sink: Sink = registry.load("sinks", entry.kind)(name, entry.options, identity)
    return sink


def _make_parser(model: Model) -> Parser:
    made = registry.load("parsers", model.output.parser)
    try:
        parser: Parser = made(model)
    except EdgedError:
        raise
    except Exception as e:  # of a third party's
        raise ModelError(
            f"parser '{model.output.parser}' cannot be built: {type(e).__name__}: {e}",
            hint="report it to whoever made it (see parsers/base.py)",
        ) from e
    return parser


@dataclass(frozen=True, slots=True)
class Makers:
    """How parts are made: by the registry, unless a benchmark or a test puts its own in place."""

    source: Callable[[str, Backend], Source] = _make_source
    # in its runner's thread; the store is that of runtime.state_dir
    engine: Callable[[Model, ModelConfig, Device, Stream, PlanStore], Engine] = make_engine
    parser: Callable[[Model], Parser] = _make_parser  # in its runner's thread
    sink: Callable[[str, Backend, Identity], Sink] = _make_sink


REGISTERED = Makers()


@dataclass(frozen=True, slots=True)
class Builder:
    """What all parts of a run share. `devices`: by the number of the GPU that models name.

    `frames`: how many frames each pipeline gives out at most.
    """

    identity: Identity
    devices: Mapping[int, Device]
    post: Post
    plans: PlanStore
    frames: int | None = None
    makers: Makers = REGISTERED

    def all(self, config: Config, models: Mapping[str, Model]) -> Parts:
        """Everything; `models`: what config.models loaded to."""
        nothing = msgspec.structs.replace(
            config, models={}, sources={}, sinks={}, pipelines={}, sync_groups={}
        )
        return self.changed(Parts(nothing), config, models, difference(nothing, config, {}, models), 0)

    def changed(
        self, old: Parts, config: Config, models: Mapping[str, Model], what: Difference, era: int
    ) -> Parts:
        """What is to run after a change: parts of `old`, and new ones, which report under `era`."""
        return _Assembly(self, old, config, models, what, era).parts()

    def device(self, config: Config, model: str) -> Device:
        """ConfigError for a GPU that was not in use when edged started."""
        gpu = config.models[model].gpu
        for device in self.devices.values() if gpu not in self.devices else ():
            if device.name == "cpu":
                return device
        if gpu not in self.devices:
            path = join(join("models", model), "gpu")
            message = f"GPU {gpu} was not in use when edged started"
            raise ConfigError(config.file, [Problem(path, message, "restart edged with this file")])
        return self.devices[gpu]


class _Assembly:
    """One building of parts; see Builder.changed. No part holds it: it holds the parts of before."""

    def __init__(
        self,
        builder: Builder,
        old: Parts,
        config: Config,
        models: Mapping[str, Model],
        what: Difference,
        era: int,
    ) -> None:
        self._builder, self._old, self._config, self._models, self._what = builder, old, config, models, what
        post = builder.post
        self._post: Post = post if era == 0 else lambda r: post(replace(r, era=era))

    def parts(self) -> Parts:
        c, old, what = self._config, self._old, self._what
        sinks = self._kept(c.sinks, old.sinks, what.sinks.start, self._sink)
        sources = self._sources()
        live = {n: s.live for n, s in sources.items()}
        groups = self._kept(c.sync_groups, old.sync_groups, what.sync_groups.start, self._sync_group)
        bells = {
            n: Bell() if n in what.models.start else self._bell(n)
            for n in {p.model for p in c.pipelines.values()}
        }

        def pipeline(name: str) -> Pipeline:
            p = c.pipelines[name]
            return self._pipeline(name, live[p.source], sinks, groups, bells[p.model])

        pipelines = self._kept(c.pipelines, old.pipelines, what.pipelines.start, pipeline)
        runners = self._runners(pipelines, live, bells)
        served = {
            f"source {n}": {
                p: [r for r in runners.values() if r.model == c.pipelines[p.name].model]
                for p in pipelines.values()
                if c.pipelines[p.name].source == n
            }
            for n in sources
        }
        slots = {f"source {n}": _slots(s, served[f"source {n}"]) for n, s in sources.items()}
        units = {
            n: old.sources[n]
            if n in old.sources and old.sources[n].source is source
            else self._unit(n, source, served[n], slots[n])
            for n, source in ((f"source {n}", s) for n, s in sources.items())
        }
        return Parts(c, self._models, sinks, groups, pipelines, runners, units, served, slots)

    def _kept(
        self, names: Mapping[str, object], old: Mapping[str, T], new: Sequence[str], make: Callable[[str], T]
    ) -> dict[str, T]:
        return {n: make(n) if n in new else old[n] for n in names}

    def _sink(self, name: str) -> SinkWorker:
        entry, unit, post = self._config.sinks[name], f"sink {name}", self._post
        sink = self._builder.makers.sink(name, entry, self._builder.identity)

        def report(_: str, state: str, error: EdgedError | None) -> None:
            post(Report(unit, "faulted" if state == "faulted" else "running", error))

        return SinkWorker(name, sink, entry.deliver, report, before=self._old.sinks.get(name))

    def _sources(self) -> dict[str, Source]:
        """By their names in the configuration; those that no pipeline uses are not made."""
        c, made = self._config, {}
        used = {p.source for p in c.pipelines.values()}
        for name, entry in c.sources.items():
            if name in self._what.sources.start:
                made[name] = self._builder.makers.source(name, entry)
            elif name in used:
                made[name] = self._old.sources[f"source {name}"].source
        return made

    def _sync_group(self, name: str) -> SyncGroup:
        members = [n for n, p in self._config.pipelines.items() if p.sync_group == name]
        before = self._old.sync_groups.get(name)
        return SyncGroup(name, self._config.sync_groups[name].tolerance_ms, members, before)

    def _pipeline(
        self,
        name: str,
        live: bool,
        sinks: Mapping[str, SinkWorker],
        groups: Mapping[str, SyncGroup],
        bell: Bell,
    ) -> Pipeline:
        entry = self._config.pipelines[name]
        model = self._models[entry.model]
        return Pipeline(
            name,
            entry,
            self._builder.identity,
            ModelId(model.name, model.version, model.sha256),
            model.output.labels,
            [sinks[s].offer for s in entry.sinks],
            bell,
            self._post,
            live=live,
            limit=self._builder.frames,
            sync=None if entry.sync_group is None else groups[entry.sync_group],
            after=self._old.pipelines.get(name),
        )

    def _bell(self, model: str) -> Bell:
        return next(r.bell for r in self._old.runners.values() if r.model == model)

    def _runners(
        self, pipelines: Mapping[str, Pipeline], live: Mapping[str, bool], bells: Mapping[str, Bell]
    ) -> dict[str, Runner]:
        """Of the models that some pipeline uses."""
        runners: dict[str, Runner] = {}
        for name in self._config.models:
            users = [p for p in pipelines.values() if self._config.pipelines[p.name].model == name]
            if name in self._what.models.start:
                runners.update((r.name, r) for r in self._instances(name, users, live, bells[name]))
            else:
                runners.update((n, r) for n, r in self._old.runners.items() if r.model == name and users)
        return runners

    def _instances(
        self, name: str, users: Sequence[Pipeline], live: Mapping[str, bool], bell: Bell
    ) -> Iterator[Runner]:
        entry, model, builder = self._config.models[name], self._models[name], self._builder
        adapts = entry.in_flight is None
        if adapts:  # where no source is live, no frame grows old by waiting on the device
            alive = any(live[p.config.source] for p in users)
            entry = msgspec.structs.replace(entry, in_flight=1 if alive else 2)
        for i in range(entry.instances):
            yield Runner(
                f"model {name}#{i}" if entry.instances > 1 else f"model {name}",
                name,
                builder.device(self._config, name),
                lambda device, stream: builder.makers.engine(model, entry, device, stream, builder.plans),
                partial(builder.makers.parser, model),
                model.input,
                users,
                bell,
                self._post,
                in_flight=entry.in_flight or 1,
                adapts=adapts,
                priority=entry.priority,
            )

    def _unit(self, name: str, source: Source, served: Served, slots: int) -> SourceUnit:
        # every GPU sees the slots: they are pinned host memory
        device = self._builder.device(self._config, next(iter(served)).config.model)
        return SourceUnit(name, source, device, served, slots, self._post)


def _slots(source: Source, served: Served) -> int:
    """One is being filled, a camera's driver holds extra ones; each pipeline has one in its mailbox and some on the
    device.
    """
    extra: int = getattr(source, "extra_slots", 0)
    return 1 + extra + sum(1 + sum(r.in_flight for r in runners) for runners in served.values())
