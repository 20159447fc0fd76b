from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edged.parsers.nms import BLOCK, suppress
from tests.parsers.samples import Array, overlap, plain_suppress
from tests.searching import examples

# coordinates on a coarse grid: many overlaps, and areas that float32 holds exactly
cells = hnp.arrays(np.int64, st.tuples(st.integers(0, 40), st.just(4)), elements=st.integers(0, 12))


def _boxes(c: Array) -> Array:
    c = c.astype(np.float32) * 8
    return np.stack((c[:, 0], c[:, 1], c[:, 0] + c[:, 2] + 8, c[:, 1] + c[:, 3] + 8), axis=1)


def _tied(boxes: Array, iou: float) -> bool:
    """An overlap equals the threshold up to rounding: either answer is right."""
    return any(abs(overlap(a, b) - iou) < 1e-5 for i, a in enumerate(boxes) for b in boxes[:i])


@given(cells, st.data(), st.sampled_from([0.0, 0.3, 0.451, 0.7, 1.0]))
def test_suppress_is_the_plain_loop(c: Array, data: st.DataObject, iou: float) -> None:
    boxes, n = _boxes(c), len(c)
    scores = data.draw(hnp.arrays(np.float32, n, elements=st.sampled_from([0.25, 0.5, 0.75, 1.0])))
    ids = data.draw(hnp.arrays(np.int32, n, elements=st.integers(0, 2)))
    assume(iou in (0.0, 1.0) or not _tied(boxes.astype(np.float64), iou))
    assert suppress(boxes, scores, ids, iou, n).tolist() == plain_suppress(boxes, scores, ids, iou)


@examples(5)
@given(st.integers(0, 2**32 - 1))
def test_blocks_do_not_change_the_answer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 3 * BLOCK + 7
    corner, size = rng.uniform(0, 300, (n, 2)), rng.uniform(10, 120, (n, 2))
    boxes = np.concatenate((corner, corner + size), axis=1).astype(np.float32)
    scores, ids = rng.random(n, np.float32), rng.integers(0, 3, n).astype(np.int32)
    iou = 0.4321
    plain = plain_suppress(boxes, scores, ids, iou)
    assert suppress(boxes, scores, ids, iou, n).tolist() == plain
    assert suppress(boxes, scores, ids, iou, 20).tolist() == plain[:20]


def test_only_one_class_suppresses() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    scores = np.array([0.5, 0.9, 0.7], np.float32)
    assert suppress(boxes, scores, np.array([1, 1, 2], np.int32), 0.5, 9).tolist() == [1, 2]


@pytest.mark.parametrize("limit", [0, 1, 300])
def test_nothing_in_nothing_out(limit: int) -> None:
    kept = suppress(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32), 0.5, limit)
    assert kept.shape == (0,)
    assert kept.dtype == np.intp
