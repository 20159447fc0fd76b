"""What a plan says of itself once it is loaded: memory and precisions. In the builder's process, on its GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.build.request import BuildError
from edged.engines._tensorrt_layers import layers
from edged.engines.tensorrt_library import Library
from edged.errors import EngineError

# words in the inspector's type of a tensor -> precision: "Half" in 11, "Row major linear FP16 format" in 10.3
_WORDS = (
    (("bf16", "bfloat16"), "bf16"),
    (("fp16", "half"), "fp16"),
    (("fp32", "float"), "fp32"),
    (("int8",), "int8"),
    (("fp8",), "fp8"),
)


@dataclass(frozen=True, slots=True)
class Inspected:
    """What an engine says of itself. None: this version has no word for it."""

    activation_bytes: int | None = None
    weight_bytes: int | None = None
    layers: Mapping[str, int] | None = None


def inspect(library: Library, plan: Path) -> Inspected:
    """Deserialize a plan on the GPU and ask it. Without a driver the library would end the process."""
    trt = library.module
    runtime = trt.Runtime(library.logger)
    runtime.engine_host_code_allowed = True  # of a version-compatible plan, which was built a moment ago
    engine = runtime.deserialize_cuda_engine(plan.read_bytes())
    if engine is None:
        raise BuildError(
            f"the plan that was just built cannot be loaded: {' / '.join(library.logger.take())}",
            hint="please report this with the version of TensorRT",
        )
    weights = None
    if library.has("statistics"):
        weights = int(engine.get_engine_stat(trt.EngineStat.TOTAL_WEIGHTS_SIZE))
    try:
        found = precisions(layers(library, engine))
    except EngineError:  # no inspector, or words that edged does not know
        found = None
    return Inspected(int(engine.device_memory_size_v2), weights, found)


def precisions(found: Iterable[Mapping[str, Any]]) -> dict[str, int] | None:
    """Precision -> layers, by the type of a layer's first output; None where no layer tells it."""
    counted: Counter[str] = Counter()
    for layer in found:
        output: Mapping[str, Any] = next(iter(layer.get("Outputs") or ()), {})
        said = str(output.get("Datatype") or output.get("Format/Datatype") or "").lower()
        counted.update([name for words, name in _WORDS if any(w in said for w in words)][:1])
    return dict(counted) or None
