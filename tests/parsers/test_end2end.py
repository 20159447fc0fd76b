from __future__ import annotations

import numpy as np
import pytest

from edged.errors import ModelError
from edged.frames import Geometry
from tests.parsers.samples import make_parser, specs

STRETCH = Geometry.fit((128, 32), (64, 64), "stretch")


def test_rows_come_through_best_first_without_suppression() -> None:
    rows = np.array([[8, 16, 24, 32, 0.5, 2], [8, 16, 24, 32, 0.9, 2], [0, 0, 0, 0, 0, 0]], np.float32)
    parser = make_parser("end2end")
    parser.check(specs({"output0": rows}))
    parsed = parser.finish(parser.decode({"output0": rows}), STRETCH)
    assert parsed.boxes.tolist() == [[16, 8, 32, 8]] * 2
    assert parsed.scores.tolist() == pytest.approx([0.9, 0.5])
    assert parsed.class_ids.tolist() == [2, 2]


def test_suppression_on_request() -> None:
    rows = np.array([[8, 16, 24, 32, 0.5, 2], [8, 16, 24, 32, 0.9, 2]], np.float32)
    parser = make_parser("end2end", options={"suppress": True})
    assert len(parser.finish(parser.decode({"o": rows}), STRETCH).boxes) == 1


def test_normalized_boxes() -> None:
    rows = np.array([[0.25, 0.5, 0.75, 1, 0.9, 0]], np.float32)
    parser = make_parser("end2end", (64, 32), options={"normalized": True})
    assert parser.decode({"o": rows}).boxes.tolist() == [[16, 16, 48, 32]]


@pytest.mark.parametrize("number", [np.nan, np.inf, -1, 3e9])
def test_what_is_no_class_is_rejected(number: float) -> None:
    rows = np.array([[8, 16, 24, 32, 0.5, number]], np.float32)
    c = make_parser("end2end").decode({"o": rows})
    assert (len(c.boxes), c.rejected) == (0, 1)


def test_other_layouts_are_refused_at_load() -> None:
    with pytest.raises(ModelError, match="x1, y1, x2, y2"):
        make_parser("end2end").check(specs({"o": np.zeros((300, 7), np.float32)}))
