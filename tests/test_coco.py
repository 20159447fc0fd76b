"""The evaluator of the accuracy tests, on cases worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.coco import Labelled, mean_average_precision, read_labels

BOX = [10.0, 10.0, 100.0, 100.0]
FAR = [500.0, 500.0, 100.0, 100.0]
# overlaps BOX by 80 of 100 columns: 8000 / 12000
TWO_THIRDS = [30.0, 10.0, 100.0, 100.0]


def of(*rows: tuple[list[float], int, float]) -> Labelled:
    """Rows of (box, class, score)."""
    boxes = np.array([r[0] for r in rows]).reshape(-1, 4)
    return Labelled(boxes, np.array([r[1] for r in rows], np.int64), np.array([r[2] for r in rows]))


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        ([of((BOX, 0, 0))], [of((BOX, 0, 0.9))], 1.0),
        ([of((BOX, 0, 0))], [of()], 0.0),
        ([of((BOX, 0, 0))], [of((BOX, 1, 0.9))], 0.0),
        # a false one below the true one costs nothing, above it half
        ([of((BOX, 0, 0))], [of((BOX, 0, 0.9), (FAR, 0, 0.1))], 1.0),
        ([of((BOX, 0, 0))], [of((FAR, 0, 0.9), (BOX, 0, 0.1))], 0.5),
        # a second detection of one object is false
        ([of((BOX, 0, 0))], [of((BOX, 0, 0.9), (BOX, 0, 0.8))], 1.0),
        # 0.667 counts at 0.50, 0.55, 0.60 and 0.65
        ([of((BOX, 0, 0))], [of((TWO_THIRDS, 0, 0.9))], 0.4),
        # one of two objects: recalls 0.00 to 0.50 are 51 of 101 points
        ([of((BOX, 0, 0), (FAR, 0, 0))], [of((BOX, 0, 0.9))], 51 / 101),
        # the mean is over classes, and scores are ranked across pictures
        ([of((BOX, 0, 0), (FAR, 3, 0))], [of((BOX, 0, 0.9))], 0.5),
        ([of((BOX, 0, 0)), of()], [of((BOX, 0, 0.5)), of((FAR, 0, 0.9))], 0.5),
        # the hundred best of a picture count
        ([of((BOX, 0, 0))], [of(*[(FAR, 0, 0.9)] * 100, (BOX, 0, 0.1))], 0.0),
    ],
)
def test_map(truth: list[Labelled], found: list[Labelled], expected: float) -> None:
    assert mean_average_precision(truth, found) == pytest.approx(expected, abs=1e-9)


def test_labels_become_boxes_in_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("7 0.5 0.25 0.2 0.1\n\n")
    labels = read_labels(tmp_path / "a.txt", 640, 480)
    assert labels.class_ids.tolist() == [7]
    np.testing.assert_allclose(labels.boxes, [[256, 96, 128, 48]])
    assert len(read_labels(tmp_path / "absent.txt", 640, 480).boxes) == 0
