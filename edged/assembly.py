"""From a configuration to its parts: sinks, pipelines, runners, sources. No thread starts, nothing is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from edged import registry
from edged.config.schema import Backend, Config, ModelConfig
from edged.engines.choose import make_engine
from edged.errors import EdgedError, ModelError
from edged.framesets import SyncGroup
from edged.interfaces import Device, Engine, Sink, Source, Stream
from edged.mailbox import Bell
from edged.messages import Identity, ModelId
from edged.models.model import Model
from edged.models.plans import PlanStore
from edged.models.state import plan_store
from edged.parsers.base import Parser
from edged.pipeline import Pipeline
from edged.runner import Runner
from edged.sinks.worker import SinkWorker
from edged.sources.unit import SourceUnit
from edged.supervisor import Kind
from edged.units import Report

Post = Callable[[Report], None]


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


class Assembly:
    """The parts by name. Units of models and sources are keyed by their units' names ("model yolox#0", "source front").

    `models`: what config.models loaded to. `devices`: by the number of the GPU that
    models name. `frames`: how many frames each pipeline gives out at most.
    """

    def __init__(
        self,
        config: Config,
        models: Mapping[str, Model],
        identity: Identity,
        devices: Mapping[int, Device],
        post: Post,
        *,
        frames: int | None,
        makers: Makers,
    ) -> None:
        self._config, self._models, self._identity, self._devices = config, models, identity, devices
        self._post, self._frames, self._makers = post, frames, makers
        self._plans = plan_store(config.runtime.state_dir)
        self._bells = {name: Bell() for name in config.models}
        self.kinds: dict[str, Kind] = {}  # of every unit and pipeline
        self.sinks = {name: self._sink(name, entry) for name, entry in config.sinks.items()}
        used = {p.source for p in config.pipelines.values()}
        sources = {n: makers.source(n, entry) for n, entry in config.sources.items() if n in used}
        self.sync_groups = {n: self._sync_group(n) for n in config.sync_groups}
        self.pipelines = {n: self._pipeline(n, sources[p.source].live) for n, p in config.pipelines.items()}
        self._entries = {n: self._settled(n, entry, sources) for n, entry in config.models.items()}
        self.runners = {r.name: r for name in config.models for r in self._instances(name)}
        self.sources = {s.name: s for s in (self._source(n, s) for n, s in sources.items())}
        self.backoffs = {n: b for n, s in self.sources.items() if (b := s.source.backoff) is not None}
        self.kinds.update({n: "camera" if n in self.backoffs else "source" for n in self.sources})
        self.kinds.update(dict.fromkeys(self.runners, "runner"))
        self.kinds.update({f"pipeline {n}": "pipeline" for n in self.pipelines})
        # the units that each pipeline stands on, its source first
        self.needs = {
            n: (f"source {p.config.source}", *(r.name for r in self._runners_of(p)))
            for n, p in self.pipelines.items()
        }

    def _sink(self, name: str, entry: Backend) -> SinkWorker:
        unit = f"sink {name}"
        sink = self._makers.sink(name, entry, self._identity)
        self.kinds[unit] = "remote-sink" if getattr(sink, "REMOTE", False) else "sink"

        def report(_: str, state: str, error: EdgedError | None) -> None:
            self._post(Report(unit, "faulted" if state == "faulted" else "running", error))

        return SinkWorker(name, sink, entry.deliver, report)

    def _sync_group(self, name: str) -> SyncGroup:
        members = [n for n, p in self._config.pipelines.items() if p.sync_group == name]
        return SyncGroup(name, self._config.sync_groups[name].tolerance_ms, members)

    def _pipeline(self, name: str, live: bool) -> Pipeline:
        entry = self._config.pipelines[name]
        model = self._models[entry.model]
        return Pipeline(
            name,
            entry,
            self._identity,
            ModelId(model.name, model.version, model.sha256),
            model.output.labels,
            [self.sinks[s].offer for s in entry.sinks],
            self._bells[entry.model],
            self._post,
            live=live,
            limit=self._frames,
            sync=None if entry.sync_group is None else self.sync_groups[entry.sync_group],
        )

    def _settled(self, name: str, entry: ModelConfig, sources: Mapping[str, Source]) -> ModelConfig:
        """With in_flight decided: where no source is live, no frame grows old by waiting on the device."""
        if entry.in_flight is not None:
            return entry
        live = any(sources[p.source].live for p in self._config.pipelines.values() if p.model == name)
        return replace(entry, in_flight=1 if live else 2)

    def _runners_of(self, pipeline: Pipeline) -> list[Runner]:
        return [r for r in self.runners.values() if r.model == pipeline.config.model]

    def _source(self, name: str, source: Source) -> SourceUnit:
        runners = {p: self._runners_of(p) for p in self.pipelines.values() if p.config.source == name}
        models = [self._entries[p.config.model] for p in runners]
        # one is being filled, a camera's driver holds extra ones; each pipeline has one in its mailbox and some
        # on the device
        slots = (
            1 + getattr(source, "extra_slots", 0) + sum(1 + (m.in_flight or 1) * m.instances for m in models)
        )
        # every GPU sees the slots: they are pinned host memory
        device = self._devices[models[0].gpu]
        return SourceUnit(f"source {name}", source, device, runners, slots, self._post)

    def _instances(self, name: str) -> list[Runner]:
        """The runners of a model; none when no pipeline uses it."""
        entry, model = self._entries[name], self._models[name]
        pipelines = [p for p in self.pipelines.values() if p.config.model == name]
        if not pipelines:
            return []
        return [
            Runner(
                f"model {name}#{i}" if entry.instances > 1 else f"model {name}",
                name,
                self._devices[entry.gpu],
                lambda device, stream: self._makers.engine(model, entry, device, stream, self._plans),
                partial(self._makers.parser, model),
                model.input,
                pipelines,
                self._bells[name],
                self._post,
                in_flight=entry.in_flight or 1,
                priority=entry.priority,
            )
            for i in range(entry.instances)
        ]
