from __future__ import annotations

import numpy as np
import pytest

from edged.frames import Geometry
from edged.parsers.fake import FakeParser
from edged.parsers.select import strongest
from tests.parsers.samples import make_model

LETTERBOX = Geometry.fit((128, 64), (64, 64), "letterbox")  # scale 0.5, 16 rows of padding above and below


def _fake(*rows: tuple[float, ...], max_detections: int = 300) -> FakeParser:
    return FakeParser(make_model("yolox", max_detections=max_detections), rows)


def test_a_row_at_the_threshold_stays() -> None:
    index, rejected = strongest(np.array([0.3, 0.29, 0.5], np.float32), 0.3, 10)
    assert (index.tolist(), rejected) == ([0, 2], 0)


def test_what_is_no_score_is_counted() -> None:
    scores = np.array([np.nan, np.inf, -np.inf, 7.0, 0.9, -1.0], np.float32)
    index, rejected = strongest(scores, 0.3, 10)
    assert (index.tolist(), rejected) == ([4], 3)  # -inf and -1 are below the threshold


def test_the_surplus_is_counted_and_the_best_stay() -> None:
    scores = np.linspace(0.4, 0.9, 50, dtype=np.float32)[::-1]
    index, rejected = strongest(scores, 0.3, 8)
    assert (index.tolist(), rejected) == (list(range(8)), 42)


def test_finish_maps_and_clips() -> None:
    parser = _fake((-8, 8, 32, 48, 0.9, 3))
    parsed = parser.finish(parser.decode({}), LETTERBOX)
    assert parsed.boxes is not None
    assert parsed.boxes.tolist() == [[0, 0, 64, 64]]  # x -16..64, y -16..64
    assert parsed.rejected == 0


def test_a_box_in_the_padding_is_dropped_and_not_rejected() -> None:
    parser = _fake((0, 0, 64, 16, 0.9, 0), (0, 20, 8, 30, 0.5, 0))
    parsed = parser.finish(parser.decode({}), LETTERBOX)
    assert parsed.boxes is not None
    assert parsed.scores is not None
    assert parsed.boxes.tolist() == [[0, 8, 16, 20]]
    assert parsed.scores.tolist() == [0.5]
    assert parsed.rejected == 0


def test_boxes_of_a_region_are_those_of_a_picture_that_ends_there_moved_to_their_place() -> None:
    rows = (-8, 8, 32, 48, 0.9, 3), (0, 0, 64, 15, 0.8, 0), (20, 20, 30, 30, 0.7, 0)
    parser = _fake(*rows)
    alone = parser.finish(parser.decode({}), LETTERBOX)
    within = parser.finish(
        parser.decode({}), Geometry.fit((1000, 500), (64, 64), "letterbox", (301, 77, 128, 64))
    )
    assert alone.boxes is not None
    assert within.boxes is not None
    assert len(alone.boxes) == 2, "the second is in the padding"
    assert np.abs(within.boxes - alone.boxes - np.array([301, 77, 0, 0])).max() < 1e-3
    assert within.boxes[0].tolist() == [301, 77, 64, 64]


@pytest.mark.parametrize(
    "row",
    [
        (5, 5, 5, 9, 0.9, 0),  # no width
        (5, 9, 9, 5, 0.9, 0),  # turned over
        (np.nan, 0, 9, 9, 0.9, 0),
        (0, 0, np.inf, 9, 0.9, 0),
        (-1e30, 0, 9, 9, 0.9, 0),  # absurdly far
    ],
)
def test_what_is_no_box_is_rejected(row: tuple[float, ...]) -> None:
    parser = _fake(row, (1, 20, 8, 30, 0.5, 0))
    parsed = parser.finish(parser.decode({}), LETTERBOX)
    assert parsed.scores is not None
    assert parsed.scores.tolist() == [0.5]
    assert parsed.rejected == 1


def test_max_detections_keeps_the_best() -> None:
    rows = [(8 * i, 20, 8 * i + 6, 30, 0.4 + i / 20, 0) for i in range(6)]
    parser = _fake(*rows, max_detections=2)
    parsed = parser.finish(parser.decode({}), LETTERBOX)
    assert parsed.scores is not None
    assert parsed.scores.tolist() == pytest.approx([0.65, 0.6])
