"""What a runner promises, with any engine: order, fairness, leases, and nothing left behind by a fault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.config.schema import PipelineConfig
from edged.devices.cpu import CpuDevice
from edged.devices.cuda.device import CudaDevice
from edged.devices.cuda.memory import free_device_memory
from edged.engines.binding import call_on
from edged.engines.fake import Arrays, FakeEngine
from edged.engines.onnxruntime import OnnxRuntimeEngine
from edged.errors import DeviceError, EdgedError, EngineError, ExitCode, ModelError
from edged.frames import Frame, FrameSpec, Geometry, PixelFormat
from edged.interfaces import Device, Engine, Execution, Preprocess, Stream
from edged.mailbox import Bell
from edged.memory import Region, Slots, Want, wanted_bytes
from edged.messages import Identity, Message, ModelId, Result
from edged.models.model import Model, OutputSpec
from edged.parsers.base import Candidates, Outputs, Parsed
from edged.parsers.raw import RawParser
from edged.pipeline import Pipeline
from edged.runner import Runner
from edged.tensors import ImageInput, TensorSpec, TensorView
from tests import onnx_models
from tests.devices.available import REAL_GPU, opened
from tests.engines.fake_tensorrt import fake_tensorrt
from tests.engines.tensorrt_rig import tensorrt_of
from tests.rig import SPEC, Post, make_frame

F32 = np.dtype(np.float32)
X, Y = TensorSpec("x", (1, 3, 4, 6), F32), TensorSpec("y", (1, 3, 4, 6), F32)
IMAGE = ImageInput("x", (6, 4), resize="stretch")
MODEL = Model(Path(), "tiny", "1", "raw", Path(), "", IMAGE, OutputSpec("raw"))


def _relu(inputs: Arrays) -> Arrays:
    return {"y": np.maximum(inputs["x"], 0)}


class Made:
    """An engine that computes y = max(x, 0), loaded as often as it is called, and the device that it is for."""

    def __init__(self, load: Callable[[Device, Stream], Engine], device: Device) -> None:
        self._load, self.device = load, device

    def __call__(self, device: Device, stream: Stream) -> Engine:
        return self._load(device, stream)


def _fake(folder: Path, device: Device, stream: Stream) -> Engine:
    return FakeEngine([X], [Y], _relu, device=device)


def _onnxruntime(folder: Path, device: Device, stream: Stream) -> Engine:
    model = onnx_models.model_of(onnx_models.relu(folder / "model.onnx"))
    return OnnxRuntimeEngine(model, OnnxRuntimeEngine.Options(threads=1), device, stream)


def _tensorrt(folder: Path, device: Device, stream: Stream) -> Engine:
    """A plan for the strict fake; see tensorrt_of."""
    return tensorrt_of(onnx_models.relu(folder / "model.onnx"), device, stream)


ENGINES: dict[str, tuple[Callable[[Path, Device, Stream], Engine], str]] = {
    "fake": (_fake, "cpu"),
    "onnxruntime": (_onnxruntime, "cpu"),
    "fake-cuda": (_fake, "cuda"),
    **({"onnxruntime-cuda": (_onnxruntime, "cuda")} if REAL_GPU else {"tensorrt-cuda": (_tensorrt, "cuda")}),
}


class Steps:
    """What happened, in order; `permits` lets that many inferences through, one lets a job end."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.permits = threading.Semaphore(0)
        self.fail_at: int | None = None  # the job whose inference fails
        self._changed = threading.Condition()

    def note(self, what: str) -> None:
        with self._changed:
            self.log.append(what)
            self._changed.notify_all()

    def wait_for(self, what: str, count: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.log.count(what) >= count, 10), self.log


class SteppedEngine:
    """An engine whose inferences wait for a permit on the stream and are noted when they are queued."""

    def __init__(self, engine: Engine, steps: Steps) -> None:
        self.inner, self._engine, self._steps = engine, engine, steps
        self.launched = 0
        self.closed = False
        self.eager = "a stepped engine waits for permits, which a graph does not"
        self.facts = engine.facts
        self.executions: list[SteppedExecution] = []

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._engine.outputs

    @property
    def file_hash(self) -> str:
        return self._engine.file_hash

    def wants(self) -> Sequence[Want]:
        return self._engine.wants()

    def bind(self, views: Mapping[str, TensorView], region: Region) -> Execution:
        self.executions.append(SteppedExecution(self._engine.bind(views, region), self, self._steps))
        return self.executions[-1]

    def warm_up(self, execution: Execution, stream: Stream) -> None:
        assert isinstance(execution, SteppedExecution)
        self._engine.warm_up(execution.inner, stream)

    def close(self) -> None:
        assert all(e.closed for e in self.executions), "the engine went before its executions"
        self.closed = True
        self._engine.close()


