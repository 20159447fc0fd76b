from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.config.schema import TrackOptions
from edged.tracking.tracker import I32, Tracker
from tests.searching import examples

S = 1_000_000_000


def update(tracker: Tracker, t_s: float, *seen: Sequence[float]) -> list[int]:
    """Boxes of 40 x 80 at (x, y) with a score and a class."""
    rows = [(x, y, 40, 80) for x, y, *_ in seen]
    ids: list[int] = tracker.update(
        np.array(rows, np.float32).reshape(-1, 4),
        np.array([s[2] if len(s) > 2 else 0.9 for s in seen], np.float32),
        np.array([s[3] if len(s) > 3 else 0 for s in seen], np.int32),
        round(t_s * S),
    ).tolist()
    return ids


def test_an_object_has_an_id_from_its_second_frame_on() -> None:
    tracker = Tracker(TrackOptions())
    assert update(tracker, 0.0, (10, 10), (300, 10)) == [-1, -1]
    first, second = update(tracker, 0.1, (304, 10), (12, 10))
    assert {first, second} == {1, 2}
    assert update(tracker, 0.2, (14, 10), (308, 10)) == [second, first]


def test_with_confirm_1_at_once() -> None:
    assert update(Tracker(TrackOptions(confirm=1)), 0.0, (10, 10), (300, 10)) == [1, 2]


def test_what_shows_once_has_no_id_and_leaves_nothing() -> None:
    tracker = Tracker(TrackOptions())
    update(tracker, 0.0, (10, 10))
    update(tracker, 0.1)
    assert len(tracker) == 0


def test_an_object_that_is_hidden_keeps_its_id_and_its_way() -> None:
    tracker, speed = Tracker(TrackOptions(lost_s=2.0)), 150.0
    for i in range(11):
        (before,) = update(tracker, i / 10, (speed * i / 10, 50))
    for i in range(11, 24):
        assert update(tracker, i / 10) == []
    assert update(tracker, 2.4, (speed * 2.4, 50)) == [before]


def test_an_object_that_is_hidden_for_longer_is_a_new_one() -> None:
    tracker = Tracker(TrackOptions(lost_s=1.0))
    for i in range(5):
        update(tracker, i / 10, (100, 50))
    update(tracker, 1.0)
    assert len(tracker) == 1
    update(tracker, 1.5)
    assert len(tracker) == 0
    update(tracker, 1.6, (100, 50))
    assert update(tracker, 1.7, (100, 50)) == [2]


def test_a_weak_box_goes_on_with_a_track_but_begins_none() -> None:
    tracker = Tracker(TrackOptions(high_score=0.6, low_score=0.1))
    update(tracker, 0.0, (100, 50))
    update(tracker, 0.1, (100, 50))
    assert update(tracker, 0.2, (102, 50, 0.3), (400, 50, 0.3)) == [1, -1]
    assert update(tracker, 0.3, (104, 50, 0.3), (400, 50, 0.3)) == [1, -1]
    assert update(tracker, 0.4, (104, 50, 0.05)) == [-1]


def test_a_strong_box_has_the_first_choice() -> None:
    tracker = Tracker(TrackOptions())
    update(tracker, 0.0, (100, 50))
    update(tracker, 0.1, (100, 50))
    assert update(tracker, 0.2, (100, 50, 0.5), (110, 50, 0.9)) == [-1, 1]


def test_classes_are_apart() -> None:
    tracker = Tracker(TrackOptions())
    for i in range(3):
        ids = update(tracker, i / 10, (100, 50, 0.9, 0), (102, 50, 0.9, 7))
    assert ids == [1, 2]
    assert update(tracker, 0.3, (102, 50, 0.9, 7), (100, 50, 0.9, 0)) == [2, 1]
    assert update(tracker, 0.4, (100, 50, 0.9, 3)) == [-1]


def test_two_who_cross_keep_their_ids() -> None:
    tracker = Tracker(TrackOptions())
    for i in range(21):
        x = 20.0 * i
        ids = update(tracker, i / 10, (x, 50), (400 - x, 60))
    assert ids == [1, 2]


@pytest.mark.parametrize("rate", [5, 10, 30, 60])
def test_at_any_rate_and_with_gaps(rate: int) -> None:
    """Someone walks to and fro at half a width a second, someone stands; every fourth frame is dropped."""
    tracker, found = Tracker(TrackOptions()), set()
    for i in range(8 * rate):
        if i % 4:
            t = i / rate
            x = 100 + 20 * abs(t % 4 - 2)
            found |= set(enumerate(update(tracker, t, (x, 50), (400, 50))))
    assert found <= {(0, -1), (0, 1), (1, -1), (1, 2)}


def test_a_reset_forgets_but_ids_are_never_used_again() -> None:
    tracker = Tracker(TrackOptions())
    for i in range(3):
        ids = update(tracker, i / 10, (100, 50))
    tracker.reset()
    assert len(tracker) == 0
    assert update(tracker, 0.3, (100, 50)) == [-1]
    assert update(tracker, 0.4, (100, 50)) == [ids[0] + 1]


def test_there_is_a_bound_and_the_surest_go_first() -> None:
    tracker = Tracker(TrackOptions(max_tracks=3, confirm=1))
    places = [(100.0 * i, 50.0, 0.65 + 0.05 * i) for i in range(6)]
    assert update(tracker, 0.0, *places) == [-1, -1, -1, 1, 2, 3]
    assert len(tracker) == 3
    assert tracker.refused == 3
    assert update(tracker, 0.1, *places) == [-1, -1, -1, 1, 2, 3]


def test_time_that_stands_still_or_goes_back_is_no_time() -> None:
    tracker = Tracker(TrackOptions())
    assert [update(tracker, t, (100, 50))[0] for t in (5.0, 5.0, 4.0, 5.1)] == [-1, 1, 1, 1]


def test_after_an_hour_all_is_new() -> None:
    tracker = Tracker(TrackOptions())
    ids = [update(tracker, t, (100, 50))[0] for t in (0.0, 0.1, 3600.0, 3600.1)]
    assert ids == [-1, 1, -1, 2]


numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=32), st.floats(-10, 800, width=32), st.just(0.0)
)
rows = st.tuples(*[numbers] * 4, st.floats(width=32), st.integers(-(2**31), 2**31 - 1))
frames = st.lists(st.tuples(st.lists(rows, max_size=8), st.integers(-S, 5 * S)), max_size=8)


def play(script: list[tuple[list[tuple[float, ...]], int]]) -> list[I32]:
    tracker, now, out = Tracker(TrackOptions(max_tracks=6)), 0, []
    for boxes, gap in script:
        now += gap
        table = np.array([r[:4] for r in boxes], np.float32).reshape(-1, 4)
        before = table.copy()
        out.append(
            tracker.update(
                table,
                np.array([r[4] for r in boxes], np.float32),
                np.array([r[5] for r in boxes], np.int32),
                now,
            )
        )
        np.testing.assert_array_equal(table, before)
        assert len(tracker) <= 6
    return out


@examples(50)
@given(frames)
def test_no_numbers_are_too_odd(script: list[tuple[list[tuple[float, ...]], int]]) -> None:
    ids = play(script)
    for (boxes, _), got in zip(script, ids, strict=True):
        assert got.dtype == np.int32
        assert len(got) == len(boxes)
        named = got[got >= 0]
        assert len(set(named.tolist())) == len(named)
    for a, b in zip(ids, play(script), strict=True):
        np.testing.assert_array_equal(a, b)
