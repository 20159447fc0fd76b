"""A change as the main thread carries it out: from the parts that run to those that shall, in the steps of changing.py.

What is new was built beside what runs; by identity it is known what starts, what leaves and what stays. Nothing here
waits: threads do what they are told, and report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from edged.changes import Delta, Difference
from edged.happenings import Swap
from edged.parts import Parts
from edged.pipeline import Pipeline
from edged.sources.unit import Service, SourceUnit
from edged.units import Demand, Unit


@dataclass(slots=True)
class Transition:
    """See the module. `services`: what sources that stay will serve, once that was asked for (`demands`)."""

    old: Parts
    new: Parts
    era: int
    services: dict[str, Service] = field(default_factory=dict)

    @property
    def touched(self) -> tuple[str, ...]:
        """Pipelines that are added or replaced."""
        return tuple(n for n, p in self.new.pipelines.items() if p is not self.old.pipelines.get(n))

    @property
    def brings(self) -> dict[str, object]:
        """What is new, by the name that it reports under."""
        old = dict(self.old.named())
        return {n: part for n, part in self.new.named() if part is not old.get(n)}

    def swap(self) -> Swap:
        """What the core is to know of it."""
        new, brings, kinds = dict(self.new.named()), self.brings, self.new.kinds
        leaves = [n for n, part in self.old.named() if part is not new.get(n)]
        old_kinds = self.old.kinds
        sinks = [n for n in leaves if old_kinds[n] in ("sink", "remote-sink")]
        cameras = [n for n in leaves if _exclusive(self.old, n)]
        then = [
            n for n in brings if (sinks and n.startswith("sink ")) or (cameras and _exclusive(self.new, n))
        ]
        before = [*sinks, *(cameras if any(_exclusive(self.new, n) for n in then) else ())]
        units = [n for n in brings if kinds[n] != "pipeline"]
        return Swap(
            era=self.era,
            kinds={n: kinds[n] for n in brings},
            backoffs={n: b for n, b in self.new.backoffs.items() if n in brings},
            first=tuple(n for n in units if n not in then),
            before=tuple(before),
            then=tuple(then),
            leaves=tuple(leaves),
            serves=tuple(n for n, _ in self._serving()),
        )

    def demands(self, units: Iterable[Unit]) -> list[Demand]:
        """The memory that these want, and the sources that stay. Raises what has no way into a model."""
        demands = [unit.demand() for unit in units]
        for name, source in self._serving():
            self.services[name], demand = source.addition(self.new.served[name], self.new.slots[name])
            demands.append(demand)
        return demands

    def reroute(self) -> None:
        """Results go to the sinks that shall be: what is not open yet keeps them."""
        for parts in (self.old, self.new):
            for pipeline in parts.pipelines.values():
                names = (self.new.config.pipelines.get(pipeline.name) or pipeline.config).sinks
                pipeline.offers = tuple(self.new.sinks[n].offer for n in names if n in self.new.sinks)

    def commit(self) -> None:
        """Frames go the new ways. What leaves still gets its last ones done."""
        self.reroute()
        for name, pipeline in self.new.pipelines.items():
            pipeline.config = self.new.config.pipelines[name]
            if pipeline is not self.old.pipelines.get(name):
                pipeline.succeed()
        leaving = self._leaving()
        self._serve(leaving)
        for name, source in self._serving():
            source.serve(replace(self.services[name], change=self.era))
        for pipeline in leaving:
            runners = [r for r in self.old.runners.values() if r.model == pipeline.config.model]
            if not all(r.works for r in runners):  # nobody waits until it does again
                pipeline.drop()

    def settle(self) -> None:
        """What left has ended, or is waited for no longer."""
        self._serve(())
        for pipeline in self._leaving():
            pipeline.disown()
        for pipeline in self.new.pipelines.values():
            pipeline.inherit()
        for worker in self.new.sinks.values():
            worker.inherit()
        for group in self.new.sync_groups.values():
            group.inherit()

    def _leaving(self) -> list[Pipeline]:
        return [p for n, p in self.old.pipelines.items() if p is not self.new.pipelines.get(n)]

    def _serving(self) -> Iterator[tuple[str, SourceUnit]]:
        """The sources that stay and are to serve other pipelines."""
        for name, source in self.new.sources.items():
            if (
                source is self.old.sources.get(name)
                and self.new.served[name].keys() != self.old.served[name].keys()
            ):
                yield name, source

    def _serve(self, leaving: Iterable[Pipeline]) -> None:
        """Runners that stay serve what is new, and what leaves."""
        for name, runner in self.new.runners.items():
            if runner is self.old.runners.get(name):
                pipelines = (*self.new.pipelines.values(), *leaving)
                runner.serve([p for p in pipelines if p.config.model == runner.model])


def _exclusive(parts: Parts, name: str) -> bool:
    """Whether what this source opens can be opened only once."""
    source = parts.sources.get(name)
    return source is not None and source.source.exclusive


def restoration(parts: Parts, stopped: Iterable[str]) -> Difference:
    """Parts that a refused change has stopped, to be built again from the entries that they had."""
    stopped = set(stopped)
    sinks = tuple(n for n in parts.sinks if f"sink {n}" in stopped)
    sources = tuple(n for n in parts.config.sources if f"source {n}" in stopped)
    pipelines = tuple(n for n, p in parts.config.pipelines.items() if p.source in sources)
    return Difference(
        sinks=Delta(sinks, sinks), sources=Delta(sources, sources), pipelines=Delta(pipelines, pipelines)
    )
