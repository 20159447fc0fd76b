from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edged.tracking.assignment import F64, assign


def best(weights: F64) -> float:
    """The most that any matching adds up to, by trying all of them."""
    w = np.maximum(weights if weights.shape[0] <= weights.shape[1] else weights.T, 0)
    n, m = w.shape
    return max(float(w[np.arange(n), list(p)].sum()) for p in permutations(range(m), n))


# few values make ties, zeros and negative ones make gaps; both are where such code fails
values = st.one_of(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]), st.floats(-1, 1, width=32))


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=values))
def test_the_sum_is_the_best_there_is(weights: F64) -> None:
    rows, columns = assign(weights)
    assert len(set(rows.tolist())) == len(rows)
    assert len(set(columns.tolist())) == len(columns)
    assert (weights[rows, columns] > 0).all()
    assert sorted(rows.tolist()) == rows.tolist()
    assert weights[rows, columns].sum() == pytest.approx(best(weights))


def test_a_greedy_choice_would_be_worse() -> None:
    rows, columns = assign(np.array([[0.9, 0.8], [0.8, 0.1]]))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_match(shape: tuple[int, int]) -> None:
    rows, columns = assign(np.zeros(shape))
    assert len(rows) == len(columns) == 0


def test_a_large_crowd_is_matched_as_it_stands() -> None:
    rng = np.random.default_rng(0)
    weights, people = rng.uniform(0, 0.5, (100, 100)), rng.permutation(100)
    weights[np.arange(100), people] = rng.uniform(0.6, 1, 100)
    rows, columns = assign(weights)
    assert (columns == people).all()
    assert (rows == np.arange(100)).all()
