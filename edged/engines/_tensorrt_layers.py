"""What a loaded plan consists of, and what each layer takes: for `edged inspect`, not while frames run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edged.engines._tensorrt_context import TensorRtExecution
from edged.engines.tensorrt_library import Library
from edged.errors import EngineError
from edged.interfaces import Stream


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Median of the runs, in ms on the GPU. Layers are those that the inspector names."""

    name: str
    ms: float


def layers(
    library: Library, engine: Any, execution: TensorRtExecution | None = None
) -> list[Mapping[str, Any]]:
    """Each layer as TensorRT's inspector has it (name, type, inputs, outputs, formats, tactic), in order.

    How much there is depends on the plan: built with detailed profiling verbosity it is all of it, else names alone.
    With `execution` the shapes are those that it was loaded for. EngineError where the library cannot tell.
    """
    if not library.has("inspector"):
        raise EngineError(
            f"{library} has no engine inspector",
            hint="use the full TensorRT (on a Jetson: python3-libnvinfer)",
        )
    inspector = engine.create_engine_inspector()
    if execution is not None:
        inspector.execution_context = execution.context
    text = inspector.get_engine_information(library.module.LayerInformationFormat.JSON)
    try:
        found = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as e:
        raise EngineError(
            f"{library}: the inspector's words are no JSON that edged reads: {text[:80]!r}",
            hint="please report it with the version of TensorRT",
        ) from e
    return [layer if isinstance(layer, dict) else {"Name": str(layer)} for layer in found]


def layer_times(
    library: Library, execution: TensorRtExecution, stream: Stream, runs: int = 10
) -> list[LayerTime]:
    """Run `execution` on whatever its inputs hold, waiting after each run, and time its layers.

    Afterwards it stays slow, and cannot be captured: a profiler is attached. Bind another one for frames.
    """
    trt = library.module

    class Profiler(trt.IProfiler):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: dict[str, list[float]] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times.setdefault(layer_name, []).append(ms)

    profiler = Profiler()
    execution.context.profiler = profiler
    for _ in range(runs + 1):
        execution.enqueue(stream)
        stream.synchronize()
    # the first run loads kernels
    return [LayerTime(name, statistics.median(ms[1:] or ms)) for name, ms in profiler.times.items()]
