"""Run in a process of its own (`python -m … PLAN FLAVOUR STORE [MODEL]`): an engine's layers, and what each takes.

Prints one JSON object. Only where there is a GPU: without a driver, TensorRT ends the process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edged import registry
from edged.devices.cuda.device import CudaDevice
from edged.engines.tensorrt import TensorRtEngine
from edged.errors import EdgedError, EngineError
from edged.memory import Budget, Want
from edged.models.load import load_model
from edged.models.model import Model, OutputSpec
from edged.models.one_plan import OnePlan
from edged.models.plans import Plan
from edged.tensors import ImageInput

RUNS = 10


def main(argv: Sequence[str]) -> None:
    try:
        answer = look(Path(argv[0]), argv[1], Path(argv[2]), Path(argv[3]) if len(argv) > 3 else None)
    except EdgedError as e:
        answer = {"error": e.message, "hint": e.hint}
    print(json.dumps(answer))


def look(path: Path, flavour: str, root: Path, directory: Path | None = None, gpu: int = 0) -> dict[str, Any]:
    """Load the plan of the store `root`, ask its inspector, and run it on what its memory holds. EngineError with
    TensorRT's own words.

    "layers": None with "why_no_layers" where the library has no inspector (a lean one); "times": layer -> ms.
    """
    store = OnePlan(root, path)
    shapes = best_shapes(store.plan)
    model = _nameless(store.plan, shapes) if directory is None else load_model(directory)
    backend: type[TensorRtEngine] = registry.load("engines", flavour)
    with ExitStack() as stack:
        device = CudaDevice(Budget(), gpu)
        stack.callback(device.close)
        stack.enter_context(device.current())
        stream = device.stream(name="inspect")
        stack.callback(stream.close)
        engine = backend(model, backend.Options(shapes=shapes), device, stream, plans=store)
        stack.callback(engine.close)
        tensors = (*engine.inputs, *engine.outputs)
        wants = [Want.tensor(t, memory=device.tensor_memory) for t in tensors]
        region = device.region("inspect", [*wants, *engine.wants()])
        stack.callback(region.close)
        execution = engine.bind({t.name: region.tensor(t) for t in tensors}, region)
        stack.callback(execution.close)
        stack.callback(stream.end)
        answer: dict[str, Any] = {"activation_bytes": int(engine.engine.device_memory_size_v2)}
        try:
            answer |= {"layers": engine.layers(execution), "why_no_layers": ""}
        except EngineError as e:
            answer |= {"layers": [], "why_no_layers": e.message}
        times = engine.layer_times(execution, stream, RUNS)
        return answer | {"times": {t.name: t.ms for t in times}}


def best_shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """What the first profile is best at; nothing where the plan's shapes are fixed."""
    profiles: Sequence[Mapping[str, Any]] = plan.sidecar.profiles
    return {name: best for name, (_, best, _) in profiles[0].items()} if profiles else {}


def _nameless(plan: Plan, shapes: Mapping[str, tuple[int, ...]]) -> Model:
    """As much of a model as a plan's engine asks for."""
    if not shapes:
        raise EngineError(
            f"{plan.path}: its shapes are fixed, and without its model it is not known which input is the picture",
            hint="name the model's directory: edged inspect PLAN --model DIR",
        )
    tensor = next(iter(shapes))
    return Model(
        path=plan.path.parent,
        name=f"of {plan.path.parent.name}",
        version="",
        task="raw",
        file=plan.path,
        sha256=plan.sidecar.onnx_sha256,
        input=ImageInput(tensor, (1, 1)),
        output=OutputSpec("raw"),
        shapes=dict(shapes),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
