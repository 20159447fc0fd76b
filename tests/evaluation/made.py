"""Small datasets and models, made where a test needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests import onnx_models

COLORS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}  # BGR


def picture(
    file: Path, color: tuple[int, int, int] = (128, 128, 128), size: tuple[int, int] = (40, 30)
) -> Path:
    """One color all over; `size` is (w, h)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), np.full((size[1], size[0], 3), color, np.uint8))
    return file


def coco_file(
    file: Path, names: Sequence[str], boxes: Mapping[str, Sequence[tuple[int, list[float]]]]
) -> Path:
    """COCO's labels: categories from 1 on, `boxes`: picture -> category and box of its objects."""
    pictures = list(boxes)
    content: dict[str, Any] = {
        "images": [{"id": i, "file_name": p, "width": 40, "height": 30} for i, p in enumerate(pictures)],
        "annotations": [
            {"id": n, "image_id": pictures.index(p), "category_id": c, "bbox": box, "iscrowd": 0, "area": 1}
            for n, (p, c, box) in enumerate((p, c, b) for p, rows in boxes.items() for c, b in rows)
        ],
        "categories": [{"id": i, "name": n} for i, n in enumerate(names, 1)],
        "info": {},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def color_classifier(folder: Path, labels: Sequence[str] = ("red", "green", "blue")) -> Path:
    """A model directory whose class is the strongest of the three colors."""
    folder.mkdir(parents=True)
    file = onnx_models.mean_classes(folder / "model.onnx")
    onnx_models.model_toml(
        folder,
        file,
        size=(8, 8),
        input='resize = "stretch"',
        output=f'parser = "classification"\nlabels = {json.dumps(list(labels))}',
    )
    return folder
