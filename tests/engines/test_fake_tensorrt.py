"""The fake TensorRT refuses wrong orders of calls: what a test of the engine relies on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edged.errors import DeviceError
from edged.frames import Memory
from edged.interfaces import Device, Stream
from edged.memory import Region, Want
from tests import onnx_models
from tests.engines import fake_tensorrt as trt
from tests.engines.fake_plan import PlanFacts, pack
from tests.engines.fake_rules import RULES, RuleBroken
from tests.engines.tensorrt_rig import gpu

MANAGED = trt.ExecutionContextAllocationStrategy.USER_MANAGED
RANGE: list[dict[str, list[list[int]]]] = [{"x": [[1, 3, 2, 2], [1, 3, 4, 6], [1, 3, 4, 6]]}]
SHAPE = (1, 3, 4, 6)


class Said(trt.ILogger):
    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.lines: list[str] = []

    def log(self, severity: Any, msg: str) -> None:
        self.lines.append(msg)


class Region0(trt.IGpuAllocator):
    """An allocator that gives pieces of a region, or whatever it is told."""

    def __init__(self, region: Region) -> None:
        trt.IGpuAllocator.__init__(self)
        self.region = region
        self.answer: Any = -1

    def allocate_async(self, size: int, alignment: int, flags: int, stream: int) -> Any:
        return self.region.piece("weights").address if self.answer == -1 else self.answer

    def deallocate_async(self, memory: int, stream: int) -> bool:
        return True


class Bench:
    """The fake's objects, called by hand, on the stand-in driver."""

    def __init__(self, device: Device, stack: ExitStack, folder: Path) -> None:
        self.device, self.stack, self.logger = device, stack, Said()
        wants = [Want(n, 8192, Memory.DEVICE) for n in ("weights", "activations", "more", "x", "y")]
        self.region = device.region("bench", wants)
        stack.callback(self.region.close)
        self.stream = self.new_stream()
        self.onnx = onnx_models.relu(folder / "m.onnx", (1, 3, "h", "w"), (1, 3, "h", "w")).read_bytes()
        self.allocator = Region0(self.region)
        self.facts = PlanFacts(profiles=RANGE)

    def new_stream(self) -> Stream:
        made = self.device.stream()
        self.stack.callback(made.close)
        return made

    def at(self, name: str) -> int:
        return self.region.piece(name).address

    def engine(self) -> Any:
        runtime = trt.Runtime(self.logger)
        runtime.gpu_allocator = self.allocator
        return runtime.deserialize_cuda_engine(pack(self.onnx, facts=self.facts))

    def context(self, *but: str) -> Any:
        """One that can be enqueued, except for what is left out."""
        made = self.engine().create_execution_context(MANAGED)
        if "shape" not in but:
            assert made.set_input_shape("x", SHAPE)
            assert made.infer_shapes() == []
        if "memory" not in but:
            made.set_device_memory(self.at("activations"), 8192)
        for name in ("x", "y"):
            if name not in but:
                assert made.set_tensor_address(name, self.at(name))
        return made


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with gpu() as device, ExitStack() as stack:
        yield Bench(device, stack, tmp_path)


def test_the_right_order_runs(bench: Bench) -> None:
    context = bench.context()
    assert context.execute_async_v3(bench.stream.handle)
    bench.stream.synchronize()


@pytest.mark.parametrize("left_out", ["x", "y"])
def test_every_address_must_be_set(bench: Bench, left_out: str) -> None:
    assert not bench.context(left_out).execute_async_v3(bench.stream.handle)
    assert f"no address or shape is set for {left_out}" in bench.logger.lines[-1]


def test_memory_must_be_set_before_enqueue(bench: Bench) -> None:
    with pytest.raises(RuleBroken, match="no activation memory"):
        bench.context("memory").execute_async_v3(bench.stream.handle)


def test_memory_must_be_large_enough_aligned_and_the_gpus(bench: Bench) -> None:
    context = bench.context("memory")
    for address, size in ((bench.at("activations"), 100), (bench.at("activations") + 8, 8192), (4096, 8192)):
        with pytest.raises(RuleBroken, match="activation memory"):
            context.set_device_memory(address, size)
    with pytest.raises(RuleBroken, match="no aligned memory"):
        context.set_tensor_address("x", 4096)


def test_shapes_come_before_addresses(bench: Bench) -> None:
    with pytest.raises(RuleBroken, match="the address of 'x' before its shape"):
        bench.context("shape")
    context = bench.context("shape", "x", "y")
    assert context.infer_shapes() == ["x"]


def test_shapes_outside_of_the_profile_are_refused(bench: Bench) -> None:
    context = bench.context("shape", "x", "y")
    assert not context.set_input_shape("x", (1, 3, 9, 9))
    assert not context.set_input_shape("x", (1, 3, 4))
    assert not context.set_optimization_profile_async(1, bench.stream.handle)


