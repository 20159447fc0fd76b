"""What a new model.toml says where the user said nothing: values, why, and which to check.

An ONNX file tells shapes; it never tells color order or normalization. Those come from what exports of the
recognized layout usually want, marked to be checked.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edged import registry
from edged.errors import EdgedError
from edged.tensors import TensorSpec

Hints = Mapping[str, Any]
log = logging.getLogger(__name__)

_PIXELS: Hints = {"mean": 0.0, "std": 1.0}
_ULTRALYTICS: Hints = {"color": "RGB", "resize": "letterbox", "pad": 114, "mean": 0.0, "std": 255.0}
# torchvision's preset, times 255 (pytorch.org/vision, models)
_IMAGENET: Hints = {
    "color": "RGB",
    "resize": "stretch",
    "pad": 0,
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
}
_UNKNOWN: Hints = {"color": "RGB", "resize": "letterbox", "pad": 114, **_PIXELS}

# [input] keys that the training code of each parser's models uses
INPUT_HINTS: dict[str, Hints] = {
    "yolox": {"color": "BGR", "resize": "letterbox-topleft", "pad": 114, **_PIXELS},
    "yolov5": _ULTRALYTICS,
    "yolov8": _ULTRALYTICS,
    "end2end": _ULTRALYTICS,
    "centerface": {"color": "RGB", "resize": "letterbox", "pad": 0, **_PIXELS},
    "classification": _IMAGENET,
    "segmentation": _IMAGENET,
}
# which dimension of the (first) output counts classes, and what else it counts
_CLASS_AXES: dict[str, tuple[int, int]] = {"yolox": (2, 5), "yolov5": (2, 5), "yolov8": (1, 4)}
ONE_CLASS: dict[str, tuple[str, ...]] = {"centerface": ("face",)}


@dataclass(frozen=True, slots=True)
class Recognized:
    """A parser that knows the outputs: its [output] keys, and [input] hints if its class gives them."""

    parser: str
    output: Hints
    input: Hints
    others: tuple[str, ...] = ()  # parsers that would read the outputs, too


def recognize(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], metadata: Mapping[str, str], only: str = ""
) -> Recognized | None:
    """Ask every registered parser (or `only` one) whether it knows the graph; the first in the table wins.

    A parser of somebody else's that cannot be loaded is passed over with a warning, unless it was asked for.
    """
    shapes_in, shapes_out = {t.name: t.shape for t in inputs}, {t.name: t.shape for t in outputs}
    found: list[tuple[str, dict[str, Any]]] = []
    for kind in [only] if only else registry.kinds("parsers"):
        try:
            ask = getattr(registry.load("parsers", kind), "recognize", None)
        except EdgedError as e:
            if only:
                raise
            log.warning("%s", e)
            continue
        keys = ask(shapes_in, shapes_out, metadata) if ask is not None else None
        if keys is not None:
            found.append((kind, dict(keys)))
    if not found:
        return Recognized(only, {}, input_hints(only)) if only else None
    kind, keys = found[0]
    hints = keys.pop("input", None) or input_hints(kind)
    keys.pop("parser", None)
    return Recognized(kind, keys, hints, tuple(k for k, _ in found[1:]))


def input_hints(parser: str) -> Hints:
    return INPUT_HINTS.get(parser, _UNKNOWN)


def picture_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """(w, h) that ultralytics' exporter stores: imgsz = "[h, w]"."""
    try:
        h, w = ast.literal_eval(metadata["imgsz"])
        return int(w), int(h)
    except (KeyError, ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def class_count(parser: str, outputs: Sequence[TensorSpec]) -> int | None:
    """How many classes the outputs have, for parsers whose layout shows it."""
    axis, others = _CLASS_AXES.get(parser, (0, 0))
    shape = outputs[0].shape if outputs else ()
    # a parser that was named and does not fit is refused by its own check, which says what it needs
    return shape[axis] - others if others and len(shape) > axis else None
