"""How frames of one source get into the runners of its pipelines: preprocessors, and the scratch memory that they need.

    find ► (admitted) ► bind: region, fit ► frames go through it ► its pipeline has ended ► unbind: unfit, region closed

Ways are found in any thread; the source's thread alone binds and unbinds them, while no frame of theirs is about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edged.frames import FrameSpec
from edged.interfaces import Preprocess
from edged.memory import Region
from edged.pipeline import Pipeline
from edged.runner import Runner

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
    """One for each pipeline and runner. `taken`: owners whose memory is still in use by ways that are to go."""
    for pipeline, runners in served.items():
        for runner in runners:
            owner = f"pipeline {pipeline.name} on {runner.name}"
            if owner in taken:
                owner += " (next)"
            with runner.device.current():
                preprocess = runner.preprocessor(owner, spec, pipeline.view)
            yield Way(owner, pipeline, runner, spec, preprocess)
