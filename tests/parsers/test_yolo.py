from __future__ import annotations

import numpy as np
import pytest

from edged.errors import ModelError
from tests.parsers.samples import make_parser, specs


def test_yolov5_reads_rows() -> None:
    rows = np.zeros((252, 7), np.float32)
    rows[5] = (20, 30, 8, 4, 0.8, 0.1, 0.5)
    rows[6] = (20, 30, 8, 4, 0.8, 0.1, 0.3)  # 0.24: below 0.3
    parser = make_parser("yolov5")
    parser.check(specs({"output0": rows}))
    c = parser.decode({"output0": rows})
    assert c.boxes.tolist() == [[16, 28, 24, 32]]
    assert c.scores.tolist() == pytest.approx([0.4])
    assert c.class_ids.tolist() == [1]


def test_yolov8_reads_columns() -> None:
    columns = np.zeros((7, 84), np.float32)
    columns[:, 5] = (20, 30, 8, 4, 0.1, 0.2, 0.7)
    columns[:, 9] = (20, 30, 8, 4, np.nan, 0.2, 0.7)
    parser = make_parser("yolov8")
    parser.check(specs({"output0": columns}))
    c = parser.decode({"output0": columns})
    assert c.boxes.tolist() == [[16, 28, 24, 32]]
    assert c.scores.tolist() == pytest.approx([0.7])
    assert c.class_ids.tolist() == [2]
    assert c.keypoints is None
    assert c.rejected == 1


@pytest.mark.parametrize("values", [2, 3])
def test_yolov8_pose_reads_keypoints(values: int) -> None:
    columns = np.zeros((5 + 2 * values, 84), np.float32)
    columns[:5, 1] = (20, 30, 8, 4, 0.9)
    columns[5:, 1] = (18, 29, 0.5)[:values] + (22, 31, 0.5)[:values]
    columns[:, 2] = columns[:, 1]
    columns[5, 2] = np.inf
    parser = make_parser("yolov8", options={"keypoints": 2, "keypoint_values": values}, labels=("person",))
    parser.check(specs({"output0": columns}))
    c = parser.decode({"output0": columns})
    assert c.keypoints is not None
    assert c.keypoints.tolist() == [[[18, 29], [22, 31]]]
    assert c.class_ids.tolist() == [0]
    assert c.rejected == 1


def test_rows_and_columns_are_not_confused() -> None:
    rows, columns = np.zeros((252, 7), np.float32), np.zeros((7, 84), np.float32)
    with pytest.raises(ModelError, match="yolov5"):
        make_parser("yolov8").check(specs({"o": rows}))
    with pytest.raises(ModelError, match="yolov8"):
        make_parser("yolov5").check(specs({"o": columns}))


def test_labels_catch_a_forgotten_keypoint_option() -> None:
    with pytest.raises(ModelError, match="52 classes"):
        make_parser("yolov8", labels=("person",)).check(specs({"o": np.zeros((56, 84), np.float32)}))