class SteppedExecution:
    def __init__(self, inner: Execution, engine: SteppedEngine, steps: Steps) -> None:
        self.inner, self._engine, self._steps = inner, engine, steps
        self.closed = False

    def enqueue(self, stream: Stream) -> None:
        order, self._engine.launched = self._engine.launched, self._engine.launched + 1

        def gate() -> None:
            self._steps.permits.acquire()
            if order == self._steps.fail_at:
                raise EngineError("model tiny: inference failed: out of smoke")

        call_on(stream, gate)
        self.inner.enqueue(stream)
        self._steps.note(f"launch {order}")

    def close(self) -> None:
        self.closed = True
        self.inner.close()


class NotingParser:
    """The raw parser; `on_parse` runs when it begins."""

    labels: tuple[str, ...] = ()

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._raw = RawParser(MODEL)
        self._parsed = 0
        self.on_parse: Callable[[int], None] = lambda order: None

    def check(self, outputs: Sequence[TensorSpec]) -> None:
        self._raw.check(outputs)

    def decode(self, outputs: Outputs) -> Candidates:
        self._steps.note(f"parse {self._parsed}")
        self._parsed += 1
        self.on_parse(self._parsed - 1)
        return self._raw.decode(outputs)

    def finish(self, c: Candidates, g: Geometry) -> Parsed:
        return self._raw.finish(c, g)


class Rig:
    """A runner over `names` pipelines, each with slots of its own. `stepped`: inferences wait for permits."""

    def __init__(
        self,
        engine: Made,
        names: Sequence[str] = ("a",),
        *,
        in_flight: int = 1,
        live: bool = False,
        image: ImageInput = IMAGE,
        stepped: bool = True,
    ) -> None:
        self.steps, self.post, self.messages = Steps(), Post(), list[Message]()
        self.device = engine.device
        bell = Bell()
        self.pipelines = {
            n: Pipeline(
                n,
                PipelineConfig(source=n, model="tiny"),
                Identity("d", "s"),
                ModelId("tiny"),
                (),
                [self.messages.append],
                bell,
                self.post,
                live=live,
            )
            for n in names
        }
        wants = Slots.wants(4, SPEC.nbytes, self.device.frame_memory)
        self.sources = {n: self.device.region(f"source {n}", wants) for n in names}
        self.slots = {n: Slots.of(region, 4) for n, region in self.sources.items()}
        self.parser = NotingParser(self.steps)
        self.engines: list[SteppedEngine] = []

        def make_engine(device: Device, stream: Stream) -> Engine:
            if not stepped:
                return engine(device, stream)
            self.engines.append(SteppedEngine(engine(device, stream), self.steps))
            return self.engines[-1]

        self.scratch: list[Region] = []
        self.runner = Runner(
            "model tiny",
            "tiny",
            self.device,
            make_engine,
            lambda: self.parser,
            image,
            list(self.pipelines.values()),
            bell,
            self.post,
            in_flight=in_flight,
        )

    def start(self) -> Sequence[Want]:
        """Prepare, plan and go."""
        wants = self.prepare()
        self.runner.go()
        return wants

    def prepare(self) -> Sequence[Want]:
        """All but go."""
        self.runner.start()
        self.post.wait_for("model tiny", "prepared")
        wants = self.runner.plan()["model tiny"]
        for name in self.pipelines:
            self.fit(name, SPEC)
        return wants

    def fit(self, name: str, spec: FrameSpec) -> None:
        """As the pipeline's source does."""
        preprocess = self.runner.preprocessor(f"pipeline {name}", spec)
        self.scratch.append(self.device.region(f"pipeline {name}", preprocess.wants()))
        preprocess.bind(self.scratch[-1])
        self.runner.fit(self.pipelines[name], preprocess)

    def put(self, name: str, seq: int) -> None:
        frame = make_frame(self.slots[name], seq)
        assert self.pipelines[name].offer(frame, 10), "the mailbox stayed full"

    def permit(self, count: int = 1) -> None:
        self.steps.permits.release(count)

    def stop(self) -> None:
        self.runner.stop()
        assert self.runner.join(10), "the runner does not end"

    @property
    def error(self) -> EdgedError | None:
        return self.runner.error

    def seqs(self, name: str) -> list[int]:
        return [r.frame_seq for r in self.results if r.pipeline == name]

    @property
    def results(self) -> list[Result]:
        return [m.body for m in self.messages if isinstance(m.body, Result)]

    def in_use(self) -> int:
        return sum(s.in_use for s in self.slots.values())

    def check_nothing_is_left(self) -> None:
        for p in self.pipelines.values():
            p.drop()
            c = p.counts()
            assert c.offered == c.inferred + c.dropped + c.failed
            assert p.state == "ended"
        assert self.in_use() == 0
        for region in (*self.scratch, *self.sources.values()):
            region.close()
        assert isinstance(self.device, (CpuDevice, CudaDevice))
        assert self.device.budget.held == 0, "the region is still admitted"
        assert all(e.closed for e in self.engines)


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    load, where = ENGINES[request.param]
    with fake_tensorrt(), opened(where) as device:
        yield Made(partial(load, tmp_path), device)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@contextmanager
