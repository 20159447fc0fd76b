"""What is different between two configurations: which parts a change starts and stops. Pure.

Equal entries are the same part, and it goes on undisturbed. A part that stands on another that is replaced is replaced
with it: a pipeline with its source, model or sync group. Where only its sinks are others, a pipeline stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from edged.config.schema import Config, PipelineConfig
from edged.config.words import join
from edged.errors import ConfigError, Problem
from edged.models.model import Model

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Delta:
    """Names of one kind of part. What is replaced is in both."""

    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()

    @staticmethod
    def between(old: Mapping[str, T], new: Mapping[str, T], replaced: Collection[str] = ()) -> Delta:
        """`replaced`: names that are not the same part even where their entries are equal."""
        same = {n for n, entry in new.items() if n in old and old[n] == entry and n not in replaced}
        return Delta(tuple(n for n in new if n not in same), tuple(n for n in old if n not in same))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.start + self.stop)


@dataclass(frozen=True, slots=True)
class Difference:
    """Sources and models are those that some pipeline uses; the others have no part."""

    sinks: Delta = Delta()
    sync_groups: Delta = Delta()
    models: Delta = Delta()
    sources: Delta = Delta()
    pipelines: Delta = Delta()


def difference(
    old: Config,
    new: Config,
    old_models: Mapping[str, Model],
    new_models: Mapping[str, Model],
    *,
    restart: Collection[str] = (),
    over: Collection[str] = (),
) -> Difference:
    """What is to start and stop. `restart`: sources to be replaced as they are. `over`: sources that have ended; one is
    replaced when a pipeline of it is.

    ConfigError for what cannot change while running.
    """
    _check_fixed(old, new)
    sinks = Delta.between(old.sinks, new.sinks)
    groups = Delta.between(_groups(old), _groups(new))
    models = Delta.between(_used_models(old, old_models), _used_models(new, new_models))
    sources = Delta.between(_used_sources(old), _used_sources(new), restart)
    pipelines = _pipelines(old, new, groups, models, sources)
    revived = {new.pipelines[n].source for n in pipelines.start} & {*over}
    if revived - sources.names:
        sources = Delta.between(_used_sources(old), _used_sources(new), {*restart, *revived})
        pipelines = _pipelines(old, new, groups, models, sources)
    return Difference(sinks, groups, models, sources, pipelines)


def _pipelines(old: Config, new: Config, groups: Delta, models: Delta, sources: Delta) -> Delta:
    def stands_on_new(p: PipelineConfig) -> bool:
        return p.source in sources.start or p.model in models.start or p.sync_group in groups.start

    replaced = {n for n, p in new.pipelines.items() if stands_on_new(p)}
    return Delta.between(_without_sinks(old), _without_sinks(new), replaced)


def _without_sinks(c: Config) -> dict[str, PipelineConfig]:
    return {n: msgspec.structs.replace(p, sinks=()) for n, p in c.pipelines.items()}


def _used_sources(c: Config) -> dict[str, object]:
    used = {p.source for p in c.pipelines.values()}
    return {n: entry for n, entry in c.sources.items() if n in used}


def _used_models(c: Config, models: Mapping[str, Model]) -> dict[str, object]:
    """With what their directories hold: a model whose file or model.toml is another is another model."""
    used = {p.model for p in c.pipelines.values()}
    return {n: (entry, models[n]) for n, entry in c.models.items() if n in used}


def _groups(c: Config) -> dict[str, object]:
    """With the pipelines whose results make a set complete."""
    return {
        n: (entry, sorted(p for p, pipeline in c.pipelines.items() if pipeline.sync_group == n))
        for n, entry in c.sync_groups.items()
    }


_FIXED = ("device", "runtime", "control")


def _check_fixed(old: Config, new: Config) -> None:
    problems = list(_fixed_problems(old, new))
    if problems:
        raise ConfigError(new.file, problems)


def _fixed_problems(old: Config, new: Config) -> Iterator[Problem]:
    for section in _FIXED:
        before, after = getattr(old, section), getattr(new, section)
        for key in before.__struct_fields__:
            if getattr(before, key) != getattr(after, key):
                yield Problem(
                    join(section, key), "cannot be changed while edged runs", "restart edged with this file"
                )
