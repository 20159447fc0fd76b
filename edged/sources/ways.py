"""How frames of one source get into the runners of its pipelines: preprocessors, and the scratch memory that they need.

    find ► (admitted) ► bind: region, fit ► frames go through it ► its pipeline has ended ► unbind: unfit, region closed

Ways are found in any thread; the source's thread alone binds and unbinds them, while no frame of theirs is about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

from edged.frames import FrameSpec
from edged.interfaces import Device, Preprocess
from edged.memory import Region, Want
from edged.pipeline import Pipeline
from edged.runner import Runner
from edged.units import Plan

Served = Mapping[Pipeline, Sequence[Runner]]  # who takes the frames of each pipeline of a source


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """How frames of `spec` of one pipeline get into one runner; `owner` names its scratch memory."""

    owner: str
    pipeline: Pipeline
    runner: Runner
    spec: FrameSpec
    preprocess: Preprocess

    def bind(self, region: Region | None) -> None:
        """`region`: its scratch memory, if it wants any and has it anew."""
        if region is not None:
            with self.runner.device.current():
                self.preprocess.bind(region)
        self.runner.fit(self.pipeline, self.preprocess)

    def unbind(self) -> None:
        """Before its memory goes."""
        self.runner.unfit(self.pipeline)


def find_ways(spec: FrameSpec, served: Served, taken: Collection[str] = ()) -> Iterator[Way]:
    """One for each pipeline and runner. `taken`: owners of ways that are still in use, and are to go."""
    for pipeline, runners in served.items():
        for runner in runners:
            owner = _free(f"pipeline {pipeline.name} on {runner.name}", taken)
            with runner.device.current():
                preprocess = runner.preprocessor(owner, spec, pipeline.view)
            yield Way(owner, pipeline, runner, spec, preprocess)


def _free(owner: str, taken: Collection[str]) -> str:
    """The name, or with a number the first that is not taken."""
    numbered = (f"{owner} ({n})" for n in count(2))
    return next(name for name in chain((owner,), numbered) if name not in taken)


def scratch(ways: Sequence[Way]) -> dict[str, Sequence[Want]]:
    """What these want besides what they have."""
    return {w.owner: wants for w in ways if (wants := w.preprocess.wants())}


class Ways:
    """Those of one source, used by its thread.

    `wanted`: those that frames go through. `bound`: the same, once they are bound, and some whose pipelines have left
    and still have frames with a runner. `allocate` and `forget` are the unit's.
    """

    def __init__(
        self, allocate: Callable[[Plan], Mapping[str, Region]], forget: Callable[[str], None]
    ) -> None:
        self.wanted: tuple[Way, ...] = ()
        self.bound: tuple[Way, ...] = ()
        self._allocate, self._forget = allocate, forget

    @property
    def some_linger(self) -> bool:
        return len(self.bound) > len(self.wanted)

    @property
    def owners(self) -> set[str]:
        """Of those that are in use."""
        return {w.owner for w in (*self.wanted, *self.bound)}

    def device_of(self, owner: str) -> Device | None:
        """None: it is no way's."""
        return next((w.runner.device for w in (*self.wanted, *self.bound) if w.owner == owner), None)

    def drop_others(self) -> None:
        """Unbind all that are not wanted; no frame of theirs is about."""
        self._drop([w for w in self.bound if w not in self.wanted])

    def drop_over(self) -> None:
        """Unbind those of pipelines that have left, once their last frame is done."""
        self._drop([w for w in self.bound if w not in self.wanted and w.pipeline.over])

    def _drop(self, gone: Sequence[Way]) -> None:
        for way in gone:
            way.unbind()
            self._forget(way.owner)
        self.bound = tuple(w for w in self.bound if w not in gone)

    def bind(self, fresh: Mapping[str, Region]) -> None:
        """Bind those that are wanted and are not bound, or have their memory anew."""
        for way in self.wanted:
            if way not in self.bound or way.owner in fresh:
                way.bind(fresh.get(way.owner))
        self.bound = self.wanted

    def change(self, served: Served, ways: tuple[Way, ...]) -> None:
        """While others are in use: bind `ways`, and want those of `served` alone. What fails leaves all as it was."""
        before = self.wanted
        self.wanted = (*before, *ways)  # where `device_of` looks
        try:
            fresh = self._allocate(scratch(ways))
            for way in ways:
                way.bind(fresh.get(way.owner))
        except BaseException:
            self.wanted = before
            self._drop(ways)
            raise
        for region in fresh.values():
            region.freeze()
        self.wanted = tuple(w for w in self.wanted if w.pipeline in served)
        self.bound = (*self.bound, *ways)

    def unbind_all(self) -> None:
        """A runner may outlive the source."""
        for way in self.bound:
            way.unbind()