def test_a_change_of_profile_forgets_shapes_and_must_be_over(bench: Bench) -> None:
    context = bench.context()
    assert context.set_optimization_profile_async(0, bench.stream.handle)
    assert not context.execute_async_v3(bench.stream.handle)
    with pytest.raises(RuleBroken, match="default stream"):
        context.set_optimization_profile_async(0, 0)


def test_one_context_is_on_one_stream_at_a_time_and_so_is_shared_memory(bench: Bench) -> None:
    import threading

    other, gate = bench.new_stream(), threading.Event()
    context, second = bench.context(), bench.context()
    bench.stream.call(gate.wait)  # type: ignore[attr-defined]
    assert context.execute_async_v3(bench.stream.handle)
    with pytest.raises(RuleBroken, match="one context on two streams"):
        context.execute_async_v3(other.handle)
    with pytest.raises(RuleBroken, match="the same memory on two streams"):
        second.execute_async_v3(other.handle)
    second.set_device_memory(bench.at("more"), 8192)
    assert second.execute_async_v3(other.handle)
    gate.set()
    bench.stream.synchronize()
    other.synchronize()
    assert context.execute_async_v3(other.handle), "once it is over, another stream is as good"
    other.synchronize()


def test_capture_needs_an_eager_run_and_allocates_nothing(bench: Bench) -> None:
    context = bench.context()
    with pytest.raises(RuleBroken, match="captured before an eager run"):
        bench.stream.capture(lambda: context.execute_async_v3(bench.stream.handle))
    assert context.execute_async_v3(bench.stream.handle)
    bench.stream.synchronize()
    RULES.asks = 64
    with pytest.raises(RuleBroken, match="allocation while capturing"):
        bench.stream.capture(lambda: context.execute_async_v3(bench.stream.handle))
    graph = bench.stream.capture(lambda: context.execute_async_v3(bench.stream.handle))
    graph.launch()
    bench.stream.synchronize()
    graph.close()


def test_the_default_stream_and_bad_auxiliary_streams_are_no_places_to_work(bench: Bench) -> None:
    context = bench.context()
    with pytest.raises(RuleBroken, match="default stream"):
        context.execute_async_v3(0)
    for streams in ([0], [5, 5]):
        with pytest.raises(RuleBroken, match="auxiliary"):
            context.set_aux_streams(streams)
    context.set_aux_streams([bench.stream.handle])
    with pytest.raises(RuleBroken, match="the main stream"):
        context.execute_async_v3(bench.stream.handle)


def test_the_allocator_gives_memory_of_the_gpu_or_zero(bench: Bench) -> None:
    for answer, words in (
        (None, "makes no address"),
        (8, "no memory of the GPU"),
        (4096, "no memory of the GPU"),
    ):
        bench.allocator.answer = answer
        with pytest.raises(RuleBroken, match=words):
            bench.engine()
    bench.allocator.answer = 0
    assert bench.engine() is None
    assert "OutOfMemory" in bench.logger.lines[-1]


def test_memory_of_its_own_is_not_wanted(bench: Bench) -> None:
    with pytest.raises(RuleBroken, match="does not know of"):
        bench.engine().create_execution_context()
    runtime = trt.Runtime(bench.logger)
    with pytest.raises(RuleBroken, match="outside of the application's allocator"):
        runtime.deserialize_cuda_engine(pack(bench.onnx, facts=bench.facts))


def test_what_cannot_be_loaded_is_none_with_a_reason(bench: Bench) -> None:
    good = pack(bench.onnx, facts=bench.facts)
    runtime = trt.Runtime(bench.logger)
    for plan, words in (
        (b"PK" + good[2:], "magicTag"),
        (pack(bench.onnx, version="10.7.0"), "expecting library version 10.3.0.26 got 10.7.0.26"),
        (pack(bench.onnx, facts=PlanFacts(capability="8.7")), "expecting compute 9.0 got compute 8.7"),
        (good[:-1], "blobSize"),
    ):
        assert runtime.deserialize_cuda_engine(plan) is None
        assert words in bench.logger.lines[-1]


def test_without_a_context_of_the_driver_nothing_is_made(bench: Bench) -> None:
    import threading

    found: list[BaseException] = []

    def work() -> None:
        try:
            trt.Runtime(bench.logger)
        except RuleBroken as e:
            found.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "no CUDA context" in str(found[0])


def test_a_capture_that_is_refused_leaves_the_stream_usable(bench: Bench) -> None:
    context = bench.context()
    with pytest.raises((RuleBroken, DeviceError)):
        bench.stream.capture(lambda: context.execute_async_v3(bench.stream.handle))
    assert context.execute_async_v3(bench.stream.handle)
    bench.stream.synchronize()
