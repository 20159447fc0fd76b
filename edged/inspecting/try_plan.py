"""Run in a process of its own (`python -m … PLAN FLAVOUR`): what an engine says of its layers. Prints one JSON object.

Only where there is a GPU: without a driver, TensorRT ends the process.
"""

from __future__ import annotations

import json
import mmap
import sys
from collections.abc import Sequence
from pathlib import Path

from edged.engines.tensorrt_library import library
from edged.errors import EdgedError, EngineError


def main(argv: Sequence[str]) -> None:
    try:
        answer = look(Path(argv[0]), argv[1])
    except EdgedError as e:
        answer = {"error": e.message, "hint": e.hint}
    print(json.dumps(answer))


def look(path: Path, flavour: str) -> dict[str, object]:
    """Deserialize the plan and ask the engine's inspector. EngineError with TensorRT's own words where it cannot."""
    lib = library(flavour)
    trt = lib.module
    with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        engine = trt.Runtime(lib.logger).deserialize_cuda_engine(data)
        if engine is None:
            said = " / ".join(lib.logger.errors[-3:]) or "it gives no reason"
            raise EngineError(
                f"{path}: cannot be loaded: {said}", hint="edged model build DIR builds one for here"
            )
        inspector = engine.create_engine_inspector()
        return {
            "activation_bytes": int(engine.device_memory_size_v2),
            "information": inspector.get_engine_information(trt.LayerInformationFormat.JSON),
        }


if __name__ == "__main__":
    main(sys.argv[1:])