def running(rig: Rig) -> Iterator[Rig]:
    """Started; at the end everything may pass, the runner is stopped, and nothing is left."""
    rig.start()
    try:
        yield rig
    finally:
        rig.permit(1000)
        rig.stop()
    rig.check_nothing_is_left()


def check_own_tensors(rig: Rig, count: int) -> None:
    """Each of `count` frames gave the tensor that its pixels make."""
    assert rig.seqs("a") == list(range(count))
    for r in rig.results:
        assert r.tensors is not None
        y = np.frombuffer(r.tensors["y"].data, np.float32)
        assert (y == r.frame_seq).all(), "the tensor of another frame"


@pytest.mark.parametrize("in_flight", [1, 2])
def test_each_frame_gives_its_own_result_in_order(engine: Made, in_flight: int) -> None:
    with running(Rig(engine, in_flight=in_flight)) as rig:
        rig.permit(1000)
        for seq in range(20):
            rig.put("a", seq)
    check_own_tensors(rig, 20)


@pytest.mark.parametrize("in_flight", [1, 2])
def test_a_job_is_one_graph_where_the_device_has_graphs(engine: Made, in_flight: int) -> None:
    with running(Rig(engine, in_flight=in_flight, stepped=False)) as rig:
        for seq in range(30):
            rig.put("a", seq)
    check_own_tensors(rig, 30)
    graphs = engine.device.graphs
    assert rig.runner.facts["work"] == ("graph" if graphs else "eager: cpu has no graphs")
    counts = rig.pipelines["a"].counts()
    assert counts.copied["capture"] == 0
    assert counts.copied["preprocess"] == 0 or not graphs, "the host copied pixels of a frame"


def test_a_source_that_came_back_with_another_size_is_followed(engine: Made) -> None:
    """With graphs: those for the old size go, and an engine that was captured already is captured again."""
    other = FrameSpec(6, 4, PixelFormat.GREY)
    with running(Rig(engine, stepped=False)) as rig:
        for seq in range(4):
            rig.put("a", seq)
        assert rig.slots["a"].wait_all_free(10)
        region = rig.device.region("other", Slots.wants(2, other.nbytes, rig.device.frame_memory))
        rig.scratch.append(region)
        slots = Slots.of(region, 2)
        rig.fit("a", other)
        for seq in range(4, 8):
            assert rig.pipelines["a"].offer(make_frame(slots, seq, other), 10)
            assert slots.wait_all_free(10)
    check_own_tensors(rig, 8)


def test_the_device_s_memory_stays_as_it_is_while_frames_pass(engine: Made) -> None:
    if isinstance(engine.device, CpuDevice):
        pytest.skip("the CPU has no memory of its own")
    with running(Rig(engine, in_flight=2, stepped=False)) as rig:
        for seq in range(20):
            rig.put("a", seq)
        before = free_device_memory()
        for seq in range(20, 200):
            rig.put("a", seq)
        assert free_device_memory() == before
    check_own_tensors(rig, 200)


@pytest.mark.parametrize("in_flight", [1, 2])
def test_no_more_jobs_are_on_the_device_than_in_flight_says(engine: Made, in_flight: int) -> None:
    with running(Rig(engine, in_flight=in_flight)) as rig:
        for seq in range(in_flight + 1):
            rig.put("a", seq)
        rig.steps.wait_for(f"launch {in_flight - 1}")
        assert rig.pipelines["a"].mailbox.taken == in_flight
        rig.permit()
        rig.steps.wait_for(f"launch {in_flight}")


