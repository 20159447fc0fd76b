"""Model directories for tests of the builder, and where its packages are absent, the reason to skip."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edged.build.request import Request, make_request
from edged.models.load import load_model
from tests import onnx_models
from tests.onnx_models import Dims, graph, value

needs_slim = pytest.mark.skipif(
    importlib.util.find_spec("onnxslim") is None, reason="onnxslim is absent: pip install 'edged[build]'"
)
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_libs") is None,
    reason="TensorRT-RTX is absent: pip install 'edged[trt-rtx]'",
)
CAPABILITIES = ("8.6", "8.9")


def directory(folder: Path, model: Any, *, size: tuple[int, int] = (6, 4)) -> Path:
    """A model directory around an ONNX graph whose picture input is x."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx_models.model_toml(folder, onnx_models.write(folder / "model.onnx", model), size=size)
    return folder


def request_for(folder: Path, **options: Any) -> Request:
    """The request for the model in `folder`: TensorRT-RTX, FP32, two capabilities, unless said."""
    known = {"engine": "tensorrt-rtx", "precision": "fp32"}
    if options.get("engine", "tensorrt-rtx") == "tensorrt-rtx":
        known["capabilities"] = CAPABILITIES  # type: ignore[assignment]
    profiles = options.pop("profiles", ())
    return make_request(load_model(folder), profiles, **{**known, **options})


def net(
    nodes: Sequence[Any],
    dims: Dims = (1, 3, 4, 6),
    out: Dims = (1, 3, 4, 6),
    weights: Mapping[str, Any] | None = None,
    opset: int = 17,
) -> Any:
    """A graph from x to y; `weights`: name -> numpy array."""
    kept = [numpy_helper.from_array(np.asarray(w), n) for n, w in (weights or {}).items()]
    made = graph(nodes, [value("x", dims)], [value("y", out)], kept)
    made.opset_import[0].version = opset
    return made


def relu(dims: Dims = (1, 3, 4, 6)) -> Any:
    return net([helper.make_node("Relu", ["x"], ["y"], name="the_relu")], dims, dims)


def quantized() -> Any:
    """A convolution between quantize and dequantize, input and weights, as INT8 training tools export it."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["wq"]),
        helper.make_node("DequantizeLinear", ["wq", "s", "z"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["c"], pads=[1, 1, 1, 1], name="the_conv"),
        helper.make_node("Relu", ["c"], ["y"], name="after"),
    ]
    weights = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w": rng.standard_normal((3, 3, 3, 3)).astype(np.float32),
    }
    return net(nodes, weights=weights)
