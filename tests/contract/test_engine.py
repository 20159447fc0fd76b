"""What every engine promises: specs, binding in place, order on a stream, errors where work is waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edged.devices.cpu import CpuDevice
from edged.devices.cpu_stream import CpuStream
from edged.engines.fake import Arrays, FakeEngine
from edged.engines.onnxruntime import OnnxRuntimeEngine
from edged.errors import EngineError
from edged.frames import Memory
from edged.interfaces import Engine, Execution
from edged.memory import Region, Want
from edged.tensors import TensorSpec, TensorView
from tests import onnx_models

F32 = np.dtype(np.float32)
X, Y = TensorSpec("x", (1, 3, 4, 6), F32), TensorSpec("y", (1, 3, 4, 6), F32)


def _relu(inputs: Arrays) -> Arrays:
    return {"y": np.maximum(inputs["x"], 0)}


def _fake(tmp_path: Path) -> Engine:
    return FakeEngine([X], [Y], _relu)


def _onnxruntime(tmp_path: Path) -> Engine:
    model = onnx_models.model_of(onnx_models.relu(tmp_path / "model.onnx"))
    return OnnxRuntimeEngine(model, OnnxRuntimeEngine.Options(threads=1))


# engines that compute y = max(x, 0)
ENGINES: dict[str, Callable[[Path], Engine]] = {"fake": _fake, "onnxruntime": _onnxruntime}


class Bench:
    """An engine with its memory and a stream."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        wants = [Want.tensor(t) for t in (*engine.inputs, *engine.outputs)]
        self.region: Region = CpuDevice().region("test", [*wants, *engine.wants()])
        self.views = {t.name: self.region.tensor(t) for t in (*engine.inputs, *engine.outputs)}
        self.x, self.y = self.views["x"].host(), self.views["y"].host()
        self.stream = CpuStream("test")

    def bind(self, views: dict[str, TensorView] | None = None) -> Execution:
        return self.engine.bind(self.views if views is None else views, self.region)

    def close(self) -> None:
        self.stream.close()
        self.engine.close()
        self.region.close()


@pytest.fixture(params=list(ENGINES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(ENGINES[request.param](tmp_path))
    yield made
    made.close()


def test_inputs_outputs_and_hash_are_known_at_load(bench: Bench) -> None:
    assert bench.engine.inputs == (X,)
    assert bench.engine.outputs == (Y,)
    assert len(bench.engine.file_hash) == 64


def test_outputs_land_in_our_memory_and_new_contents_need_no_new_binding(bench: Bench) -> None:
    execution = bench.bind()
    for value in (-2.0, 3.0, 0.5):
        bench.x[:] = value
        bench.y[:] = -1
        execution.enqueue(bench.stream)
        assert bench.stream.record().wait(10)
        np.testing.assert_array_equal(bench.y, max(value, 0))
    execution.close()


def test_two_executions_of_one_engine_use_their_own_memory(bench: Bench) -> None:
    other = Bench(bench.engine)
    first, second = bench.bind(), other.bind()
    bench.x[:], other.x[:] = 1, 2
    first.enqueue(bench.stream)
    second.enqueue(bench.stream)
    bench.stream.synchronize()
    assert (bench.y == 1).all()
    assert (other.y == 2).all()
    first.close()
    second.close()
    other.stream.close()
    other.region.close()


def test_warm_up_waits_for_its_runs(bench: Bench) -> None:
    bench.x[:] = 5
    execution = bench.bind()
    bench.engine.warm_up(execution, bench.stream)
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
    view = replace(bench.views["y"], memory=Memory.DEVICE, array=None)
    with pytest.raises(EngineError, match="bound to device memory"):
        bench.bind({**bench.views, "y": view})


def test_a_view_whose_address_is_not_its_arrays_is_refused(bench: Bench) -> None:
    view = bench.views["y"]
    with pytest.raises(EngineError, match="contiguous"):
        bench.bind({**bench.views, "y": replace(view, address=view.address + 4)})


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
