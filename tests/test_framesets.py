"""Frame sets on a virtual clock: who joins whom, bounds, and counts that add up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edged.framesets import RECENT, FrameSet, SyncGroup

MS = 1_000_000
quiet = settings(deadline=None)  # on a machine that others use, too


def group(*pipelines: str, tolerance_ms: float = 10.0) -> SyncGroup:
    return SyncGroup("rig", tolerance_ms, pipelines or ("left", "right"))


def ids(g: SyncGroup, *frames: tuple[str, float]) -> list[int | None]:
    return [g.join(source, round(ms * MS), True).id for source, ms in frames]


def test_frames_within_the_tolerance_of_the_first_share_a_set() -> None:
    frames = [("a", 100), ("b", 110), ("c", 90), ("d", 110.001), ("a", 133), ("b", 130)]
    assert ids(group(), *frames) == [0, 0, 0, 1, 2, 2]


def test_a_camera_is_in_a_set_once() -> None:
    assert ids(group(), ("a", 100), ("a", 105), ("b", 106), ("b", 107)) == [0, 1, 1, 0]


def test_of_two_sets_the_nearer_is_joined() -> None:
    g = group(tolerance_ms=20)
    assert ids(g, ("a", 100), ("a", 133), ("b", 118), ("b", 114)) == [0, 1, 1, 0]


def test_a_missing_frame_leaves_its_set_incomplete_and_moves_nobody() -> None:
    frames = [("a", 0), ("b", 1), ("a", 33), ("b", 67), ("a", 66)]
    assert ids(group(), *frames) == [0, 0, 1, 2, 2]


def test_a_late_frame_still_finds_its_set() -> None:
    g = group()
    assert ids(g, *(("a", 33 * i) for i in range(20))) == list(range(20))
    assert ids(g, ("b", 33 * 4 + 2)) == [4]


def test_two_pipelines_of_one_source_ask_for_the_same_frame() -> None:
    g = group()
    assert g.join("a", 5 * MS, True) is g.join("a", 5 * MS, False)


def test_the_first_decides_whether_a_set_is_taken_and_ids_have_no_gaps() -> None:
    g = group()
    wanted = [True, False, True]
    got = [(g.join("a", 100 * i * MS, w), g.join("b", 100 * i * MS, not w)) for i, w in enumerate(wanted)]
    assert [(a.id, b.id) for a, b in got] == [(0, 0), (None, None), (1, 1)]


def test_memory_is_bounded_when_nothing_ever_comes_out() -> None:
    g = group()
    for i in range(10 * RECENT):
        g.join("a", 100 * i * MS, True)
    assert len(g._recent) == len(g._open) == RECENT
    c = g.counts()
    assert (c.taken, c.unseen, c.open) == (10 * RECENT, 9 * RECENT, RECENT)


def test_what_every_pipeline_has_passed_is_counted() -> None:
    g = group()
    sets = [g.join("a", 100 * i * MS, True) for i in range(5)]
    g.give("left", sets[0])
    g.give("left", sets[1])
    g.give("right", sets[1])
    assert (g.counts().partial, g.counts().complete, g.counts().open) == (1, 1, 3)
    g.give("right", sets[4])
    assert g.counts().unseen == 0, "left may still give them"
    g.give("left", sets[4])
    c = g.counts()
    assert (c.taken, c.complete, c.partial, c.unseen, c.open) == (5, 2, 1, 2, 0)


def test_a_result_of_a_set_long_counted_changes_nothing() -> None:
    g = group()
    old = g.join("a", 0, True)
    for i in range(1, 2 * RECENT):
        g.join("a", 100 * i * MS, True)
    before = g.counts()
    g.give("left", old)
    g.give("right", old)
    assert g.counts() == before


TIMES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 400)), max_size=80)


@quiet
@given(TIMES, st.integers(1, 40))
def test_whatever_comes_sets_keep_their_promise(frames: list[tuple[str, int]], tolerance: int) -> None:
    g = group("a", "b", "c", tolerance_ms=tolerance)
    sets: dict[int, FrameSet] = {}
    seen: dict[tuple[str, int], int] = {}
    for source, ms in frames:
        s = g.join(source, ms * MS, True)
        assert s.id is not None
        assert seen.setdefault((source, ms), s.id) == s.id, "the same frame, another set"
        sets[s.id] = s
        assert abs(ms * MS - s.opened_ns) <= tolerance * MS
    assert sorted(sets) == list(range(len(sets)))
    again = group("a", "b", "c", tolerance_ms=tolerance)
    assert [again.join(f, ms * MS, True).id for f, ms in frames] == [seen[f, ms] for f, ms in frames], (
        "ids depend on the order of arrival and the times only"
    )
    for s in sets.values():
        for source in s.members:
            g.give(source, s)
        c = g.counts()
        assert c.taken == c.complete + c.partial + c.unseen + c.open


@quiet
@given(st.lists(st.sampled_from(["both", "left", "right", "none"]), max_size=60))
def test_counts_add_up_and_are_exact_once_both_have_passed(fates: list[str]) -> None:
    g = group()
    sets = [g.join("x", 100 * i * MS, True) for i in range(len(fates) + 1)]
    for fate, s in zip([*fates, "both"], sets, strict=True):
        for pipeline in ("left", "right"):
            if fate in (pipeline, "both"):
                g.give(pipeline, s)
            c = g.counts()
            assert c.taken == c.complete + c.partial + c.unseen + c.open == len(sets)
    c = g.counts()
    assert (c.complete, c.unseen, c.open) == (fates.count("both") + 1, fates.count("none"), 0)
