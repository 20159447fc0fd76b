from __future__ import annotations

import numpy as np
import pytest

from edged.errors import ModelError
from edged.frames import Geometry
from tests.parsers.samples import Array, make_parser, specs

ANY = Geometry.fit((10, 10), (64, 64), "stretch")


def _classes(values: Array, **options: object) -> tuple[list[int], list[float], int]:
    parser = make_parser("classification", options=options)
    parsed = parser.finish(parser.decode({"logits": values}), ANY)
    ids, scores = parsed.classes
    return ids.tolist(), scores.tolist(), parsed.rejected


def test_logits_become_probabilities() -> None:
    values = np.array([0, 2, 1], np.float32)
    ids, scores, _ = _classes(values, top=2)
    powers = np.exp([2.0, 1.0])
    assert ids == [1, 2]
    assert scores == pytest.approx((powers / (1 + powers.sum())).tolist())


def test_probabilities_stay() -> None:
    assert _classes(np.array([0.25, 0.75], np.float32)) == ([1, 0], [0.75, 0.25], 0)


@pytest.mark.parametrize(("softmax", "best"), [("never", 0.75), ("always", 0.6225)])
def test_softmax_on_request(softmax: str, best: float) -> None:
    _, scores, _ = _classes(np.array([0.25, 0.75], np.float32), softmax=softmax)
    assert scores[0] == pytest.approx(best, abs=1e-4)


def test_bad_values_are_dropped_and_huge_ones_are_not() -> None:
    values = np.array([np.nan, 3e38, np.inf, -3e38, -np.inf], np.float32)
    assert _classes(values) == ([1, 3], [1.0, 0.0], 3)
    assert _classes(np.full(4, np.nan, np.float32)) == ([], [], 4)


def test_pooled_maps_and_half_precision() -> None:
    values = np.array([0, 200, 100], np.float16).reshape(3, 1, 1)
    parser = make_parser("classification", labels=("a", "b", "c"))
    parser.check(specs({"o": values}))
    assert parser.decode({"o": values}).class_ids.tolist() == [1, 2, 0]


def test_other_layouts_are_refused_at_load() -> None:
    with pytest.raises(ModelError, match="3 classes"):
        make_parser("classification", labels=("a",)).check(specs({"o": np.zeros(3, np.float32)}))
    with pytest.raises(ModelError, match="float"):
        make_parser("classification").check(specs({"o": np.zeros(3, np.int64)}))
    with pytest.raises(ModelError, match="float"):
        make_parser("classification").check(specs({"o": np.zeros((3, 7, 7), np.float32)}))
