"""Run as a process of its own (`python compare.py MODEL PLAN FLAVOUR`): a plan's outputs beside ONNX Runtime's.

Prints one JSON object: output -> cosine of the angle between the two over all samples, and greatest difference.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edged import registry
from edged.build.measure import samples
from edged.devices.cuda.device import CudaDevice
from edged.engines.onnxruntime import package
from edged.errors import EdgedError, EngineError
from edged.frames import Memory
from edged.memory import Budget, Want
from edged.models.inspect import read_graph
from edged.models.load import load_model
from edged.models.one_plan import OnePlan

Arrays = Mapping[str, npt.NDArray[Any]]


def main(argv: Sequence[str]) -> int:
    try:
        print(json.dumps(compare(Path(argv[0]), Path(argv[1]), argv[2])))
    except EdgedError as e:
        print(json.dumps({"error": e.message, "hint": e.hint}))
        return int(e.exit_code)
    return 0


def compare(directory: Path, plan: Path, flavour: str) -> dict[str, Any]:
    """Both on the same drawn pictures. Raises EngineError."""
    model = load_model(directory)
    ort = package()
    session = ort.InferenceSession(str(model.file), providers=["CPUExecutionProvider"])
    with ExitStack() as stack:
        device = CudaDevice(Budget())
        stack.callback(device.close)
        stack.enter_context(device.current())
        stream = device.stream(name="compare")
        stack.callback(stream.close)
        backend = registry.load("engines", flavour)
        real = plan.resolve()
        store = OnePlan(real.parents[2], real)
        engine = backend(model, backend.Options(), device, stream, plans=store)
        stack.callback(engine.close)
        tensors = (*engine.inputs, *engine.outputs)
        wants = [Want.tensor(t, memory=Memory.DEVICE) for t in tensors]
        wants += [Want.tensor(t, f"{t.name} host", Memory.MAPPED) for t in tensors]
        region = device.region("compare", [*wants, *engine.wants()])
        stack.callback(region.close)
        views = {t.name: region.tensor(t) for t in tensors}
        hosts = {t.name: region.tensor(t, f"{t.name} host") for t in tensors}
        execution = engine.bind(views, region)
        stack.callback(execution.close)
        stack.callback(stream.end)
        shapes = {t.name: t.shape for t in engine.inputs}
        pairs: list[tuple[Arrays, Arrays]] = []
        for feed in samples(read_graph(model.file).inputs, shapes, model.input, None):
            for t in engine.inputs:
                hosts[t.name].host()[:] = feed[t.name].astype(t.dtype)
                stream.copy(views[t.name], hosts[t.name])
            execution.enqueue(stream)
            for t in engine.outputs:
                stream.copy(hosts[t.name], views[t.name])
            stream.synchronize()
            ours = {t.name: np.array(hosts[t.name].host()) for t in engine.outputs}
            names = [o.name for o in session.get_outputs()]
            pairs.append((ours, dict(zip(names, session.run(None, feed), strict=True))))
        return {"samples": len(pairs), "outputs": {t.name: _agree(t.name, pairs) for t in engine.outputs}}


def _agree(name: str, pairs: Sequence[tuple[Arrays, Arrays]]) -> dict[str, float]:
    a, b = (np.concatenate([np.ravel(p[k][name]) for p in pairs]).astype(np.float64) for k in (0, 1))
    if a.shape != b.shape:
        raise EngineError(
            f"output '{name}' has {a.size} values, ONNX Runtime's {b.size}", hint="please report this"
        )
    both = float(np.linalg.norm(a) * np.linalg.norm(b))
    cosine = float(a @ b) / both if both else float(np.array_equal(a, b))
    return {"cosine": cosine, "difference": float(np.abs(a - b).max(initial=0.0))}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
