"""What TensorRT's lean runtime makes of a file, in a process of its own: what a strange one does to it is not known.

    python -m tests.gpu.lean_probe runtime FILE        the file is given to the runtime as it is
    python -m tests.gpu.lean_probe engine FILE STATE   a sealed plan in the store at STATE, loaded as a runner does

Prints one JSON object: said (TensorRT's own words), error and hint (edged's), left (GPU memory that is still held).
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from edged.devices.cuda.device import CudaDevice
from edged.engines._tensorrt_errors import failed
from edged.engines._tensorrt_memory import EngineMemory, allocator
from edged.engines._tensorrt_plan import mapped
from edged.engines.tensorrt import TensorRtEngine
from edged.engines.tensorrt_library import library
from edged.errors import EdgedError
from edged.interfaces import Stream
from edged.models.model import Model, OutputSpec
from edged.models.plans import PlanStore, Sidecar
from edged.tensors import ImageInput

ONNX = "ab" * 32


def by_runtime(device: CudaDevice, file: Path) -> dict[str, Any]:
    found = library("tensorrt")
    memory = EngineMemory("probe", device)
    hook = allocator(found, memory)
    with mapped(file) as pages:
        runtime = found.module.Runtime(found.logger)
        runtime.gpu_allocator = hook
        engine = runtime.deserialize_cuda_engine(pages)
    said = found.logger.errors
    e = failed(found, "probe", "the plan cannot be loaded")
    return {
        "loaded": engine is not None,
        "said": said,
        "error": e.message,
        "hint": e.hint,
        "left": memory.nbytes,
    }


def by_engine(device: CudaDevice, stream: Stream, file: Path, state: Path) -> dict[str, Any]:
    """The file passes for a plan of this very library and GPU: what it is, TensorRT alone can tell."""
    data = file.read_bytes()
    sidecar = Sidecar(
        engine="tensorrt",
        version=library("tensorrt").version,
        gpu=None,
        capabilities=(device.capability,),
        precision="fp32",
        profiles=(),
        onnx_sha256=ONNX,
        plan_sha256=hashlib.sha256(data).hexdigest(),
        plan_bytes=len(data),
        build_s=0.0,
        built_at=0,
    )
    store = PlanStore(state / "plans")
    store.install(file, sidecar)
    model = Model(
        Path("m"), "probe", "1", "raw", Path("m.onnx"), ONNX, ImageInput("x", (6, 4)), OutputSpec("raw")
    )
    before = device.budget.held
    try:
        TensorRtEngine(model, TensorRtEngine.Options(), device, stream, plans=store)
    except EdgedError as e:
        return {"loaded": False, "error": e.message, "hint": e.hint, "left": device.budget.held - before}
    return {"loaded": True}


def main(how: str, file: str, state: str = "") -> None:
    device = CudaDevice()
    with device.current():
        stream = device.stream()
        if how == "runtime":
            told = by_runtime(device, Path(file))
        else:
            told = by_engine(device, stream, Path(file), Path(state))
        stream.close()
    device.close()
    print(json.dumps({**told, "library": str(library("tensorrt"))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
