"""A TensorRtEngine on the fake TensorRT and the stand-in driver, with its memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edged.engines.tensorrt import TensorRtEngine, TensorRtRtxEngine
from edged.frames import Memory
from edged.interfaces import Device, Stream
from edged.memory import Region, Want
from edged.models.plans import PlanStore
from edged.tensors import TensorView
from tests import onnx_models
from tests.cuda.standin import standin, standin_device
from tests.engines.fake_plan import PlanFacts, install
from tests.engines.fake_tensorrt import fake_tensorrt

ENGINES = {"tensorrt": TensorRtEngine, "tensorrt-rtx": TensorRtRtxEngine}


def tensorrt_of(
    file: Path,
    device: Device,
    stream: Stream,
    flavour: str = "tensorrt",
    facts: PlanFacts | None = None,
    options: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    built_with: Mapping[str, Any] | None = None,
    **sidecar: Any,
) -> TensorRtEngine:
    """Build the plan of `file` and load it. The store is beside the file. `built_with`: the sidecar's options."""
    store = PlanStore(file.parent / "state" / "plans")
    install(store, file, flavour, facts, options=built_with or {}, **sidecar)
    found = onnx_models.model_of(file, **(model or {}))
    kind = ENGINES[flavour]
    return kind(found, kind.Options(**(options or {})), device, stream, plans=store)


class Loaded:
    """An engine, its region and what the host sees of its tensors. `stream` is its own."""

    def __init__(self, device: Device, stack: ExitStack, engine: TensorRtEngine, stream: Stream) -> None:
        self.device, self.engine, self.stream = device, engine, stream
        tensors = (*engine.inputs, *engine.outputs)
        wants = [Want.tensor(t, memory=Memory.DEVICE) for t in tensors]
        wants += [Want.tensor(t, f"{t.name}.host", Memory.MAPPED) for t in tensors]
        self.region: Region = device.region("test", [*wants, *engine.wants()])
        stack.callback(self.region.close)
        stack.callback(engine.close)
        stack.callback(stream.end)
        self.views: dict[str, TensorView] = {t.name: self.region.tensor(t) for t in tensors}
        self.mirrors = {t.name: self.region.tensor(t, f"{t.name}.host") for t in tensors}

    def host(self, name: str) -> npt.NDArray[Any]:
        return self.mirrors[name].host()

    def feed(self, value: float, name: str = "x") -> None:
        self.host(name)[:] = value
        self.stream.copy(self.views[name], self.mirrors[name])
        self.stream.synchronize()

    def result(self, name: str = "y") -> npt.NDArray[Any]:
        self.stream.copy(self.mirrors[name], self.views[name])
        self.stream.synchronize()
        return np.array(self.host(name))


@contextmanager
def gpu(flavour: str = "tensorrt", version: str = "", *, lean: bool = False) -> Iterator[Device]:
    """The stand-in GPU, current, with the fake TensorRT; at the end nothing of either is left."""
    with fake_tensorrt(flavour, version, lean=lean), standin():
        device = standin_device()
        with device.current():
            yield device
        device.close()


@contextmanager
def loaded(
    file: Path, *, flavour: str = "tensorrt", version: str = "", lean: bool = False, **how: Any
) -> Iterator[Loaded]:
    """The engine of `file`'s plan on a GPU of its own; `how`: of tensorrt_of."""
    with gpu(flavour, version, lean=lean) as device, ExitStack() as stack:
        stream = device.stream(name="test")
        stack.callback(stream.close)
        if version:
            how.setdefault("version", version)
        engine = tensorrt_of(file, device, stream, flavour, **how)
        stack.callback(engine.close)
        yield Loaded(device, stack, engine, stream)
