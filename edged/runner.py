"""The stage loop, the only place where stages meet: mailbox → preprocess → engine → decode → pipeline.

One runner is one instance of a model: its thread, its stream, its engine and tensors. It serves the
mailboxes of N pipelines. On completion of job k it takes the freshest frame, launches it, and only then
parses k, so that one job is on the device while another is parsed. `in_flight = 2` queues one ahead.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edged.errors import EngineError
from edged.frames import FrameSpec
from edged.interfaces import Device, Engine, Event, Execution, Preprocess, Stream
from edged.mailbox import Bell
from edged.memory import Region, Want
from edged.parsers.base import Parser
from edged.pipeline import Job, Pipeline
from edged.tensors import ImageInput, TensorSpec, TensorView
from edged.units import Report, Unit

IDLE_S = 0.5  # how often an idle runner looks whether it should end


@dataclass(slots=True, eq=False)
class Ticket:
    """One set of tensors and the execution bound to them; a job holds one from launch to the end of parse."""

    views: Mapping[str, TensorView]
    execution: Execution
    job: Job | None = None
    start: Event | None = None
    ready: Event | None = None  # the input is filled
    done: Event | None = None


class Runner(Unit):
    """See the module. `make_engine` and `make_parser` are called in the runner's thread."""

    def __init__(
        self,
        name: str,
        device: Device,
        make_engine: Callable[[], Engine],
        make_parser: Callable[[Engine], Parser],
        image: ImageInput,
        bell: Bell,
        post: Callable[[Report], None],
        *,
        in_flight: int = 1,
        priority: int = 0,
    ) -> None:
        super().__init__(name, post)
        self.in_flight = in_flight
        self.region: Region | None = None
        self._device = device
        self._make_engine, self._make_parser = make_engine, make_parser
        self._image = image
        self._bell = bell
        self._priority = priority
        self._engine: Engine | None = None
        self._parser: Parser | None = None
        self._stream: Stream | None = None
        self._free: deque[Ticket] = deque()
        self._flying: deque[Ticket] = deque()
        self._pipelines: tuple[Pipeline, ...] = ()
        self._specs: dict[Pipeline, FrameSpec] = {}
        self._preprocess: dict[Pipeline, Preprocess] = {}
        self._turn = 0

    # Planning, in the supervisor's thread, between "prepared" and go().

    def plan(self, specs: Mapping[Pipeline, FrameSpec]) -> Sequence[Want]:
        """Say whom to serve and what their sources deliver; returns what the runner will allocate."""
        assert self._engine is not None
        self._specs = dict(specs)
        self._pipelines = tuple(specs)
        target = self._input_spec()
        self._preprocess = {
            p: self._device.preprocessor(f"{p.name}.", spec, target, self._image) for p, spec in specs.items()
        }
        tensors = (*self._engine.inputs, *self._engine.outputs)
        wants = [Want.tensor(t, f"ticket{i}.{t.name}") for i in range(self.in_flight + 1) for t in tensors]
        wants += self._engine.wants()
        for preprocess in self._preprocess.values():
            wants += preprocess.wants()
        self._wants = wants
        return wants

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
        self._parser = self._make_parser(self._engine)

    def work(self) -> None:
        self._allocate()
        while True:
            self._fill()
            if not self._flying:
                if self.stopping and not self._held():
                    return
                self._idle()
                continue
            ticket = self._flying.popleft()
            assert ticket.done is not None
            self._finish(ticket, self._wait(ticket))

    def release(self) -> None:
        for ticket in (*self._flying, *self._free):
            if ticket.job is not None:  # a fault ended the loop: what was taken is counted as failed
                ticket.job.frame.release()
                ticket.job.pipeline.complete(ticket.job, None)
                ticket.job = None
        self._flying.clear()
        if self._stream is not None:
            self._stream.close()
        for ticket in self._free:
            ticket.execution.close()
        self._free.clear()
        if self._engine is not None:
            self._engine.close()
        if self.region is not None:
            self.region.close()

    def _allocate(self) -> None:
        engine = self._engine
        assert engine is not None
        self.region = region = self._device.region(self.name, self._wants)
        self._stream = self._device.stream(self._priority)
        for preprocess in self._preprocess.values():
            preprocess.bind(region)
        for i in range(self.in_flight + 1):
            views = {
                t.name: region.tensor(t, f"ticket{i}.{t.name}") for t in (*engine.inputs, *engine.outputs)
            }
            execution = engine.bind(views, region)
            self._free.append(Ticket(views, execution))
            engine.warm_up(execution, self._stream)
        region.freeze()

    # The loop's steps.

    def _held(self) -> bool:
        """Whether a mailbox holds a frame that is still to be done before ending."""
        with self._bell.condition:
            return any(p.mailbox.peek_locked() is not None and not p.limit_reached for p in self._pipelines)

    def _idle(self) -> None:
        with self._bell.condition:
            self._bell.condition.wait_for(
                lambda: self.stopping or any(p.mailbox.peek_locked() for p in self._pipelines), IDLE_S
            )

    def stop(self) -> None:
        super().stop()
        self._bell.ring()

    def _take(self) -> Job | None:
        """The freshest frame of the pipeline whose turn it is: round robin over those that have one."""
        n = len(self._pipelines)
        with self._bell.condition:
            for k in range(n):
                index = (self._turn + k) % n
                job = self._pipelines[index].take_locked()
                if job is not None:
                    self._turn = (index + 1) % n
                    return job
        return None

    def _fill(self) -> None:
        while len(self._flying) < self.in_flight:
            job = self._take()
            if job is None:
                return
            self._launch(self._free.popleft(), job)

    def _launch(self, ticket: Ticket, job: Job) -> None:
        stream = self._stream
        assert stream is not None
        ticket.job = job
        self._flying.append(ticket)  # from here on `release` finds the job
        job.launched_ns = time.monotonic_ns()
        ticket.start = stream.record()
        self._preprocess[job.pipeline].enqueue(job.frame, ticket.views[self._image.tensor], 0, stream)
        ticket.ready = stream.record()
        ticket.execution.enqueue(stream)
        ticket.done = stream.record()

    def _wait(self, ticket: Ticket) -> EngineError | None:
        """Wait for the job; the frame's lease ends with it. Returns the job's own failure."""
        job, stream = ticket.job, self._stream
        assert job is not None
        assert stream is not None
        assert ticket.start is not None
        assert ticket.ready is not None
        assert ticket.done is not None
        try:
            while not ticket.done.wait(IDLE_S):
                pass
        except EngineError as e:
            return e
        finally:
            job.done_ns = time.monotonic_ns()
        job.preprocess_ms = stream.elapsed_ms(ticket.start, ticket.ready)
        job.engine_ms = stream.elapsed_ms(ticket.ready, ticket.done)
        return None

    def _finish(self, ticket: Ticket, error: EngineError | None) -> None:
        job = ticket.job
        assert job is not None
        assert self._parser is not None
        ticket.job = None
        job.frame.release()
        if error is not None:
            job.pipeline.complete(job, None)
            self._free.append(ticket)
            raise error
        self._fill()  # the device first, then the parsing
        outputs = {n: v.host()[0] for n, v in ticket.views.items() if n != self._image.tensor}
        geometry = self._preprocess[job.pipeline].geometry
        parsed = self._parser.finish(self._parser.decode(outputs), geometry)
        self._free.append(ticket)
        job.pipeline.complete(job, parsed)
