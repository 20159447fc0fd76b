"""The parts as the main thread reaches them: those that run, and while a change is on its way what comes and goes.

Keys are the roster's: a part that runs goes under its name, one that does not run yet or is to go under `key_of`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from edged.assembly import Builder
from edged.changes import Difference
from edged.config.schema import Config
from edged.happenings import Swap
from edged.models.model import Model
from edged.parts import Parts
from edged.pipeline import Offer, Pipeline
from edged.roster import key_of
from edged.sinks.worker import SinkWorker
from edged.transition import Transition
from edged.units import Demand, Unit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Thing:
    """A part, with the name and the number of the change under which it reports."""

    part: object
    name: str
    era: int


class Standing:
    """`parts`: what runs; replaced as a whole, any thread may read it. `transition`: the change on its way, if any."""

    def __init__(self, builder: Builder, config: Config, models: Mapping[str, Model]) -> None:
        self._builder = builder
        self._era = 0
        self.parts = builder.all(config, models)
        self.transition: Transition | None = None
        self.things = {name: Thing(part, name, 0) for name, part in self.parts.named()}

    def _all(self, kind: type[T]) -> list[T]:
        return [t.part for t in self.things.values() if isinstance(t.part, kind)]

    @property
    def units(self) -> list[Unit]:
        """Of all that is there; so the next two."""
        return self._all(Unit)  # type: ignore[type-abstract]

    @property
    def pipelines(self) -> list[Pipeline]:
        return self._all(Pipeline)

    @property
    def workers(self) -> list[SinkWorker]:
        return self._all(SinkWorker)

    @property
    def offers(self) -> tuple[Offer, ...]:
        """Of the sinks that run, or that shall: what is not open yet keeps what it is offered."""
        parts = self.parts if self.transition is None else self.transition.new
        return tuple(worker.offer for worker in parts.sinks.values())

    def unit(self, key: str) -> Unit:
        unit = self.things[key].part
        assert isinstance(unit, Unit)
        return unit

    def start(self, keys: Iterable[str]) -> None:
        for key in keys:
            part = self.things[key].part
            assert isinstance(part, (Unit, SinkWorker))
            part.start()

    def stop(self, key: str) -> None:
        """Ask a unit to end; of a pipeline, forget the frame that waits."""
        part = self.things[key].part
        if isinstance(part, Pipeline):
            part.drop()
        else:
            self.unit(key).stop()

    def demands(self, keys: Sequence[str]) -> list[Demand]:
        """The memory that these units want, and the change on its way."""
        units = [self.unit(key) for key in keys]
        if self.transition is not None:
            return self.transition.demands(units)
        return [unit.demand() for unit in units]

    # A change.

    def build(self, old: Parts, config: Config, models: Mapping[str, Model], what: Difference) -> Swap:
        """Build what is different, beside what runs. Raises what keeps a part from being built."""
        self._era += 1
        new = self._builder.changed(old, config, models, what, self._era)
        self.transition = Transition(old, new, self._era)
        brings = {
            key_of(n, self._era): Thing(part, n, self._era) for n, part in self.transition.brings.items()
        }
        self.things = {**self.things, **brings}
        return self.transition.swap()

    def commit(self) -> None:
        """What was built is what runs from now on."""
        assert self.transition is not None
        new, running = self.transition.new, dict(self.transition.new.named())

        def key(thing: Thing) -> str:
            runs = thing.part is running.get(thing.name)
            return thing.name if runs else key_of(thing.name, thing.era)

        self.things = {key(thing): thing for thing in self.things.values()}
        self.parts = new
        self.transition.commit()

    def settle(self) -> None:
        assert self.transition is not None
        self.transition.settle()

    def gone(self, key: str) -> None:
        """What was left behind has stopped."""
        self.things = {k: thing for k, thing in self.things.items() if k != key}

    def done(self, known: Collection[str]) -> Transition:
        """The change is over. Of what left, or came in vain, only what is still `known` stays: it hangs."""
        transition, self.transition = self.transition, None
        assert transition is not None
        self.things = {key: thing for key, thing in self.things.items() if key in known}
        return transition
