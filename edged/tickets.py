"""What a runner holds for each job that is with it at once: tensors, an execution, and graphs.

A job on a device with graphs is one launch: preprocessing, inference and the copy of the outputs (or of the rows
that a detector's decode leaves of them), captured once for each ticket and each preprocessor. What changes from
frame to frame is described in mapped memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy.typing as npt

from edged.errors import EdgedError, FatalDeviceError, ModelError
from edged.frames import Frame, Memory
from edged.interfaces import Decode, Described, Device, Engine, Event, Execution, Graph, Preprocess, Stream
from edged.memory import Region, Want
from edged.parsers.base import Candidates, HeadParser, Parser, head_of
from edged.pipeline import Job
from edged.tensors import TensorSpec, TensorView


def ticket_wants(device: Device, engine: Engine, decode: Decode | None, tickets: int) -> list[Want]:
    """The tensors of each ticket, and what the host reads of the outputs where it cannot see them."""
    kind = device.tensor_memory
    tensors = (*engine.inputs, *engine.outputs)
    wants = [Want.tensor(t, f"ticket{i}.{t.name}", kind) for i in range(tickets) for t in tensors]
    if kind is Memory.DEVICE:
        wants += [
            Want.tensor(t, f"ticket{i}.{t.name}.host", Memory.MAPPED)
            for i in range(tickets)
            for t in _for_host(engine, decode)
        ]
    return wants if decode is None else [*wants, *decode.wants()]


def _for_host(engine: Engine, decode: Decode | None) -> list[TensorSpec]:
    """Outputs that the parser reads itself."""
    return [t for t in engine.outputs if decode is None or t.name != decode.tensor]


def find_decode(
    name: str, device: Device, parser: Parser, engine: Engine, tickets: int
) -> tuple[Decode | None, str]:
    """The device's part in reading the outputs, if parser and device have one, and in words where it is done."""
    head = head_of(parser)
    try:
        decode = None if head is None else device.decoder(f"{name}.decode", engine.outputs, head, tickets)
    except ModelError as e:
        return None, f"on the CPU: {e.message}"
    return decode, "on the CPU" if decode is None else "on the GPU"


@dataclass(slots=True, eq=False)
class Ticket:
    """One set of tensors and the execution bound to them; a job holds one from launch to the end of parse.

    `outputs` are rows of what the host sees, by name; `copies` bring them there. `decode`, if any, reads `decoded`.
    Used by the runner's thread.
    """

    index: int
    target: TensorView
    outputs: Mapping[str, npt.NDArray[Any]]
    copies: Sequence[tuple[TensorView, TensorView]]
    execution: Execution
    decode: Decode | None
    decoded: TensorView | None
    graphs: dict[Preprocess, Graph] = field(default_factory=dict)
    job: Job | None = None  # from launch until its pipeline has it back
    preprocess: Preprocess | None = None  # the job's
    reading: bool = False  # the device may still read the frame: its lease is held
    start: Event | None = None  # None: this job is not timed
    ready: Event | None = None  # the input is filled; None: nobody asks, or can tell (within a graph)
    done: Event | None = None

    @staticmethod
    def of(
        index: int, device: Device, engine: Engine, decode: Decode | None, region: Region, image: str
    ) -> Ticket:
        """Bound to its part of the runner's region; `image` is the input that pictures go to."""

        def view(t: TensorSpec, what: str = "") -> TensorView:
            return region.tensor(t, f"ticket{index}.{t.name}{what}")

        views = {t.name: view(t) for t in (*engine.inputs, *engine.outputs)}
        outputs = _for_host(engine, decode)
        seen = {t.name: views[t.name] for t in outputs}
        copies: list[tuple[TensorView, TensorView]] = []
        if device.tensor_memory is Memory.DEVICE:
            seen = {t.name: view(t, ".host") for t in outputs}
            copies = [(seen[t.name], views[t.name]) for t in outputs]
        rows = {name: v.host()[0] for name, v in seen.items()}
        decoded = None if decode is None else views[decode.tensor]
        return Ticket(index, views[image], rows, copies, engine.bind(views, region), decode, decoded)

    def launch(self, frame: Frame, preprocess: Preprocess, stream: Stream, *, timed: bool = True) -> None:
        """Queue a job: as one graph if there is one for this preprocessor. `timed`: `times` will be asked for."""
        graph = self.graphs.get(preprocess)
        if graph is None and self.graphs:
            raise RuntimeError(
                "a frame came through a way that was not captured: the engine may not run eagerly"
            )
        self.preprocess = preprocess
        self.start = stream.record() if timed else None
        if graph is None:
            preprocess.enqueue(frame, self.target, 0, stream)
            self.ready = stream.record()
            self._infer(stream)
        else:
            cast(Described, preprocess).describe(frame, 0, self.index)
            graph.launch()
            self.ready = graph.ready if timed else None
        self.done = stream.record()

    def times(self, stream: Stream) -> tuple[float, float] | None:
        """Preprocessing and inference with all that follows it, in ms on the device; None: it was not timed.

        Once `done` has been waited for; raises what preprocessing raised. Where nobody can tell the two apart (a driver
        that does not time events within graphs), the first is 0.
        """
        start, ready, done = self.start, self.ready, self.done
        if ready is not None:
            ready.wait()  # long past
        if start is None or done is None:
            return None
        if ready is None:
            return 0.0, stream.elapsed_ms(start, done)
        return stream.elapsed_ms(start, ready), stream.elapsed_ms(ready, done)

    def capture(self, preprocess: Preprocess, stream: Stream) -> None:
        """Record the graph of `preprocess`; raises what the stream or the engine has against it."""

        def work() -> None:
            cast(Described, preprocess).launch(self.target, 1, stream, self.index)
            stream.record()
            self._infer(stream)

        self.graphs[preprocess] = stream.capture(work)

    def candidates(self, parser: Parser) -> Candidates:
        """What the job found, once it is done."""
        if self.decode is None:
            return parser.decode(self.outputs)
        return cast(HeadParser, parser).narrow(self.decode.collect(0, self.index))

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
        if self.decode is not None and self.decoded is not None:
            self.decode.launch(self.decoded, stream, self.index)
        for target, source in self.copies:
            stream.copy(target, source)


def capture_new(tickets: Sequence[Ticket], preprocesses: Iterable[Preprocess], stream: Stream) -> str:
    """Graphs for the preprocessors that have none yet; those of others are closed. "", or why there are no graphs.

    An engine that was captured is not run eagerly any more (ONNX Runtime's memory belongs to the graphs then): the
    first capture decides for all, and one that fails later is raised.
    """
    current = dict.fromkeys(preprocesses)
    for ticket in tickets:
        ticket.forget([p for p in ticket.graphs if p not in current])
        for preprocess in current:
            if preprocess in ticket.graphs:
                continue
            try:
                ticket.capture(preprocess, stream)
            except FatalDeviceError:
                raise
            except EdgedError as e:
                if any(t.graphs for t in tickets):
                    raise
                return e.message
    return ""
