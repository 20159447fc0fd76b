"""What a runner holds for each job that is with it at once: tensors, an execution, and graphs.

A job on a device with graphs is one launch: preprocessing, inference and the copy of the outputs, captured
once for each ticket and each preprocessor. What changes from frame to frame is described in mapped memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy.typing as npt

from edged.frames import Frame, Memory
from edged.interfaces import Described, Device, Engine, Event, Execution, Graph, Preprocess, Stream
from edged.memory import Region, Want
from edged.pipeline import Job
from edged.tensors import TensorSpec, TensorView


def ticket_wants(device: Device, engine: Engine, tickets: int) -> list[Want]:
    """The tensors of each ticket, and what the host reads of the outputs where it cannot see them."""
    kind = device.tensor_memory
    tensors = (*engine.inputs, *engine.outputs)
    wants = [Want.tensor(t, f"ticket{i}.{t.name}", kind) for i in range(tickets) for t in tensors]
    if kind is Memory.DEVICE:
        wants += [
            Want.tensor(t, f"ticket{i}.{t.name}.host", Memory.MAPPED)
            for i in range(tickets)
            for t in engine.outputs
        ]
    return wants


@dataclass(slots=True, eq=False)
class Ticket:
    """One set of tensors and the execution bound to them; a job holds one from launch to the end of parse.

    `outputs` are rows of what the host sees, by name; `copies` bring them there. Used by the runner's thread.
    """

    index: int
    target: TensorView
    outputs: Mapping[str, npt.NDArray[Any]]
    copies: Sequence[tuple[TensorView, TensorView]]
    execution: Execution
    graphs: dict[Preprocess, Graph] = field(default_factory=dict)
    job: Job | None = None  # from launch until its pipeline has it back
    preprocess: Preprocess | None = None  # the job's
    reading: bool = False  # the device may still read the frame: its lease is held
    start: Event | None = None
    ready: Event | None = None  # the input is filled; None: nobody can tell (within a graph)
    done: Event | None = None

    @staticmethod
    def of(index: int, device: Device, engine: Engine, region: Region, image: str) -> Ticket:
        """Bound to its part of the runner's region; `image` is the input that pictures go to."""

        def view(t: TensorSpec, what: str = "") -> TensorView:
            return region.tensor(t, f"ticket{index}.{t.name}{what}")

        views = {t.name: view(t) for t in (*engine.inputs, *engine.outputs)}
        seen = {t.name: views[t.name] for t in engine.outputs}
        copies: list[tuple[TensorView, TensorView]] = []
        if device.tensor_memory is Memory.DEVICE:
            seen = {t.name: view(t, ".host") for t in engine.outputs}
            copies = [(seen[t.name], views[t.name]) for t in engine.outputs]
        rows = {name: v.host()[0] for name, v in seen.items()}
        return Ticket(index, views[image], rows, copies, engine.bind(views, region))

    def launch(self, frame: Frame, preprocess: Preprocess, stream: Stream) -> None:
        """Queue a job: as one graph if there is one for this preprocessor."""
        graph = self.graphs.get(preprocess)
        self.preprocess = preprocess
        self.start = stream.record()
        if graph is None:
            preprocess.enqueue(frame, self.target, 0, stream)
            self.ready = stream.record()
            self._infer(stream)
        else:
            cast(Described, preprocess).describe(frame, 0, self.index)
            graph.launch()
            self.ready = graph.ready
        self.done = stream.record()

    def capture(self, preprocess: Preprocess, stream: Stream) -> None:
        """Record the graph of `preprocess`; raises what the stream or the engine has against it."""

        def work() -> None:
            cast(Described, preprocess).launch(self.target, 1, stream, self.index)
            stream.record()
            self._infer(stream)

        self.graphs[preprocess] = stream.capture(work)

    def forget(self, gone: Sequence[Preprocess]) -> None:
        """Close the graphs of these."""
        for preprocess in gone:
            self.graphs.pop(preprocess).close()

    def close(self) -> None:
        """The stream must be done with it. Idempotent."""
        self.forget(tuple(self.graphs))
        self.execution.close()

    def _infer(self, stream: Stream) -> None:
        self.execution.enqueue(stream)
        for target, source in self.copies:
            stream.copy(target, source)