@pytest.mark.parametrize("in_flight", [1, 2])
def test_the_next_job_is_launched_before_the_last_one_is_parsed(engine: Made, in_flight: int) -> None:
    with running(Rig(engine, in_flight=in_flight)) as rig:
        for seq in range(in_flight + 1):  # the last one waits in the mailbox
            rig.put("a", seq)
        rig.permit()
        rig.steps.wait_for("parse 0")
    log = rig.steps.log
    assert log.index(f"launch {in_flight}") < log.index("parse 0")


def test_pipelines_take_turns_and_those_without_a_frame_are_passed_over(
    engine: Made,
) -> None:
    with running(Rig(engine, "abc", live=True)) as rig:
        rig.put("c", 0)  # the first job: behind it the others gather
        rig.steps.wait_for("launch 0")
        for name in "abc":
            rig.put(name, 1)
        for i in range(1, 7):  # the pipeline served last is the first to have a frame again
            rig.permit()
            rig.steps.wait_for(f"launch {i}")
            rig.put("cabcab"[i - 1] if i > 1 else "c", i + 1)
    served = [r.pipeline for r in rig.results]
    assert served[:7] == list("cabcabc")


def test_a_fast_source_cannot_starve_a_slow_one(engine: Made) -> None:
    with running(Rig(engine, ("fast", "slow"), live=True)) as rig:
        rig.put("fast", 0)
        rig.steps.wait_for("launch 0")
        rig.put("slow", 0)
        for seq in range(1, 6):
            rig.put("fast", seq)
        rig.permit(2)
        rig.steps.wait_for("launch 2")
        assert rig.seqs("fast")[:1] == [0]
    assert [r.pipeline for r in rig.results] == ["fast", "slow", "fast"]
    assert rig.seqs("fast") == [0, 5], "the freshest frame is taken"
    assert rig.results[-1].dropped == 4


def test_a_lease_ends_when_the_device_has_read_the_frame_not_when_it_is_parsed(
    engine: Made,
) -> None:
    rig = Rig(engine)
    held: list[int] = []
    rig.parser.on_parse = lambda order: held.append(rig.in_use())
    with running(rig):
        rig.put("a", 0)
        rig.steps.wait_for("launch 0")
        assert rig.in_use() == 1
        rig.permit()
        rig.steps.wait_for("parse 0")
    assert held == [0]


def test_a_runner_that_is_told_to_stop_finishes_what_waits(engine: Made) -> None:
    with running(Rig(engine, "ab")) as rig:
        for seq in range(2):
            rig.put("a", seq)
        rig.put("b", 0)
        rig.steps.wait_for("launch 0")
        rig.runner.stop()
    assert (rig.seqs("a"), rig.seqs("b")) == ([0, 1], [0])


def test_an_idle_runner_stops_at_once_and_its_memory_was_planned(engine: Made) -> None:
    rig = Rig(engine, "ab", in_flight=2)
    wants = rig.start()
    rig.put("a", 0)
    rig.permit()
    rig.steps.wait_for("parse 0")
    (region,) = rig.runner.regions.values()
    assert region.frozen
    assert region.nbytes == wanted_bytes(wants)
    others = sum(r.nbytes for r in (*rig.scratch, *rig.sources.values()))
    assert isinstance(rig.device, (CpuDevice, CudaDevice))
    # an engine's weights are there before anything is planned
    weights = getattr(rig.engines[0].inner, "memory", None)
    own = 0 if weights is None else weights.nbytes
    assert rig.device.budget.held == wanted_bytes(wants) + others + own
    assert region.used_bytes == sum(w.nbytes for w in wants), "planned and not used, or the reverse"
    rig.stop()
    rig.check_nothing_is_left()


@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("fail_at", [0, 2])
def test_a_failed_inference_ends_the_runner_and_all_leases_come_back(
    engine: Made, in_flight: int, fail_at: int
) -> None:
    rig = Rig(engine, in_flight=in_flight)
    rig.steps.fail_at = fail_at
    rig.start()
    for seq in range(fail_at + in_flight):
        rig.permit()
        rig.put("a", seq)
    rig.permit(10)
    report = rig.post.wait_for("model tiny", "faulted")
    assert isinstance(report.error, EngineError)
    assert report.error.exit_code is ExitCode.ENGINE
    rig.stop()
    rig.stop()
    assert rig.seqs("a") == list(range(fail_at))
    assert rig.pipelines["a"].counts().failed in range(1, in_flight + 1)
    rig.check_nothing_is_left()


