"""The stage loop, the only place where stages meet: mailbox → preprocess → engine → decode → pipeline.

One runner is one instance of a model: its thread, its stream, its engine and tensors. It serves the
mailboxes of N pipelines; how a pipeline's frames become the model's input is set by the thread of its source
(`fit`), which knows them. On completion of job k it takes the freshest frame, launches it, and only then
parses k, so that one job is on the device while another is parsed. `in_flight = 2` queues one ahead.
One that fails lets go of all but the ways into it, and is made anew when the supervisor says so.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack

from edged.errors import EdgedError, EngineError, ModelError
from edged.frames import FrameSpec
from edged.interfaces import Decode, Device, Engine, Preprocess, Stream
from edged.mailbox import Bell
from edged.memory import Want
from edged.parsers.base import Parsed, Parser
from edged.pipeline import Job, Pipeline
from edged.tensors import ImageInput, TensorSpec
from edged.tickets import Ticket, capture_new, find_decode, ticket_wants
from edged.units import Report, Unit
from edged.views import WHOLE, View

# Between two looks at a job that may be done, where only looking tells: a frame that comes meanwhile ends the wait.
LOOK_S, MOST_LOOK_S = 0.0001, 0.005
# Of graphs, the first of a pipeline's jobs and one in so many are timed on the device: events cost as much time of the
# processor as all else that is done for a job, the launch left aside.
TIMED_EVERY = 4


class Runner(Unit):
    """See the module. `model` is its name in the configuration; `make_*` are called in the runner's thread.

    It serves every pipeline of `pipelines`, in turn. `in_flight`: jobs on the device at most; with `adapts` only one
    while a live pipeline is among them, whose frames would grow old. `busy_ns`: when the oldest of the jobs that are
    with it was launched (CLOCK_MONOTONIC); 0: there is none.
    """

    def __init__(
        self,
        name: str,
        model: str,
        device: Device,
        make_engine: Callable[[Device, Stream], Engine],
        make_parser: Callable[[], Parser],
        image: ImageInput,
        pipelines: Sequence[Pipeline],
        bell: Bell,
        post: Callable[[Report], None],
        *,
        in_flight: int = 1,
        adapts: bool = False,
        priority: int = 0,
    ) -> None:
        super().__init__(name, post)
        self.model = model
        self.in_flight = in_flight
        self.device = device
        self._make_engine, self._make_parser = make_engine, make_parser
        self._image = image
        self.bell = bell
        self.works = False  # it is loaded, and has not failed since
        self.busy_ns = 0
        self.usual_ns = 0  # from launch to completion
        self._priority = priority
        self._engine: Engine | None = None
        self._parser: Parser | None = None
        self._decode: Decode | None = None
        self._decodes = "on the CPU"
        self._input: TensorSpec | None = None  # that pictures go to, once it was asked for
        self._stream: Stream | None = None
        self._tickets: list[Ticket] = []
        self._free: deque[Ticket] = deque()
        self._flying: deque[Ticket] = deque()
        self._adapts = adapts
        self._ahead = in_flight  # jobs on the device, with those that it serves now
        self.serve(pipelines)
        self._preprocess: dict[Pipeline, Preprocess] = {}  # entries change while no frame of theirs is about
        self._changed = False  # they did: graphs are captured for the new ones
        self._captures = False
        self._work = "eager: not yet known"
        # the stages as the device's profiler is to name them; plain methods where it is not asked to
        self._launches, self._waits, self._parses = self._launch, self._wait, self._parse
        self._closing = ExitStack()

    # In any thread, once prepared.

    def plan(self) -> dict[str, Sequence[Want]]:
        """What the runner will allocate: its tensors, a set a ticket, and the engine's workspace."""
        assert self._engine is not None
        tickets = ticket_wants(self.device, self._engine, self._decode, self._count)
        return {self.name: [*tickets, *self._engine.wants()]}

    @property
    def facts(self) -> Mapping[str, str]:
        """How it works, in words: device, engine, where outputs are decoded, whether a job is a graph or why not."""
        engine = {} if self._engine is None else self._engine.facts
        return {**self.device.facts, **engine, "decode": self._decodes, "work": self._work}

    @property
    def limited(self) -> str:
        """Why the engine works, but not as asked (another one, memory while running); "": it does."""
        return "" if self._engine is None else self._engine.facts.get("limited", "")

    @property
    def _count(self) -> int:
        """Tickets: one a job on the device, and one for the job that is parsed meanwhile."""
        return self.in_flight + 1

    def preprocessor(self, name: str, spec: FrameSpec, view: View = WHOLE) -> Preprocess:
        """A way, not yet bound, from frames of `spec` to the model's input: for `fit`. ModelError if there is none."""
        return self.device.preprocessor(name, spec, self._input_spec(), self._image, self._count, view)

    # In the main thread.

    def serve(self, pipelines: Sequence[Pipeline]) -> None:
        """Take frames of these from now on, between two jobs; of those that are left out nothing is waiting."""
        with self.bell.condition:
            self.pipelines = tuple(pipelines)
            alone = self._adapts and any(p.live for p in pipelines)
            self._ahead = 1 if alone else self.in_flight
            self.bell.condition.notify_all()

    # In the thread of a pipeline's source, while no frame of the pipeline is about.

    def fit(self, pipeline: Pipeline, preprocess: Preprocess) -> None:
        """From now on frames of `pipeline` come in through `preprocess`, which is bound and stays so."""
        self._preprocess[pipeline] = preprocess
        self._changed = True
        self.bell.ring()

    def unfit(self, pipeline: Pipeline) -> None:
        """No frame of `pipeline` comes until it is fit again: what read its memory goes."""
        if self._preprocess.pop(pipeline, None) is not None:
            self._changed = True
            self.bell.ring()

    def _input_spec(self) -> TensorSpec:
        """Known still while the engine is loaded again."""
        engine = self._engine
        if self._input is not None:
            return self._input
        assert engine is not None
        self._input = next((t for t in engine.inputs if t.name == self._image.tensor), None)
        if self._input is not None:
            return self._input
        names = ", ".join(t.name for t in engine.inputs)
        raise EngineError(
            f"{self.name}: the model has no input '{self._image.tensor}'; it has {names}",
            hint="set [input] tensor in model.toml",
        )

    # The unit's steps, in the runner's thread.

    @property
    def recovers(self) -> bool:
        return True

    def current(self) -> AbstractContextManager[None]:
        return self.device.current()

    def devices(self) -> Sequence[Device]:
        return (self.device,)

    def device_of(self, owner: str) -> Device:
        return self.device

    def prepare(self) -> None:
        with self.calling("load"):
            self._load()

    def _load(self) -> None:
        self._stream = self.device.stream(self._priority, f"{self.name} stream")
        self._closing.callback(self._stream.close)
        self._launches = self.device.ranged(f"{self.name} launch", self._launch)
        self._waits = self.device.ranged(f"{self.name} wait", self._wait)
        self._parses = self.device.ranged(f"{self.name} parse", self._parse)
        self._engine = self._make_engine(self.device, self._stream)
        self._closing.callback(self._engine.close)
        self._parser = self._make_parser()
        self._parser.check(self._engine.outputs)
        self._decode, self._decodes = find_decode(
            self.name, self.device, self._parser, self._engine, self._count
        )

    def work(self) -> None:
        with self.calling("load"):
            self._allocate()
        self.works = True
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
        self.bell.ring()

    def release(self) -> None:
        with self.calling("unload"):
            self._closing.close()

    def let_go(self) -> None:
        """Of everything but the ways into it, which are the sources': as if it had not been prepared yet."""
        self.works = False
        try:
            self.release()
        finally:
            self._engine = self._parser = self._decode = self._stream = None
            for held in (self._tickets, self._free, self._flying):
                held.clear()
            self._changed, self.busy_ns = True, 0

    def _allocate(self) -> None:
        engine, stream = self._engine, self._stream
        assert engine is not None
        assert stream is not None
        self.usual_ns = 0
        region = self.allocate(self.plan())[self.name]
        self._closing.callback(self.free)
        self._closing.callback(self._give_back)
        # first of all when closing: from then on nothing reads a frame or writes a tensor
        self._closing.callback(stream.end)
        if self._decode is not None:
            self._decode.bind(region)
        for i in range(self._count):
            ticket = Ticket.of(i, self.device, engine, self._decode, region, self._image.tensor)
            self._tickets.append(ticket)
            begun = time.monotonic_ns()
            engine.warm_up(ticket.execution, stream)
            self.usual_ns = max(self.usual_ns, time.monotonic_ns() - begun)  # else the first may seem to hang
        self._free.extend(self._tickets)
        self._captures = self.device.graphs and not engine.eager
        why = engine.eager if self.device.graphs else f"{self.device.name} has no graphs"
        self._work = "graph" if self._captures else f"eager: {why}"
        region.freeze()

    def _give_back(self) -> None:
        """Close the tickets; jobs that a fault left behind are counted as failed, and their leases end."""
        for ticket in self._tickets:
            job, ticket.job = ticket.job, None
            if job is not None:
                if ticket.reading:
                    job.frame.release()
                job.pipeline.complete(job, None)
            ticket.close()

    def _capture(self) -> None:
        """Graphs for preprocessors that are new; those of others that are gone are closed."""
        self._changed = False
        assert self._stream is not None
        why = capture_new(self._tickets, self._preprocess.values(), self._stream) if self._captures else ""
        if why:
            self._captures, self._work = False, f"eager: {why}"

    # The loop's steps.

    def _any_ready(self) -> bool:
        with self.bell.condition:
            return self._any_ready_locked()

    def _any_ready_locked(self) -> bool:
        return any(p.ready_locked() for p in self.pipelines)

    def _idle(self) -> None:
        with self.bell.condition:
            self.bell.condition.wait_for(lambda: self.stopping or self._changed or self._any_ready_locked())

    def _listen(self, job: Job) -> None:
        """Until a frame comes (late, it would find the device idle) or half of what `job` still needs is over."""
        left_ns = (job.launched_ns + self.usual_ns - time.monotonic_ns()) // 2
        with self.bell.condition:
            # bounded: after one stall what is usual is too much for a while
            self.bell.condition.wait_for(self._any_ready_locked, min(max(LOOK_S, left_ns / 1e9), MOST_LOOK_S))

    def _take(self) -> Job | None:
        """The freshest frame of the pipeline that was served longest ago, by whichever instance of the model.

        So while a frame of one pipeline waits, no other is served twice, however many frames that one has.
        """
        with self.bell.condition:
            chosen: Pipeline | None = None
            for p in self.pipelines:
                if p.ready_locked() and (chosen is None or p.served < chosen.served):
                    chosen = p
            return None if chosen is None else chosen.take_locked()

    def _fill(self) -> None:
        if self._changed:
            self._capture()
        while len(self._flying) < self._ahead:
            begun = time.thread_time_ns()
            job = self._take()
            if job is None:
                return
            self._launches(self._free.popleft(), job)
            job.host_ns = time.thread_time_ns() - begun

    def _launch(self, ticket: Ticket, job: Job) -> None:
        stream = self._stream
        assert stream is not None
        ticket.job, ticket.reading = job, True
        self._flying.append(ticket)
        if self._changed:  # the frame may be the first of a pipeline that was fit meanwhile
            self._capture()
        job.launched_ns = time.monotonic_ns()
        self.busy_ns = self.busy_ns or job.launched_ns
        timed = not self._captures or job.order % TIMED_EVERY == 0
        ticket.launch(job.frame, self._preprocess[job.pipeline], stream, timed=timed)

    def _finish(self, ticket: Ticket) -> None:
        """Wait for the oldest job, launch the next, parse, hand over. What fails is left to `release`."""
        job, preprocess = ticket.job, ticket.preprocess
        assert job is not None
        assert preprocess is not None
        self._waits(ticket, job)
        begun = time.thread_time_ns()
        assert self._stream is not None
        job.device_ms = ticket.times(self._stream)
        self._flying.popleft()
        ticket.reading = False
        job.frame.release()
        job.copied = preprocess.copied
        job.host_ns += time.thread_time_ns() - begun
        self._fill()  # the device first, then the parsing
        parsed = self._parses(ticket, preprocess)
        ticket.job = None
        self._free.append(ticket)
        job.pipeline.complete(job, parsed)
        flying = self._flying[0].job if self._flying else None
        self.busy_ns = 0 if flying is None else flying.launched_ns

    def _wait(self, ticket: Ticket, job: Job) -> None:
        """Meanwhile, queue ahead what comes. Raises what preprocessing or the engine raised on the stream."""
        done = ticket.done
        assert done is not None
        while len(self._flying) < self._ahead and not done.wait(self.device.patience_s):
            if not self.device.patience_s:
                self._listen(job)
            self._fill()
        done.wait()
        self.usual_ns += (time.monotonic_ns() - job.launched_ns - self.usual_ns) // 8
        job.done_ns = time.monotonic_ns()

    def _parse(self, ticket: Ticket, preprocess: Preprocess) -> Parsed:
        parser = self._parser
        assert parser is not None
        try:
            parsed = parser.finish(ticket.candidates(parser), preprocess.geometry)
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
