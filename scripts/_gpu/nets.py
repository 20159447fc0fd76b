"""Networks of known sizes with random weights, and model directories for them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper, save


class Net:
    """Builds an ONNX graph of convolutions; `flops` counts multiplications and additions of an inference."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[object] = []
        self._weights: list[object] = []
        self._shape: dict[str, tuple[int, int]] = {"images": (3, size)}  # channels, side
        self.size, self.flops, self.parameters = size, 0.0, 0

    def _name(self, what: str) -> str:
        return f"{what}{len(self._nodes)}"

    def conv(
        self, x: str, channels: int, kernel: int = 3, stride: int = 1, *, relu: bool = True, gain: float = 1
    ) -> str:
        inside, side = self._shape[x]
        out, side = self._name("conv"), -(-side // stride)
        spread = gain * np.sqrt(2 / (inside * kernel * kernel))
        w = self._rng.standard_normal((channels, inside, kernel, kernel), np.float32) * np.float32(spread)
        b = np.zeros(channels, np.float32)
        self._weights += [numpy_helper.from_array(w, f"{out}.w"), numpy_helper.from_array(b, f"{out}.b")]
        pads = [kernel // 2] * 4
        self._nodes.append(
            helper.make_node(
                "Conv",
                [x, f"{out}.w", f"{out}.b"],
                [out],
                kernel_shape=[kernel] * 2,
                strides=[stride] * 2,
                pads=pads,
            )
        )
        self._shape[out] = (channels, side)
        self.flops += 2.0 * w.size * side * side
        self.parameters += w.size + b.size
        return self.op("Relu", [out]) if relu else out

    def op(self, kind: str, inputs: list[str], channels: int | None = None, **attributes: object) -> str:
        out = self._name(kind.lower())
        self._nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        have, side = self._shape[inputs[0]]
        self._shape[out] = (channels or have, side)
        return out

    def pool(self, x: str) -> str:
        out = self.op("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        self._shape[out] = (self._shape[x][0], -(-self._shape[x][1] // 2))
        return out

    def constant(self, name: str, values: list[int]) -> str:
        self._weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def side(self, x: str) -> int:
        return self._shape[x][1]

    def model(self, output: str, shape: tuple[int, ...]) -> ModelProto:
        self._nodes.append(helper.make_node("Identity", [output], ["out"]))
        image = helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, 3, self.size, self.size))
        out = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self._nodes, "net", [image], [out], self._weights)
        made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return made


def resnet50() -> tuple[ModelProto, Net]:
    """ResNet-50's shape: 224 pixels, 25 million parameters, 8 GFLOP."""
    net = Net(224)
    x = net.pool(net.conv("images", 64, 7, 2))
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            step = stride if i == 0 else 1
            y = net.conv(net.conv(net.conv(x, width, 1), width, 3, step), width * 4, 1, relu=False, gain=0.5)
            skip = x if i else net.conv(x, width * 4, 1, step, relu=False)
            x = net.op("Relu", [net.op("Add", [y, skip])])
    pooled = net.op("GlobalAveragePool", [x])
    logits = net.conv(pooled_as_map(net, pooled), 1000, 1, relu=False)
    flat = net.op("Flatten", [logits])
    return net.model(net.op("Softmax", [flat]), (1, 1000)), net


def pooled_as_map(net: Net, pooled: str) -> str:
    """A pooled map has one pixel."""
    net._shape[pooled] = (net._shape[pooled][0], 1)
    return pooled


def yolo_m() -> tuple[ModelProto, Net]:
    """A detector of YOLOv8m's size: 640 pixels, about 25 million parameters and 80 GFLOP, output [1, 84, 8400]."""
    net = Net(640)
    x = net.conv(net.conv("images", 48, 3, 2), 96, 3, 2)
    levels = []
    for width, count in ((96, 3), (192, 6), (384, 8), (576, 5)):
        if width != 96:
            x = net.conv(x, width, 3, 2)
        for _ in range(count):
            y = net.conv(net.conv(x, width // 2, 1), width // 2, 3)
            x = net.op(
                "Relu", [net.op("Add", [net.conv(net.conv(y, width // 2, 3), width, 1, relu=False), x])]
            )
        levels.append(x)
    rows = []
    for n, level in enumerate(levels[1:]):
        head = net.conv(net.conv(level, 256, 3), 256, 3)
        out = net.conv(head, 84, 1, relu=False, gain=1e-4)  # no row passes a threshold
        shape = net.constant(f"shape{n}", [1, 84, net.side(level) ** 2])
        rows.append(net.op("Reshape", [out, shape]))
    return net.model(net.op("Concat", rows, axis=2), (1, 84, 8400)), net


_TOML = """\
name = "{name}"
version = "1"
task = "{task}"
file = "model.onnx"
sha256 = "{sha256}"

[input]
tensor = "images"
size = [{size}, {size}]
color = "{color}"
resize = "{resize}"
pad = 114
mean = {mean}
std = {std}

[output]
parser = "{parser}"
{more}
"""


def directory(folder: Path, name: str, model: ModelProto | Path, size: int, **words: str) -> Path:
    """A model directory in `folder` for an ONNX model or file."""
    made = folder / name
    made.mkdir(parents=True, exist_ok=True)
    file = made / "model.onnx"
    if isinstance(model, Path):
        shutil.copyfile(model, file)
    else:
        save(model, str(file))
    defaults = {"color": "RGB", "resize": "letterbox", "mean": "0.0", "std": "255.0", "more": ""}
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    text = _TOML.format(**{**defaults, **words}, name=name, sha256=sha256, size=size)
    (made / "model.toml").write_text(text)
    return made


def make_all(folder: Path, yolox: Path | None, wanted: list[str]) -> dict[str, Path]:
    """Model directories by name; YOLOX-nano only where its file is given."""
    out = {}
    thresholds = "score_threshold = 0.3\niou_threshold = 0.5"
    if yolox is not None and "yolox-nano" in wanted:
        words = {
            "color": "BGR",
            "resize": "letterbox-topleft",
            "std": "1.0",
            "parser": "yolox",
            "task": "detect",
        }
        out["yolox-nano"] = directory(folder, "yolox-nano", yolox, 416, **words, more=thresholds)
    if "resnet50" in wanted:
        out["resnet50"] = directory(
            folder, "resnet50", resnet50()[0], 224, parser="classification", task="classify", resize="stretch"
        )
    if "yolo-m" in wanted:
        out["yolo-m"] = directory(
            folder, "yolo-m", yolo_m()[0], 640, parser="yolov8", task="detect", more=thresholds
        )
    if "empty" in wanted:
        net = Net(8)
        model = net.model(net.op("Relu", ["images"]), (1, 3, 8, 8))
        out["empty"] = directory(folder, "empty", model, 8, parser="raw", task="raw")
    return out
