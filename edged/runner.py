"""The stage loop, the only place where stages meet: mailbox → preprocess → engine → decode → pipeline.

One runner is one instance of a model: its thread, its stream, its engine and tensors. It serves the
mailboxes of N pipelines; how a pipeline's frames become the model's input is set by the thread of its source
(`fit`), which knows them. On completion of job k it takes the freshest frame, launches it, and only then
parses k, so that one job is on the device while another is parsed. `in_flight = 2` queues one ahead.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from edged.errors import EdgedError, EngineError, ModelError
from edged.frames import FrameSpec
from edged.interfaces import Device, Engine, Event, Execution, Preprocess, Stream
from edged.mailbox import Bell
from edged.memory import Want
from edged.parsers.base import Parsed, Parser
from edged.pipeline import Job, Pipeline
from edged.tensors import ImageInput, TensorSpec, TensorView
from edged.units import Report, Unit

LOOK_S = 0.001  # with in_flight = 2: how late a frame that comes during an inference is queued behind it


@dataclass(slots=True, eq=False)
class Ticket:
    """One set of tensors and the execution bound to them; a job holds one from launch to the end of parse."""

    views: Mapping[str, TensorView]
    execution: Execution
    job: Job | None = None  # from launch until its pipeline has it back
    preprocess: Preprocess | None = None  # the job's
    reading: bool = False  # the device may still read the frame: its lease is held
    start: Event | None = None
    ready: Event | None = None  # the input is filled
    done: Event | None = None


class Runner(Unit):
    """See the module. `model` is its name in the configuration; `make_*` are called in the runner's thread.

    It serves every pipeline of `pipelines`, in turn.
    """

    def __init__(
        self,
        name: str,
        model: str,
        device: Device,
        make_engine: Callable[[], Engine],
        make_parser: Callable[[], Parser],
        image: ImageInput,
        pipelines: Sequence[Pipeline],
        bell: Bell,
        post: Callable[[Report], None],
        *,
        in_flight: int = 1,
        priority: int = 0,
    ) -> None:
        super().__init__(name, post)
        self.model = model
        self.in_flight = in_flight
        self._device = device
        self._make_engine, self._make_parser = make_engine, make_parser
        self._image = image
        self._bell = bell
        self._priority = priority
        self._engine: Engine | None = None
        self._parser: Parser | None = None
        self._stream: Stream | None = None
        self._tickets: list[Ticket] = []
        self._free: deque[Ticket] = deque()
        self._flying: deque[Ticket] = deque()
        self._pipelines = tuple(pipelines)
        self._preprocess: dict[Pipeline, Preprocess] = {}  # entries change while no frame of theirs is about
        self._closing = ExitStack()

    # In any thread, once prepared.

    def plan(self) -> dict[str, Sequence[Want]]:
        """What the runner will allocate: its tensors, a set a ticket, and the engine's workspace."""
        assert self._engine is not None
        tensors = (*self._engine.inputs, *self._engine.outputs)
        wants = [Want.tensor(t, f"ticket{i}.{t.name}") for i in range(self.in_flight + 1) for t in tensors]
        return {self.name: [*wants, *self._engine.wants()]}

    def preprocessor(self, name: str, spec: FrameSpec) -> Preprocess:
        """A way, not yet bound, from frames of `spec` to the model's input: for `fit`. ModelError if there is none."""
        return self._device.preprocessor(name, spec, self._input_spec(), self._image)

    # In the thread of a pipeline's source, while no frame of the pipeline is about.

    def fit(self, pipeline: Pipeline, preprocess: Preprocess) -> None:
        """From now on frames of `pipeline` come in through `preprocess`, which is bound and stays so."""
        self._preprocess[pipeline] = preprocess

    def _input_spec(self) -> TensorSpec:
        assert self._engine is not None
        for t in self._engine.inputs:
            if t.name == self._image.tensor:
                return t
        names = ", ".join(t.name for t in self._engine.inputs)
        raise EngineError(
            f"{self.name}: the model has no input '{self._image.tensor}'; it has {names}",
            hint="set [input] tensor in model.toml",
        )

    # The unit's steps, in the runner's thread.

    def prepare(self) -> None:
        self._engine = self._make_engine()
        self._closing.callback(self._engine.close)
        self._parser = self._make_parser()
        self._parser.check(self._engine.outputs)

    def work(self) -> None:
        self._allocate()
        self.say_running()
        while True:
            self._fill()
            if self._flying:
                self._finish(self._flying[0])
            elif not self.stopping:
                self._idle()
            elif not self._any_ready():
                return

    def stop(self) -> None:
        """As of every unit; frames that wait in mailboxes are finished first."""
        super().stop()
        self._bell.ring()

    def release(self) -> None:
        self._closing.close()

    def _allocate(self) -> None:
        engine = self._engine
        assert engine is not None
        region = self.allocate(self._device, self.plan())[self.name]
        self._closing.callback(self.free)
        self._closing.callback(self._give_back)
        self._stream = stream = self._device.stream(self._priority, f"{self.name} stream")
        # first of all when closing: from then on nothing reads a frame or writes a tensor
        self._closing.callback(stream.close)
        for i in range(self.in_flight + 1):
            views = {
                t.name: region.tensor(t, f"ticket{i}.{t.name}") for t in (*engine.inputs, *engine.outputs)
            }
            ticket = Ticket(views, engine.bind(views, region))
            self._tickets.append(ticket)
            engine.warm_up(ticket.execution, stream)
        self._free.extend(self._tickets)
        region.freeze()

    def _give_back(self) -> None:
        """Close the executions; jobs that a fault left behind are counted as failed, and their leases end."""
        for ticket in self._tickets:
            job, ticket.job = ticket.job, None
            if job is not None:
                if ticket.reading:
                    job.frame.release()
                job.pipeline.complete(job, None)
            ticket.execution.close()

    # The loop's steps.

    def _any_ready(self) -> bool:
        with self._bell.condition:
            return any(p.ready_locked() for p in self._pipelines)

    def _idle(self) -> None:
        with self._bell.condition:
            self._bell.condition.wait_for(
                lambda: self.stopping or any(p.ready_locked() for p in self._pipelines)
            )

    def _take(self) -> Job | None:
        """The freshest frame of the pipeline that was served longest ago, by whichever instance of the model.

        So while a frame of one pipeline waits, no other is served twice, however many frames that one has.
        """
        with self._bell.condition:
            ready = (p for p in self._pipelines if p.ready_locked())
            pipeline = min(ready, key=lambda p: p.served, default=None)
            return None if pipeline is None else pipeline.take_locked()

    def _fill(self) -> None:
        while len(self._flying) < self.in_flight:
            job = self._take()
            if job is None:
                return
            self._launch(self._free.popleft(), job)

    def _launch(self, ticket: Ticket, job: Job) -> None:
        stream = self._stream
        assert stream is not None
        ticket.job, ticket.reading = job, True
        ticket.preprocess = preprocess = self._preprocess[job.pipeline]
        self._flying.append(ticket)
        job.launched_ns = time.monotonic_ns()
        ticket.start = stream.record()
        preprocess.enqueue(job.frame, ticket.views[self._image.tensor], 0, stream)
        ticket.ready = stream.record()
        ticket.execution.enqueue(stream)
        ticket.done = stream.record()

    def _finish(self, ticket: Ticket) -> None:
        """Wait for the oldest job, launch the next, parse, hand over. What fails is left to `release`."""
        job = ticket.job
        assert job is not None
        self._wait(ticket, job)
        self._flying.popleft()
        ticket.reading = False
        job.frame.release()
        self._fill()  # the device first, then the parsing
        assert ticket.preprocess is not None
        parsed = self._parse(ticket, ticket.preprocess)
        ticket.job = None
        self._free.append(ticket)
        job.pipeline.complete(job, parsed)

    def _wait(self, ticket: Ticket, job: Job) -> None:
        """Meanwhile, queue ahead what comes. Raises what preprocessing or the engine raised on the stream."""
        stream, start, ready, done = self._stream, ticket.start, ticket.ready, ticket.done
        assert stream is not None
        assert start is not None
        assert ready is not None
        assert done is not None
        while not done.wait(LOOK_S if len(self._flying) < self.in_flight else None):
            self._fill()
        job.done_ns = time.monotonic_ns()
        ready.wait()  # long past; raises what preprocessing raised
        job.preprocess_ms = stream.elapsed_ms(start, ready)
        job.engine_ms = stream.elapsed_ms(ready, done)

    def _parse(self, ticket: Ticket, preprocess: Preprocess) -> Parsed:
        parser, engine = self._parser, self._engine
        assert parser is not None
        assert engine is not None
        outputs = {t.name: ticket.views[t.name].host()[0] for t in engine.outputs}
        try:
            parsed = parser.finish(parser.decode(outputs), preprocess.geometry)
            if not isinstance(parsed, Parsed):  # None would pass for an inference that failed
                raise TypeError(f"finish returned {type(parsed).__name__}, not Parsed")
            return parsed
        except EdgedError:
            raise
        except Exception as e:
            raise ModelError(
                f"{self.name}: parser {type(parser).__name__} raised {type(e).__name__}: {e}",
                hint="no numbers may make a parser raise; report it to whoever made it (see parsers/base.py)",
            ) from e
