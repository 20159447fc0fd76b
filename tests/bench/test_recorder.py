"""Exact quantiles, and results that come out of order are found."""

from __future__ import annotations

import math
import types
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edged.bench.recorder import LEAST_FRAMES, Recorder, quantiles
from edged.errors import EdgedError

HALF = 5.001e-4  # what rounding to three digits may take off, a tie and its float included


@example([39_062_500])  # a tie: 39.0625 ms
@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=300))
def test_a_quantile_is_the_value_at_its_rank(values: list[int]) -> None:
    q = quantiles(np.array(values, np.int64))
    ordered = sorted(values)
    assert q.count == len(values)
    for share, found in ((0.5, q.p50_ms), (0.99, q.p99_ms), (0.999, q.p999_ms)):
        assert found == pytest.approx(ordered[math.ceil(share * len(values)) - 1] / 1e6, abs=HALF)
    assert q.max_ms == pytest.approx(ordered[-1] / 1e6, abs=HALF)
    assert q.mean_ms == pytest.approx(sum(values) / len(values) / 1e6, abs=HALF)


def test_nothing_has_no_quantiles() -> None:
    assert quantiles(np.empty(0, np.int64)).count == 0


def job(**times: int) -> Any:
    frame = types.SimpleNamespace(captured_mono_ns=times.get("captured", 0))
    fields = {"taken_ns": 1, "launched_ns": 2, "done_ns": 3, "device_ms": (0.25, 0.5)}
    return types.SimpleNamespace(frame=frame, **fields)


def result(seq: int, frame_seq: int) -> Any:
    return types.SimpleNamespace(seq=seq, frame_seq=frame_seq)


def recorder(rows: int = 64, warm_up_s: float = 0.0, seconds: float = 0.0) -> tuple[Recorder, list[str]]:
    said: list[str] = []
    table = np.ones((rows, 7), np.int64)
    made = Recorder(table, warm_up_s, seconds, lambda: said.append("start"), lambda: said.append("full"))
    return made, said


def feed(r: Recorder, seqs: list[tuple[int, int]]) -> None:
    for seq, frame_seq in seqs:
        r(cast(Any, job()), result(seq, frame_seq))


def test_it_ends_with_the_least_frames_and_says_so_once() -> None:
    r, said = recorder()
    for i in range(LEAST_FRAMES + 3):
        one = job()
        if i % 4:
            one.device_ms = None  # not timed
        r(cast(Any, one), result(i, 2 * i))
    assert said == ["start", "full"]
    assert r.frames == LEAST_FRAMES
    r.check_order()
    stages = r.stages()
    assert stages["engine"].p50_ms == 0.5
    assert stages["engine"].count < r.frames
    assert stages["preprocess"].p50_ms == 0.25
    assert r.fps > 0
    assert r.busy(2) == pytest.approx(r.busy(1) / 2)


def test_it_ends_when_its_memory_is_full() -> None:
    r, said = recorder(rows=8, seconds=1e6)
    feed(r, [(i, i) for i in range(20)])
    assert said == ["start", "full"]
    assert r.frames == 8


def test_warm_up_is_not_recorded() -> None:
    r, said = recorder(warm_up_s=1e6)
    feed(r, [(i, i) for i in range(20)])
    assert not said
    assert r.frames == 0


@pytest.mark.parametrize("seqs", [[(0, 0), (2, 2)], [(0, 5), (1, 5)], [(0, 5), (1, 4)], [(1, 0)]])
def test_disorder_is_found_even_after_the_end(seqs: list[tuple[int, int]]) -> None:
    r, _ = recorder()
    feed(r, seqs)
    with pytest.raises(EdgedError, match="out of order"):
        r.check_order()
