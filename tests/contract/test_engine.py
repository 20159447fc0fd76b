"""What every engine promises: specs, binding in place, order on a stream, errors where work is waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edged.engines.fake import Arrays, FakeEngine
from edged.engines.onnxruntime import OnnxRuntimeEngine
from edged.errors import DeviceError, EngineError
from edged.frames import Memory
from edged.interfaces import Device, Engine, Execution, Stream
from edged.memory import Region, Want
from edged.tensors import TensorSpec, TensorView
from tests import onnx_models
from tests.devices.available import REAL_GPU, opened
from tests.engines.fake_tensorrt import fake_tensorrt
from tests.engines.tensorrt_rig import tensorrt_of

F32 = np.dtype(np.float32)
X, Y = TensorSpec("x", (1, 3, 4, 6), F32), TensorSpec("y", (1, 3, 4, 6), F32)


def _relu(inputs: Arrays) -> Arrays:
    return {"y": np.maximum(inputs["x"], 0)}


def _fake(tmp_path: Path, device: Device, stream: Stream) -> Engine:
    return FakeEngine([X], [Y], _relu, device=device)


def _onnxruntime(tmp_path: Path, device: Device, stream: Stream) -> Engine:
    model = onnx_models.model_of(onnx_models.relu(tmp_path / "model.onnx"))
    return OnnxRuntimeEngine(model, OnnxRuntimeEngine.Options(threads=1), device, stream)


def _tensorrt(tmp_path: Path, device: Device, stream: Stream) -> Engine:
    """A plan for the strict fake; see tensorrt_of."""
    return tensorrt_of(onnx_models.relu(tmp_path / "model.onnx"), device, stream)


# engines that compute y = max(x, 0), and where
ENGINES: dict[str, tuple[Callable[[Path, Device, Stream], Engine], str]] = {
    "fake": (_fake, "cpu"),
    "onnxruntime": (_onnxruntime, "cpu"),
    "fake-cuda": (_fake, "cuda"),
    **({"onnxruntime-cuda": (_onnxruntime, "cuda")} if REAL_GPU else {"tensorrt-cuda": (_tensorrt, "cuda")}),
}


class Bench:
    """An engine with its memory and a stream. `x` and `y` are what the host sees; see `upload` and `download`."""

    def __init__(self, device: Device, load: Callable[[Device, Stream], Engine]) -> None:
        self.device = device
        self.stream: Stream = device.stream(name="test")
        self.engine = load(device, self.stream)
        tensors = (*self.engine.inputs, *self.engine.outputs)
        wants = [Want.tensor(t, memory=device.tensor_memory) for t in tensors]
        if device.tensor_memory is Memory.DEVICE:
            wants += [Want.tensor(t, f"{t.name}.host", Memory.MAPPED) for t in tensors]
        self.region: Region = device.region("test", [*wants, *self.engine.wants()])
        self.views = {t.name: self.region.tensor(t) for t in tensors}
        self.mirrors = dict(self.views)
        if device.tensor_memory is Memory.DEVICE:
            self.mirrors = {t.name: self.region.tensor(t, f"{t.name}.host") for t in tensors}
        self.x, self.y = self.mirrors["x"].host(), self.mirrors["y"].host()

    def bind(self, views: dict[str, TensorView] | None = None) -> Execution:
        return self.engine.bind(self.views if views is None else views, self.region)

    def upload(self) -> None:
        for name in () if self.mirrors["x"] is self.views["x"] else ("x", "y"):
            self.stream.copy(self.views[name], self.mirrors[name])
        self.stream.synchronize()

    def download(self) -> None:
        if self.mirrors["y"] is not self.views["y"]:
            self.stream.copy(self.mirrors["y"], self.views["y"])
            self.stream.synchronize()

    def close(self) -> None:
        self.stream.end()
        self.engine.close()
        self.stream.close()
        self.region.close()


@pytest.fixture(params=list(ENGINES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    load, where = ENGINES[request.param]
    with ExitStack() as stack:
        stack.enter_context(fake_tensorrt())
        device = stack.enter_context(opened(where))
        made = Bench(device, lambda device, stream: load(tmp_path, device, stream))
        stack.callback(made.close)
        yield made


def test_inputs_outputs_and_hash_are_known_at_load(bench: Bench) -> None:
    assert bench.engine.inputs == (X,)
    assert bench.engine.outputs == (Y,)
    assert len(bench.engine.file_hash) == 64


def test_outputs_land_in_our_memory_and_new_contents_need_no_new_binding(bench: Bench) -> None:
    execution = bench.bind()
    for value in (-2.0, 3.0, 0.5):
        bench.x[:] = value
        bench.y[:] = -1
        bench.upload()
        execution.enqueue(bench.stream)
        assert bench.stream.record().wait(10)
        bench.download()
        np.testing.assert_array_equal(bench.y, max(value, 0))
    execution.close()


def test_two_executions_of_one_engine_use_their_own_memory(bench: Bench) -> None:
    other = Bench(bench.device, lambda device, stream: bench.engine)
    first, second = bench.bind(), other.bind()
    bench.x[:], other.x[:] = 1, 2
    bench.upload()
    other.upload()
    first.enqueue(bench.stream)
    second.enqueue(bench.stream)
    bench.stream.synchronize()
    bench.download()
    other.download()
    assert (bench.y == 1).all()
    assert (other.y == 2).all()
    first.close()
    second.close()
    other.stream.close()
    other.region.close()


def test_warm_up_waits_for_its_runs(bench: Bench) -> None:
    bench.x[:] = 5
    bench.upload()
    execution = bench.bind()
    bench.engine.warm_up(execution, bench.stream)
    bench.download()
    assert (bench.y == 5).all()
    execution.close()


def test_a_missing_tensor_is_refused_with_the_names_of_the_engine(bench: Bench) -> None:
    with pytest.raises(EngineError, match=r"'y' is not bound(.|\n)*x: float32\[1, 3, 4, 6\]; y: "):
        bench.bind({"x": bench.views["x"]})


def test_an_unknown_tensor_is_refused_with_the_names_of_the_engine(bench: Bench) -> None:
    with pytest.raises(EngineError, match=r"no tensor 'z'(.|\n)*it has x: float32"):
        bench.bind({**bench.views, "z": bench.views["x"]})


@pytest.mark.parametrize(
    "wrong",
    [
        TensorSpec("y", (1, 3, 6, 4), F32),
        TensorSpec("y", (72,), F32),
        TensorSpec("y", Y.shape, np.dtype("f2")),
    ],
    ids=str,
)
def test_another_shape_or_dtype_is_refused(bench: Bench, wrong: TensorSpec) -> None:
    view = bench.views["y"]
    with pytest.raises(EngineError, match=r"'y' is float32\[1, 3, 4, 6\]"):
        bench.bind({**bench.views, "y": replace(view, spec=wrong)})


def test_memory_that_the_engine_cannot_read_is_refused(bench: Bench) -> None:
    view = bench.views["y"]
    strange = Memory.DEVICE if view.memory is Memory.HOST else Memory.HOST
    with pytest.raises(EngineError, match=f"bound to {strange.value} memory"):
        bench.bind({**bench.views, "y": replace(view, memory=strange, array=None)})


def test_a_view_whose_address_is_not_its_arrays_is_refused(bench: Bench) -> None:
    view = bench.views["y"]
    if view.array is None:
        pytest.skip("device memory has no array")
    with pytest.raises(EngineError, match="contiguous"):
        bench.bind({**bench.views, "y": replace(view, address=view.address + 4)})


def test_work_can_be_captured_or_says_why_not(bench: Bench) -> None:
    if not bench.device.graphs:
        with pytest.raises(DeviceError, match="no graphs"):
            bench.stream.capture(lambda: None)
        return
    execution = bench.bind()
    bench.engine.warm_up(execution, bench.stream)
    assert not bench.engine.eager
    graph = bench.stream.capture(lambda: execution.enqueue(bench.stream))
    for value in (-2.0, 3.0):
        bench.x[:] = value
        bench.upload()
        graph.launch()
        assert bench.stream.record().wait(10)
        bench.download()
        np.testing.assert_array_equal(bench.y, max(value, 0))
    bench.stream.end()
    graph.close()
    graph.close()
    execution.close()


def test_enqueue_after_close_is_refused(bench: Bench) -> None:
    execution = bench.bind()
    execution.close()
    execution.close()
    with pytest.raises(EngineError, match="after close"):
        execution.enqueue(bench.stream)


def test_bind_after_close_is_refused_and_close_is_idempotent(bench: Bench) -> None:
    bench.engine.close()
    bench.engine.close()
    with pytest.raises(EngineError, match="closed"):
        bench.bind()
