"""Outputs of detectors with everything in them that a parser must get right, for the emulation and a real GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edged.parsers.base import Candidates
from tests.parsers.samples import make_parser

Array = npt.NDArray[Any]
SIZE = (96, 64)
CELLS = 12 * 8 + 6 * 4 + 3 * 2

# parser, its options, rows, columns of one image
HEADS: list[tuple[str, dict[str, Any], tuple[int, int]]] = [
    ("yolov5", {}, (378, 85)),
    ("yolov5", {"max_candidates": 20}, (378, 7)),
    ("yolov8", {}, (84, CELLS)),
    ("yolov8", {"keypoints": 5}, (4 + 1 + 15, CELLS)),
    ("yolov8", {"keypoints": 4, "keypoint_values": 2, "max_candidates": 9}, (4 + 2 + 8, CELLS)),
    ("yolox", {}, (CELLS, 85)),
    ("yolox", {"decoded": True}, (CELLS, 7)),
    ("yolox", {"strides": (8, 16)}, (12 * 8 + 6 * 4, 9)),
    ("end2end", {}, (300, 6)),
    ("end2end", {"normalized": True, "suppress": True, "max_candidates": 10}, (300, 6)),
]


def outputs(parser: str, options: dict[str, Any], shape: tuple[int, int], dtype: Any, seed: int) -> Array:
    """Random rows, a tenth of them above the threshold; some not numbers, infinite, absurd, equal."""
    rng = np.random.default_rng(seed)
    rows = rng.random(shape if parser != "yolov8" else shape[::-1], np.float32)
    n, columns = rows.shape
    low = 4 if parser != "end2end" else 5
    rows[:, 4:] *= np.where(rng.random((n, 1)) < 0.3, 1, 0.3)
    scale = (0.4 if parser == "yolox" and not options.get("decoded") else 40, 0.2, 1)[0]
    rows[:, :4] *= scale
    if parser == "end2end":
        rows[:, 2:4] += rows[:, :2]
        rows[:, 5] = rng.integers(-1, 80, n)
        if options.get("normalized"):
            rows[:, :4] /= 90
        rows[rng.integers(0, n, 3), 5] = (np.nan, 3.5, 2e6 if dtype == np.float32 else np.inf)
    for value in (np.nan, np.inf, -np.inf, 1.02, 7.0):
        rows[rng.integers(0, n, 2), rng.integers(4, columns, 2)] = value
        rows[rng.integers(0, n, 2), rng.integers(0, 4, 2)] = value * 1000
        rows[rng.integers(0, n, 2), 4] = value
    rows[n // 2 : n // 2 + 4] = rows[n // 2]  # ties
    if low < columns:
        rows[3, 4:] = 0.9
    rows[5, 4] = 0.3
    if parser == "yolov8":
        rows = rows.T
    return np.ascontiguousarray(rows, dtype)


def assert_same(got: Candidates, want: Candidates) -> None:
    """All of them, in the same order; boxes up to what exp() may differ by."""
    assert got.rejected == want.rejected
    assert got.class_ids.tolist() == want.class_ids.tolist()
    assert got.scores.tolist() == want.scores.tolist()
    np.testing.assert_allclose(got.boxes, want.boxes, rtol=1e-5, atol=1e-3)
    assert (got.keypoints is None) == (want.keypoints is None)
    if got.keypoints is not None and want.keypoints is not None:
        assert got.keypoints.tolist() == want.keypoints.tolist()


def parser_of(parser: str, options: dict[str, Any], threshold: float) -> Any:
    return make_parser(parser, SIZE, options, score_threshold=threshold)
