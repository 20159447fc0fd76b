"""The labelled photographs of the accuracy tests, and their mean average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edged.evaluation.boxes import Found, Truth
from edged.evaluation.datasets import read_dataset
from edged.evaluation.detection import DetectionScore


@dataclass(frozen=True)
class Picture:
    """A photograph, uint8 [h, w, 3] in BGR, and what is in it, in pixels."""

    name: str
    pixels: npt.NDArray[np.uint8]
    truth: Truth


def read_pictures(folder: Path) -> list[Picture]:
    """All of `folder`/images with their `folder`/labels, by name."""
    pictures = []
    for item in read_dataset(folder).items:
        pixels = cv2.imread(str(item.file))
        assert pixels is not None, f"{item.file} cannot be read"
        assert isinstance(item.truth, Truth)
        height, width = pixels.shape[:2]
        pictures.append(
            Picture(item.file.stem, np.asarray(pixels, np.uint8), item.truth.in_pixels(width, height))
        )
    return pictures


def mean_average_precision(truths: Sequence[Truth], found: Sequence[Found]) -> float:
    """mAP50-95; `found[i]` belongs to `truths[i]`."""
    score = DetectionScore(0.0)
    for truth, mine in zip(truths, found, strict=True):
        score.add(truth, mine)
    return score.precision().map