class Blind:
    """A preprocessor that fails at the frame with seq 1; for the rest it is `inner`."""

    def __init__(self, inner: Preprocess) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def enqueue(self, frame: Frame, target: TensorView, index: int, stream: Stream) -> None:
        self._inner.enqueue(frame, target, index, stream)
        if frame.seq == 1:
            call_on(stream, self._fail)

    def _fail(self) -> None:
        raise DeviceError("the frame cannot be read")


@pytest.mark.parametrize("in_flight", [1, 2])
def test_a_failed_preprocessing_is_told_and_gives_no_result(engine: Made, in_flight: int) -> None:
    rig = Rig(engine, in_flight=in_flight)
    rig.permit(100)
    rig.prepare()
    pipeline = rig.pipelines["a"]
    rig.runner.fit(pipeline, Blind(rig.runner._preprocess[pipeline]))
    rig.runner.go()
    rig.put("a", 0)
    rig.put("a", 1)
    assert rig.post.wait_for("model tiny", "faulted").error == rig.error
    rig.stop()
    assert isinstance(rig.error, DeviceError)
    assert rig.seqs("a") == [0]
    assert rig.pipelines["a"].counts().failed == 1
    rig.check_nothing_is_left()


def test_a_parser_that_raises_is_named_and_its_frame_counted_as_failed(
    engine: Made,
) -> None:
    rig = Rig(engine, in_flight=2)

    def stumble(order: int) -> None:
        if order == 1:
            raise ZeroDivisionError("division by zero")

    rig.parser.on_parse = stumble
    rig.permit(100)
    rig.start()
    for seq in range(3):
        rig.put("a", seq)
    rig.post.wait_for("model tiny", "faulted")
    rig.stop()
    assert isinstance(rig.error, ModelError)
    assert "parser NotingParser raised ZeroDivisionError: division by zero" in rig.error.message
    assert rig.seqs("a") == [0]
    rig.check_nothing_is_left()


def test_a_parser_that_returns_nothing_is_named(engine: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """None would else stand for an inference that failed, frame after frame, without a word."""
    rig = Rig(engine)
    monkeypatch.setattr(rig.parser, "finish", lambda c, g: None)
    rig.permit(100)
    rig.start()
    rig.put("a", 0)
    rig.post.wait_for("model tiny", "faulted")
    rig.stop()
    assert isinstance(rig.error, ModelError)
    assert "parser NotingParser raised TypeError: finish returned NoneType, not Parsed" in rig.error.message
    rig.check_nothing_is_left()


def test_an_engine_that_cannot_be_loaded_is_told_and_nothing_starts() -> None:
    def missing(device: Device, stream: Stream) -> Engine:
        raise EngineError("model tiny: cannot be loaded: unsupported operator", hint="export it again")

    rig = Rig(Made(missing, CpuDevice()))
    rig.runner.start()
    assert rig.post.wait_for("model tiny", "faulted").error is not None
    rig.stop()
    assert rig.post.phases("model tiny") == ["faulted", "stopped"]
    rig.check_nothing_is_left()


def test_a_tensor_that_the_engine_does_not_have_is_refused_when_planning(
    engine: Made,
) -> None:
    rig = Rig(engine, image=ImageInput("images", (6, 4)))
    with pytest.raises(EngineError, match="no input 'images'; it has x"):
        rig.start()
    rig.stop()
    rig.check_nothing_is_left()


def test_memory_that_is_refused_when_allocating_leaves_nothing(engine: Made) -> None:
    rig = Rig(engine)
    rig.prepare()
    assert isinstance(rig.device, (CpuDevice, CudaDevice))
    rig.device.budget.limit = rig.device.budget.held + 1
    rig.runner.go()
    report = rig.post.wait_for("model tiny", "faulted")
    assert report.error is not None
    assert report.error.exit_code is ExitCode.MEMORY
    rig.stop()
    rig.check_nothing_is_left()


def test_a_pipeline_at_its_source_fault_gets_its_last_results(engine: Made) -> None:
    with running(Rig(engine)) as rig:
        rig.put("a", 0)
        rig.steps.wait_for("launch 0")
        rig.put("a", 1)
        rig.pipelines["a"].close()
    assert rig.seqs("a") == [0, 1]
    assert rig.post.phases("pipeline a") == ["running", "ended"]
