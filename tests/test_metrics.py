"""Histograms of fixed size whose quantiles are near the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.metrics import Histogram, Quantiles

SECONDS = st.lists(st.floats(1e-6, 1000), min_size=1, max_size=300)


def filled(values: list[float]) -> Histogram:
    h = Histogram()
    for v in values:
        h.record(v)
    return h


@given(SECONDS, st.sampled_from([0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0]))
def test_quantiles_are_at_most_4_percent_above_the_exact_ones(values: list[float], q: float) -> None:
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    assert exact * (1 - 1e-9) <= filled(values).quantile(q) <= exact * 1.04 * (1 + 1e-9)


@given(SECONDS)
def test_count_mean_and_maximum_are_exact(values: list[float]) -> None:
    found = filled(values).quantiles()
    assert found.count == len(values)
    assert found.mean_ms == pytest.approx(np.mean(values) * 1e3, abs=1e-3)
    assert found.max_ms == pytest.approx(max(values) * 1e3, abs=1e-3)
    assert found.p50_ms <= found.p99_ms <= found.p999_ms <= found.max_ms


def test_what_is_beyond_its_range_is_counted_at_its_ends() -> None:
    h = filled([-1.0, 0.0, 1e-9, 1e6])
    assert h.count == 4
    assert h.quantile(0.5) <= 1e-6
    assert h.max_s == 1e6
    assert 1000 <= h.quantile(1.0) <= 1e6


def test_an_empty_histogram_is_all_zero() -> None:
    assert Histogram().quantiles() == Quantiles()
    assert Histogram().quantile(0.5) == 0


def test_it_never_grows() -> None:
    h = Histogram()
    buckets = len(h._counts)
    for v in np.geomspace(1e-9, 1e9, 1000).tolist():
        h.record(v)
    assert len(h._counts) == buckets
