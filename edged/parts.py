"""What runs, or is to run, by name: values that are never changed, only replaced, so that any thread may read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from edged.backoff import Backoff
from edged.config.schema import Config
from edged.escalation import Kind
from edged.framesets import SyncGroup
from edged.models.model import Model
from edged.pipeline import Pipeline
from edged.runner import Runner
from edged.sinks.worker import SinkWorker
from edged.sources.unit import SourceUnit
from edged.sources.ways import Served
from edged.units import Unit


@dataclass(frozen=True, slots=True)
class Parts:
    """Units of models and sources are keyed by their units' names ("model yolox#0", "source front"), the rest by those
    of the configuration. `served`: of each source, who takes the frames of its pipelines. `slots`: how many of them
    exist at once at most. `models`: what config.models loaded to.
    """

    config: Config = field(default_factory=Config)
    models: Mapping[str, Model] = field(default_factory=dict)
    sinks: Mapping[str, SinkWorker] = field(default_factory=dict)
    sync_groups: Mapping[str, SyncGroup] = field(default_factory=dict)
    pipelines: Mapping[str, Pipeline] = field(default_factory=dict)
    runners: Mapping[str, Runner] = field(default_factory=dict)
    sources: Mapping[str, SourceUnit] = field(default_factory=dict)
    served: Mapping[str, Served] = field(default_factory=dict)
    slots: Mapping[str, int] = field(default_factory=dict)

    @property
    def units(self) -> dict[str, Unit]:
        return {**self.sources, **self.runners}

    @property
    def backoffs(self) -> dict[str, Backoff]:
        """Of cameras."""
        return {n: b for n, s in self.sources.items() if (b := s.source.backoff) is not None}

    @property
    def kinds(self) -> dict[str, Kind]:
        """Of every unit, sink and pipeline, by the names that they report under."""
        kinds: dict[str, Kind] = {
            f"sink {n}": "remote-sink" if w.remote else "sink" for n, w in self.sinks.items()
        }
        cameras = self.backoffs
        kinds |= {n: "camera" if n in cameras else "source" for n in self.sources}
        kinds |= dict.fromkeys(self.runners, "runner")
        kinds |= {f"pipeline {n}": "pipeline" for n in self.pipelines}
        return kinds

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """The units that each pipeline stands on, its source first."""
        return {
            p.name: (source, *(r.name for r in runners))
            for source, served in self.served.items()
            for p, runners in served.items()
        }

    def named(self) -> Iterator[tuple[str, object]]:
        """Everything that reports, by the name that it reports under."""
        yield from ((f"sink {n}", w) for n, w in self.sinks.items())
        yield from self.sources.items()
        yield from self.runners.items()
        yield from ((f"pipeline {n}", p) for n, p in self.pipelines.items())
