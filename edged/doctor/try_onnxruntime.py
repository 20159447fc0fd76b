"""Run in a process of its own (`python -m`): does ONNX Runtime run a graph of one node here? Prints one JSON object.

"cuda": "" where the CUDA provider ran it, else why not.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

# y = Relu(x), both float[1]: opset 13, IR version 8, so that the package onnx is not needed here; a test
# compares it with one that onnx made
RELU = base64.b64decode(
    "CAg6MwoMCgF4EgF5IgRSZWx1EgFnWg8KAXgSCgoICAESBAoCCAFiDwoBeRIKCggIARIECgIIAUIECgAQDQ=="
)


def main() -> None:
    from edged.engines.onnxruntime import package, reason
    from edged.engines.onnxruntime_cuda import preload
    from edged.errors import MissingPackage

    try:
        ort = package()
    except MissingPackage as e:
        print(json.dumps({"error": e.message, "hint": e.hint}))
        return
    providers = ort.get_available_providers()
    _run(ort, "CPUExecutionProvider")
    cuda = "it has no CUDA provider"
    if "CUDAExecutionProvider" in providers:
        try:
            preload(ort)
            _run(ort, "CUDAExecutionProvider")
            cuda = ""
        except Exception as e:
            cuda = reason(e)
    print(json.dumps({"version": ort.__version__, "providers": providers, "cuda": cuda}))


def _run(ort: Any, provider: str) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(RELU, options, providers=[provider], enable_fallback=0)
    if provider not in session.get_providers():
        raise RuntimeError(
            f"{provider} could not be loaded: a library of CUDA or cuDNN that it needs is missing"
        )
    (y,) = session.run(None, {"x": np.array([-1.0], np.float32)})
    if y[0] != 0.0:
        raise RuntimeError(f"{provider} says that Relu(-1) is {y[0]}")


if __name__ == "__main__":
    main()
