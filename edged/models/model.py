"""A model directory: model.toml beside its ONNX file. Immutable; read once at load."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edged.tensors import ImageInput

Task = Literal["detect", "classify", "segment", "raw"]


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """[output]: which parser reads the outputs and how. `options` are the parser's own (its Options)."""

    parser: str
    labels: tuple[str, ...] = ()
    score_threshold: float = 0.3
    iou_threshold: float = 0.45
    max_detections: int = 300
    options: Any = None


@dataclass(frozen=True, slots=True)
class Model:
    """A checked model.toml. `shapes` resolves dynamic dimensions: tensor name -> full shape (batch 1)."""

    path: Path
    name: str
    version: str
    task: Task
    file: Path
    sha256: str
    input: ImageInput
    output: OutputSpec
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
