"""One pipeline of a configuration, made fit for measuring: unpaced, and publishing to this machine only."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from edged import registry
from edged.bench.results import Settings
from edged.config.schema import Backend, Config, DeliverConfig, ModelConfig, RuntimeConfig
from edged.config.words import join, suggest
from edged.errors import ConfigError, Problem
from edged.interfaces import Source
from edged.views import View

# kind of a source -> its options changed so that the reader sets the pace and it never ends
_UNPACED: dict[str, Callable[[Any], Any]] = {
    "video": lambda o: None if o.camera else replace(o, pace="max", loop=True),
    "images": lambda o: replace(o, rate=None, loop=True),
    "pattern": lambda o: replace(o, rate=None, frames=None),
}
SINK = "bench"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def choose(config: Config, name: str | None) -> str:
    """The pipeline to measure: `name`, or the only one. ConfigError otherwise."""
    names = list(config.pipelines)
    if name is None and len(names) == 1:
        return names[0]
    if name in names:
        return str(name)
    listing = ", ".join(names)
    if name is None:
        message = f"there are {len(names)} ({listing}), and one is measured at a time"
        raise ConfigError(config.file, [Problem("pipelines", message, "choose with --pipeline NAME")])
    message = f"there is no pipeline '{name}'"
    raise ConfigError(config.file, [Problem("pipelines", message, suggest(name, names, "pipelines"))])


def narrow(config: Config, pipeline: str) -> Config:
    """That pipeline alone, without a limit to its rate. Its sinks are kept only to be replaced.

    No memory budget: settings vary here.
    """
    p = replace(config.pipelines[pipeline], every=1, max_fps=None, sync_group=None)
    return replace(
        config,
        runtime=replace(config.runtime, memory_budget=RuntimeConfig().memory_budget),
        pipelines={pipeline: p},
        sources={p.source: config.sources[p.source]},
        models={p.model: config.models[p.model]},
        sinks={name: config.sinks[name] for name in p.sinks},
        sync_groups={},
        warnings=(),
    )


def unpaced(config: Config) -> Config | None:
    """The (narrowed) configuration with its source as fast as it can; None: it has a pace of its own (a camera)."""
    ((name, entry),) = config.sources.items()
    change = _UNPACED.get(entry.kind)
    options = None if change is None else change(entry.options)
    if options is None:
        return None
    return replace(config, sources={name: replace(entry, options=options)})


def publishing_to(config: Config, endpoint: str) -> Config:
    """The (narrowed) configuration with one ZeroMQ sink for all of its own, of the first one's encoding."""
    ((name, p),) = config.pipelines.items()
    encodings = [getattr(config.sinks[s].options, "encoding", None) for s in p.sinks]
    encoding = next((e for e in encodings if e is not None), "msgpack")
    options = registry.load("sinks", "zmq").Options(bind=endpoint, encoding=encoding)
    sink = Backend(kind="zmq", options=options, deliver=DeliverConfig(result="queue"))
    return replace(config, sinks={SINK: sink}, pipelines={name: replace(p, sinks=(SINK,))})


def make_source(config: Config) -> Source:
    """The (narrowed) configuration's source."""
    ((name, entry),) = config.sources.items()
    source: Source = registry.load("sources", entry.kind)(name, entry.options)
    return source


def model_entry(config: Config) -> ModelConfig:
    """The (narrowed) configuration's [models.X]."""
    (entry,) = config.models.values()
    return entry


def view_of(config: Config) -> View:
    """What the (narrowed) configuration's pipeline shows its model."""
    ((name, p),) = config.pipelines.items()
    return View(p.roi, p.dewarp, join("pipelines", name))


def settings_of(config: Config) -> Settings:
    """What the configuration says now, defaults resolved."""
    entry = model_entry(config)
    options = entry.options
    return Settings(
        threads=getattr(options, "threads", 0) or cores(),
        instances=entry.instances,
        spinning=bool(getattr(options, "spinning", False)),
    )


def in_flight_of(config: Config) -> int:
    """At pace max: where the configuration says nothing, assembly.py chooses by whether a source is live."""
    return model_entry(config).in_flight or 2


def with_settings(config: Config, s: Settings) -> Config:
    """The (narrowed) configuration with these settings of its model; in_flight stays as it is."""
    ((name, entry),) = config.models.items()
    options = replace(entry.options, threads=s.threads, spinning=s.spinning)
    changed = replace(entry, instances=s.instances, options=options)
    return replace(config, models={name: changed})


def with_in_flight(config: Config, in_flight: int) -> Config:
    """As it is, but for the jobs queued on the device; works with every engine."""
    ((name, entry),) = config.models.items()
    return replace(config, models={name: replace(entry, in_flight=in_flight)})


def can_tune(config: Config) -> bool:
    """Whether the engine has the options that --tune tries."""
    options = model_entry(config).options
    return hasattr(options, "threads") and hasattr(options, "spinning")
