"""A small configuration to measure: the pattern, a model of three classes, and a sink that nothing may use."""

from __future__ import annotations

from pathlib import Path

from tests import onnx_models

TEXT = """
[device]
id = "robot-7"
[pipelines.front]
source = "moving"
model = "tiny"
sinks = ["cloud"]
[sources.moving]
kind = "pattern"
size = [64, 48]
rate = 25.0
[models.tiny]
path = "tiny"
options = { threads = 1 }
[sinks.cloud]
kind = "mqtt"
host = "broker.invalid"
"""


def config_file(folder: Path, more: str = "") -> Path:
    """The configuration's path; `more` TOML behind it."""
    model = folder / "tiny"
    model.mkdir()
    file = onnx_models.mean_classes(model / "model.onnx")
    output = 'parser = "classification"\nlabels = ["a", "b", "c"]'
    onnx_models.model_toml(model, file, size=(8, 8), output=output)
    path = folder / "edged.toml"
    path.write_text(TEXT + more)
    return path
