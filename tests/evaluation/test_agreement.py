"""How far two say the same, and the gate that holds one against the other."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from edged.errors import EngineError
from edged.evaluation.agreement import cosine, cosines, pair_up, same_pixels
from edged.evaluation.boxes import Found
from edged.evaluation.gate import gate
from edged.evaluation.report import Metric, PictureScore, Report
from edged.messages import Mask
from tests.evaluation.test_detection import BOX, FAR, TWO_THIRDS, found


def test_each_detection_has_one_partner() -> None:
    pairs = pair_up(found((BOX, 0, 0.9), (BOX, 0, 0.8), (FAR, 1, 0.5)), found((BOX, 0, 0.7), (FAR, 2, 0.5)))
    assert pairs.ious == (1.0,)
    assert list(pairs.score_differences) == pytest.approx([0.2])
    assert pairs.lone == 3
    assert pairs.agreement == pytest.approx(2 / 5)
    near = pair_up(found((BOX, 0, 0.9), (TWO_THIRDS, 0, 0.8)), found((TWO_THIRDS, 0, 0.9), (BOX, 0, 0.8)))
    assert near.ious == (1.0, 1.0), "the nearest go together, not the best scored"
    assert pair_up(Found(), Found()).agreement == 1.0
    assert pair_up(Found(), found((BOX, 0, 0.9))).agreement == 0.0


def test_cosine() -> None:
    a = np.array([[1.0, 2.0]], np.float16)
    assert cosine(a, 3 * a) == pytest.approx(1)
    assert cosine(a, -a) == pytest.approx(-1)
    assert cosine(0 * a, 0 * a) == 1.0
    assert cosine(0 * a, a) == 0.0
    assert cosine(a, np.array([[1.0, np.inf]])) == 0.0, "an overflow agrees with nothing"


def test_outputs_are_matched_by_name_else_by_place() -> None:
    one, two = np.ones(3), np.array([1.0, 0, 0])
    assert cosines({"a": one, "b": two}, {"b": two, "a": one}) == {"a": pytest.approx(1), "b": 1.0}
    assert cosines({"a": one}, {"z": one}) == {"a": pytest.approx(1)}
    assert cosines({"a": one}, {"a": np.ones(4)}) == {}


def test_masks() -> None:
    def mask(size: tuple[int, int], *cells: int) -> Mask:
        return Mask(size, zlib.compress(bytes(cells)), [])

    assert same_pixels(mask((2, 2), 0, 1, 2, 3), mask((2, 2), 0, 1, 2, 4)) == 0.75
    assert same_pixels(mask((2, 2), 0, 1, 2, 3), mask((4, 1), 0, 1, 2, 3)) == 0.0


def report(score: float, metric: Metric = "top-1", **each: float | None) -> Report:
    return Report(
        model="m",
        version="",
        sha256="",
        ran={},
        dataset="d",
        kind="classes",
        pictures=len(each),
        of=len(each),
        metric=metric,
        score=score,
        figures={},
        each=tuple(PictureScore(n, s) for n, s in each.items()),
    )


def test_the_gate_names_the_pictures_that_drop_most() -> None:
    before = report(0.80, a=1.0, b=0.9, c=0.5, d=None)
    after = report(0.79, a=0.2, b=0.8, c=0.6, d=None)
    verdict = gate(before, after, 0.01)
    assert verdict.passed, "0.80 - 0.79 is 0.01, whatever floats say"
    assert verdict.lines() == ["a: 1.000 to 0.200", "b: 0.900 to 0.800"]
    refused = gate(before, after, 0.0)
    assert not refused.passed
    assert str(refused) == "top-1 goes from 0.8000 to 0.7900: a drop of 0.0100, and a drop of 0 is allowed"
    assert gate(after, before, 0.0).passed
    assert "a rise of 0.0100" in str(gate(after, before, 0.0))
    assert not gate(before, report(float("nan"), a=1, b=1, c=1, d=1), 1.0).passed, (
        "no number is no good score"
    )


def test_what_cannot_be_compared_is_refused() -> None:
    for other in (report(1.0, a=1.0), report(1.0, "mAP50-95", a=1.0, b=1.0)):
        with pytest.raises(EngineError, match="cannot be compared"):
            gate(report(1.0, a=1.0, b=1.0), other, 0.1)
