"""A pipeline between its mailbox and its sinks: order, counts, filters, limit and end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.config.schema import PipelineConfig
from edged.errors import RequestError
from edged.framesets import SyncGroup
from edged.lineage import STAGES
from edged.mailbox import Bell
from edged.memory import Slots
from edged.messages import Classification, Identity, Mask, Message, ModelId, Result, Tensor
from edged.parsers.base import Parsed
from edged.pipeline import MAX_AHEAD, Job, Pipeline
from tests.rig import Post, make_frame, make_slots

LABELS = ("person", "car", "dog")


def found(*rows: tuple[float, ...]) -> Parsed:
    """Rows of x, y, w, h, score, class id."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Parsed(boxes=table[:, :4], scores=table[:, 4], class_ids=table[:, 5].astype(np.int32), rejected=1)


class Rig:
    """A pipeline with its slots; `offer`, `take` and `finish` are what a source and runners do."""

    def __init__(
        self,
        *,
        live: bool = True,
        limit: int | None = None,
        sync: SyncGroup | None = None,
        after: Rig | None = None,
        **config: Any,
    ) -> None:
        self.post = Post()
        self.messages: list[Message] = [] if after is None else after.messages
        self.slots: Slots = make_slots(MAX_AHEAD + 3)
        self.pipeline: Pipeline = Pipeline(
            "front",
            PipelineConfig(source="cam", model="m", **config),
            Identity("robot-7", "s1"),
            ModelId("tiny", "1", "abc"),
            LABELS,
            [self.messages.append],
            Bell(),
            self.post,
            live=live,
            limit=limit,
            sync=sync,
            after=None if after is None else after.pipeline,
        )
        self.pipeline.begin()

    @property
    def results(self) -> list[Result]:
        return [m.body for m in self.messages if isinstance(m.body, Result)]

    def offer(self, *seqs: int, ms: int | None = None) -> None:
        """`ms`: when the frames were captured."""
        for seq in seqs:
            frame = make_frame(self.slots, seq)
            if ms is not None:
                frame.captured_mono_ns = ms * 1_000_000
            if not self.pipeline.offer(frame, 0):
                frame.release()

    def take(self) -> Job | None:
        with self.pipeline.mailbox.bell.condition:
            job = self.pipeline.take_locked()
        if job is not None:
            job.launched_ns = job.done_ns = job.taken_ns + 1_000_000
            job.frame.release()  # as the runner does when the device has read it
        return job

    def next(self, seq: int) -> Job:
        self.offer(seq)
        job = self.take()
        assert job is not None
        return job

    def finish(self, job: Job, parsed: Parsed | None = None) -> None:
        self.pipeline.complete(job, parsed or found())

    def fail(self, job: Job) -> None:
        self.pipeline.complete(job, None)

    def balanced(self) -> bool:
        c = self.pipeline.counts()
        return c.offered == c.inferred + c.dropped + c.failed


def test_a_result_carries_all_that_a_receiver_must_know() -> None:
    rig = Rig(deadline_ms=80)
    rig.offer(0, 2)  # 1 was lost before it was offered, 0 gave way
    job = rig.take()
    assert job is not None
    rig.finish(job, found((1, 2, 3, 4, 0.5, 0)))
    (message,) = rig.messages
    assert (message.topic, message.cls) == ("edged/robot-7/front/result", "result")
    assert message.key == ("s1", "front", 0)
    (r,) = rig.results
    assert (r.device, r.pipeline, r.source, r.session_id, r.seq) == ("robot-7", "front", "cam", "s1", 0)
    assert (r.frame_seq, r.dropped, r.rejected, r.frame) == (2, 1, 1, (4, 2))
    assert (r.captured_mono_ns, r.captured_at) == (job.frame.captured_mono_ns, job.frame.captured_at_ns)
    assert (r.timestamp_source, r.deadline_ms, r.valid) == ("synthetic", 80, True)
    assert r.model == ModelId("tiny", "1", "abc")
    assert r.detections is not None
    (d,) = r.detections
    assert (d.label, d.class_id, d.score, d.box, d.track_id, d.keypoints) == (
        "person", 0, 0.5, (1, 2, 3, 4), None, None,
    )  # fmt: skip
    assert r.classes is None


def test_having_seen_nothing_is_an_empty_list() -> None:
    rig = Rig()
    rig.finish(rig.next(0), found())
    assert rig.results[0].detections == []


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_results_leave_in_the_order_taken_however_they_finish(order: list[int], failed: set[int]) -> None:
    rig = Rig()
    jobs = [rig.next(seq) for seq in range(6)]
    done: set[int] = set()
    for i in order:
        rig.fail(jobs[i]) if i in failed else rig.finish(jobs[i])
        done.add(i)
        ready = next((k for k in range(6) if k not in done), 6)  # all before are done
        assert [r.frame_seq for r in rig.results] == [k for k in range(ready) if k not in failed]
    assert [r.seq for r in rig.results] == list(range(6 - len(failed)))
    counts = rig.pipeline.counts()
    assert (counts.inferred, counts.failed) == (6 - len(failed), len(failed))
    assert rig.balanced()


@pytest.mark.parametrize("fails", [False, True])
def test_what_went_before_the_first_result_is_told_apart(fails: bool) -> None:
    rig = Rig()

    def dropped() -> tuple[int, int]:
        counts = rig.pipeline.counts()
        return counts.dropped, counts.dropped_at_start

    if fails:
        rig.fail(rig.next(0))  # is no result
    rig.offer(1, 2, 3)
    job = rig.take()
    assert job is not None
    rig.offer(4, 5)
    assert dropped() == (3, 3)
    rig.finish(job)
    rig.offer(6, 7)
    assert dropped() == (5, 3)
    job = rig.take()
    assert job is not None
    rig.finish(job)
    assert dropped() == (5, 3)


class TestRates:
    def test_skipped_frames_are_neither_offered_nor_dropped(self) -> None:
        rig = Rig(every=3)
        rig.offer(*range(4))  # 0 and 3 are offered, 0 gives way
        job = rig.take()
        assert job is not None
        rig.finish(job)
        rig.finish(rig.next(6))
        assert [(r.frame_seq, r.dropped) for r in rig.results] == [(3, 1), (6, 0)]
        counts = rig.pipeline.counts()
        assert (counts.offered, counts.dropped, counts.inferred) == (3, 1, 2)
        assert (counts.skipped, counts.lost) == (2, 2), "4 and 5 never came"
        assert rig.slots.in_use == 0
        assert rig.balanced()

    def test_max_fps_goes_by_capture_time(self) -> None:
        rig = Rig(max_fps=10)
        for seq in range(10):
            rig.offer(seq, ms=1000 + 50 * seq)
        assert rig.pipeline.counts().offered == 5
        assert rig.pipeline.counts().skipped == 5

    def test_where_the_reader_waits_max_fps_has_no_meaning(self) -> None:
        rig = Rig(live=False, max_fps=1)
        for seq in range(3):
            rig.finish(rig.next(seq))
        assert len(rig.results) == 3

    def test_a_frame_that_is_offered_again_is_judged_once(self) -> None:
        rig = Rig(live=False, every=2)
        rig.offer(0)
        waits = make_frame(rig.slots, 2)
        assert not rig.pipeline.offer(waits, 0)
        assert not rig.pipeline.offer(waits, 0)
        job = rig.take()
        assert job is not None
        rig.finish(job)
        assert rig.pipeline.offer(waits, 0)
        counts = rig.pipeline.counts()
        assert (counts.offered, counts.skipped, counts.lost) == (2, 0, 1)

    def test_a_source_that_was_opened_again_begins_with_its_first_frame(self) -> None:
        rig = Rig(every=5)
        rig.finish(rig.next(0))
        rig.pipeline.begin()
        rig.finish(rig.next(0))
        assert rig.pipeline.counts().skipped == 0

    def test_a_closed_pipeline_takes_not_even_what_it_would_skip(self) -> None:
        rig = Rig(every=2)
        rig.offer(0)
        rig.pipeline.drop()
        frame = make_frame(rig.slots, 1)
        assert not rig.pipeline.offer(frame, 0)
        frame.release()


class TestFrameSets:
    """Two pipelines, two cameras; the left one's frames come first."""

    def rigs(self, **config: Any) -> tuple[SyncGroup, Rig, Rig]:
        group = SyncGroup("rig", 10.0, ("left", "right"))
        left, right = Rig(sync=group, **config), Rig(sync=group, **config)
        for rig, name in ((left, "left"), (right, "right")):
            rig.pipeline.name = name
            rig.pipeline.config = PipelineConfig(source=name, model="m", **config)
        return group, left, right

    def serve(self, rig: Rig) -> None:
        job = rig.take()
        assert job is not None
        rig.finish(job)

    def test_results_of_one_moment_share_an_id(self) -> None:
        group, left, right = self.rigs()
        for i in range(3):
            left.offer(i, ms=1000 + 33 * i)
            right.offer(i + 7, ms=1004 + 33 * i)
            self.serve(right)
            self.serve(left)
        for rig in (left, right):
            assert [(r.sync_group, r.frame_set) for r in rig.results] == [("rig", i) for i in range(3)]
        assert group.counts().complete == 3

    def test_without_a_group_a_result_says_nothing(self) -> None:
        rig = Rig()
        rig.finish(rig.next(0))
        assert (rig.results[0].sync_group, rig.results[0].frame_set) == (None, None)

    def test_what_a_runner_has_begun_is_kept_until_it_is_whole(self) -> None:
        """One runner, slower than the cameras: newest-wins alone would take left 0, right 1, left 2."""
        group, left, right = self.rigs()
        left.offer(0, ms=1000)
        right.offer(0, ms=1001)
        self.serve(left)
        left.offer(1, ms=1033)
        right.offer(1, ms=1034)  # is dropped: 0 completes the set that was begun
        self.serve(right)
        left.offer(2, ms=1066)
        right.offer(2, ms=1067)
        self.serve(left)
        self.serve(right)
        assert [(r.frame_seq, r.frame_set, r.dropped) for r in left.results] == [(0, 0, 0), (2, 2, 1)]
        assert [(r.frame_seq, r.frame_set, r.dropped) for r in right.results] == [(0, 0, 0), (2, 2, 1)]
        c = group.counts()
        assert (c.taken, c.complete, c.partial, c.unseen, c.open) == (3, 2, 0, 1, 0)
        assert left.balanced()
        assert right.balanced()

    def test_a_newer_set_that_is_begun_too_is_preferred(self) -> None:
        _, left, right = self.rigs()
        for i in range(2):
            left.offer(i, ms=1000 + 33 * i)
            if i == 0:
                right.offer(0, ms=1001)
            self.serve(left)
        right.offer(1, ms=1034)
        self.serve(right)
        assert [r.frame_set for r in right.results] == [1]

    @pytest.mark.parametrize("config", [{"every": 2}, {"max_fps": 15.0}])
    def test_limits_keep_sets_whole_whoever_comes_first_and_however_they_are_numbered(
        self, config: dict[str, Any]
    ) -> None:
        group, left, right = self.rigs(**config)
        for i in range(30):
            pair = [(left, i, 1000 + 33 * i), (right, i + 1, 1004 + 33 * i)]
            for rig, seq, ms in reversed(pair) if i % 3 else pair:
                rig.offer(seq, ms=ms)
            for rig in (left, right):
                job = rig.take()
                if job is not None:
                    rig.finish(job)
        assert [r.frame_set for r in left.results] == [r.frame_set for r in right.results] == list(range(15))
        assert group.counts().complete == 15
        assert left.pipeline.counts().skipped == 15


STEPS = st.lists(
    st.sampled_from(["frame", "frame", "lost", "take", "finish oldest", "finish newest", "fail"]), max_size=60
)


@given(STEPS)
def test_dropped_lost_and_failed_account_for_every_gap_between_results(steps: Sequence[str]) -> None:
    """Between two results: frames that gave way (told), were lost by the source, or failed. No other."""
    rig = Rig()
    seq, lost, open_jobs, failed = 0, [], [], []
    for step in steps:
        if step in ("frame", "lost"):
            lost += [seq] * (step == "lost")
            if step == "frame":
                rig.offer(seq)
            seq += 1
        elif step == "take":
            job = rig.take()
            open_jobs += [] if job is None else [job]
        elif open_jobs:
            job = open_jobs.pop(0 if step != "finish newest" else -1)
            failed += [job.frame.seq] * (step == "fail")
            rig.fail(job) if step == "fail" else rig.finish(job)
    for job in open_jobs:
        rig.finish(job)
    rig.offer(seq)  # the end of a file: what waits is still done
    rig.pipeline.close()
    last = rig.take()
    assert last is not None
    rig.finish(last)
    before = -1
    for r in rig.results:
        gap = range(before + 1, r.frame_seq)
        others = sum(s in gap for s in lost) + sum(s in gap for s in failed)
        assert r.dropped == len(gap) - others
        before = r.frame_seq
    counts = rig.pipeline.counts()
    assert counts.dropped == sum(r.dropped for r in rig.results) == rig.pipeline.mailbox.dropped
    assert (counts.lost, counts.failed, counts.inferred) == (len(lost), len(failed), len(rig.results))
    assert rig.balanced()
    assert rig.slots.in_use == 0


def test_pictures_lost_before_the_first_frame_count() -> None:
    rig = Rig()
    rig.finish(rig.next(3))
    assert rig.pipeline.counts().lost == 3


def test_what_other_instances_have_finished_waits_within_a_bound() -> None:
    rig = Rig()
    slow = rig.next(0)
    for seq in range(1, MAX_AHEAD):
        rig.finish(rig.next(seq))
    rig.offer(MAX_AHEAD)
    assert rig.take() is None, "nobody may run further ahead of an instance that hangs"
    rig.offer(MAX_AHEAD + 1)
    assert rig.pipeline.mailbox.dropped == 1
    assert rig.results == []
    rig.finish(slow)
    assert len(rig.results) == MAX_AHEAD
    job = rig.take()
    assert job is not None
    rig.finish(job)
    assert rig.results[-1].dropped == 1


class TestFilters:
    ROWS = ((0, 0, 10, 10, 0.9, 0), (0, 0, 30, 5, 0.8, 1), (0, 0, 30, 30, 0.4, 2), (0, 0, 9, 40, 0.7, 0))

    @pytest.mark.parametrize(
        ("config", "kept"),
        [
            ({}, [0, 1, 2, 3]),
            ({"classes": ("person",)}, [0, 3]),
            ({"classes": ("dog", "car")}, [1, 2]),
            ({"min_score": 0.7}, [0, 1, 3]),
            ({"min_size": (10, 5)}, [0, 1, 2]),
            ({"min_size": (10, 10)}, [0, 2]),
            ({"classes": ("person",), "min_score": 0.8, "min_size": (10, 10)}, [0]),
            ({"min_score": 1.0}, []),
        ],
    )
    def test_detections(self, config: dict[str, Any], kept: list[int]) -> None:
        rig = Rig(**config)
        rig.finish(rig.next(0), found(*self.ROWS))
        (r,) = rig.results
        assert r.detections is not None
        assert [d.box for d in r.detections] == [self.ROWS[i][:4] for i in kept]
        assert [d.label for d in r.detections] == [LABELS[int(self.ROWS[i][5])] for i in kept]
        assert rig.pipeline.counts().detections == len(kept)
        assert rig.pipeline.counts().rejected == 1, "what the parser rejected is not what was filtered"

    def test_keypoints_and_tracks_stay_with_their_boxes(self) -> None:
        parsed = found(*self.ROWS)
        parsed.keypoints = np.arange(16, dtype=np.float32).reshape(4, 2, 2)
        parsed.track_ids = np.array([7, 8, 9, 10], np.int32)
        rig = Rig(classes=("dog",))
        rig.finish(rig.next(0), parsed)
        assert rig.results[0].detections is not None
        (d,) = rig.results[0].detections
        assert (d.track_id, d.keypoints) == (9, [(8, 9), (10, 11)])

    def test_a_class_without_a_name_is_its_number(self) -> None:
        rig = Rig()
        rig.finish(rig.next(0), found((0, 0, 1, 1, 0.5, 3), (0, 0, 1, 1, 0.5, -1)))
        assert rig.results[0].detections is not None
        assert [d.label for d in rig.results[0].detections] == ["3", "-1"]

    @pytest.mark.parametrize(
        ("config", "kept"), [({}, [2, 0]), ({"classes": ("person",)}, [0]), ({"min_score": 0.75}, [2])]
    )
    def test_classes_of_a_classifier(self, config: dict[str, Any], kept: list[int]) -> None:
        rig = Rig(**config)
        scores = {2: 0.75, 0: 0.25}
        ids = np.array(list(scores), np.int32)
        rig.finish(rig.next(0), Parsed(classes=(ids, np.array(list(scores.values()), np.float32))))
        assert rig.results[0].classes == [Classification(LABELS[i], i, scores[i]) for i in kept]
        assert rig.results[0].detections is None

    def test_masks_and_tensors_pass(self) -> None:
        mask, tensors = Mask((1, 1), b"", ["a"]), {"y": Tensor("float32", [1], b"\0" * 4)}
        rig = Rig(min_score=0.5)
        rig.finish(rig.next(0), Parsed(mask=mask))
        rig.finish(rig.next(1), Parsed(tensors=tensors))
        assert (rig.results[0].mask, rig.results[1].tensors) == (mask, tensors)


class TestEnd:
    def phases(self, rig: Rig) -> list[str]:
        return rig.post.phases("pipeline front")

    def test_it_ends_when_closed_and_all_is_handed_on(self) -> None:
        rig = Rig()
        job = rig.next(0)
        rig.offer(1)
        rig.pipeline.close()
        rig.finish(job)
        assert self.phases(rig) == ["running"], "a frame still waits"
        last = rig.take()
        assert last is not None
        assert self.phases(rig) == ["running"], "its frame is still at work"
        rig.finish(last)
        assert self.phases(rig) == ["running", "ended"]
        assert rig.pipeline.state == "ended"

    def test_closing_an_idle_pipeline_ends_it_once(self) -> None:
        rig = Rig()
        rig.pipeline.close()
        rig.pipeline.close("faulted")
        rig.pipeline.drop()
        assert self.phases(rig) == ["ended"]

    def test_a_source_that_failed_makes_the_end_a_fault_after_its_last_frame(self) -> None:
        rig = Rig()
        job = rig.next(0)
        rig.pipeline.close("faulted")
        rig.finish(job)
        assert self.phases(rig) == ["running", "faulted"]
        assert len(rig.results) == 1

    def test_dropping_counts_what_waits_and_ends(self) -> None:
        rig = Rig()
        rig.offer(0)
        rig.pipeline.drop()
        assert self.phases(rig) == ["ended"]
        assert rig.pipeline.counts().dropped == 1
        assert rig.slots.in_use == 0
        assert rig.balanced()

    @pytest.mark.parametrize("live", [True, False])
    def test_at_its_limit_it_takes_no_more_and_ends_with_exactly_so_many(self, live: bool) -> None:
        rig = Rig(live=live, limit=2)
        jobs = [rig.next(0), rig.next(1)]
        assert rig.pipeline.mailbox.closed, "the reader is told that no more is wanted"
        rig.offer(2)
        assert rig.take() is None
        assert rig.slots.in_use == 0
        for job in reversed(jobs):
            assert self.phases(rig) == [], "the second job waits for the first"
            rig.finish(job)
        assert self.phases(rig) == ["running", "ended"]
        assert len(rig.results) == 2
        assert rig.balanced()

    def test_a_frame_that_waits_at_the_limit_cannot_be(self) -> None:
        """The limit is reached by taking the frame that waits; from then on the mailbox is closed and empty."""
        rig = Rig(limit=1)
        rig.offer(0, 1)
        job = rig.take()
        assert job is not None
        rig.finish(job)
        counts = rig.pipeline.counts()
        assert (counts.offered, counts.dropped, counts.inferred) == (2, 1, 1)


def test_stage_times_are_those_of_the_job() -> None:
    rig = Rig()
    job = rig.next(0)
    job.frame.captured_mono_ns -= 50_000_000
    captured = job.frame.captured_mono_ns
    job.taken_ns, job.launched_ns, job.done_ns = (captured + ms * 1_000_000 for ms in (2, 3, 13))
    job.device_ms = 4.0, 6.0
    rig.finish(job)
    stages = rig.pipeline.counts().stages
    assert stages.keys() == set(STAGES)
    means = {name: q.mean_ms for name, q in stages.items()}
    assert means["wait"] == pytest.approx(2)
    assert means["infer"] == pytest.approx(10)
    assert (means["preprocess"], means["engine"]) == (4, 6)
    assert means["parse"] == pytest.approx((job.parsed_ns - job.done_ns) / 1e6, abs=1e-3)
    assert means["age"] >= 13 + means["parse"] - 1e-3


def test_counts_before_anything_came() -> None:
    counts = Rig().pipeline.counts()
    assert (counts.offered, counts.inferred, counts.fps, counts.state) == (0, 0, 0.0, "starting")


@pytest.mark.parametrize(("deadline_ms", "late"), [(None, 0), (60_000, 0), (1e-6, 2)])
def test_results_older_than_the_deadline_are_counted(deadline_ms: float | None, late: int) -> None:
    rig = Rig(deadline_ms=deadline_ms)
    for seq in range(2):
        rig.finish(rig.next(seq))
    assert rig.pipeline.counts().late == late


def test_a_live_pipeline_is_thinned_and_what_it_skips_is_counted() -> None:
    rig = Rig(every=2)
    rig.pipeline.thin(3)
    taken = []
    for seq in range(20):
        rig.offer(seq)
        job = rig.take()
        if job is not None:
            taken.append(seq)
            rig.finish(job)
    assert taken == [0, 6, 12, 18]
    assert rig.pipeline.counts().skipped == 16
    rig.pipeline.thin(1)
    rig.finish(rig.next(20))
    assert rig.balanced()


def test_where_the_reader_is_made_to_wait_nothing_is_thinned() -> None:
    rig = Rig(live=False)
    rig.pipeline.thin(3)
    for seq in range(4):
        rig.finish(rig.next(seq))
    assert rig.pipeline.counts().skipped == 0


class TestSuccession:
    def test_one_that_hangs_is_disowned_and_its_late_results_are_nobodys(self) -> None:
        old = Rig()
        old.finish(old.next(0))
        hung = [old.next(1), old.next(2)]
        new = Rig(after=old)
        new.pipeline.succeed()
        new.offer(3)
        assert new.take() is None, "the one before has not ended"
        old.pipeline.disown()
        new.pipeline.inherit()
        job = new.take()
        assert job is not None
        for late in hung:
            old.finish(late)
        new.finish(job)
        assert [(r.seq, r.frame_seq) for r in new.results] == [(0, 0), (1, 3)]
        assert old.pipeline.over
        assert new.balanced()
        assert new.pipeline.counts().dropped == 2

    @given(st.integers(0, 5), st.integers(0, 5), st.permutations(range(12)))
    def test_whatever_ends_late_numbers_are_whole_and_every_frame_is_counted(
        self, done: int, hung: int, order: list[int]
    ) -> None:
        old = Rig()
        for seq in range(done):
            old.finish(old.next(seq))
        late = [(old, old.next(done + i)) for i in range(hung)]
        new = Rig(after=old)
        new.pipeline.succeed()
        old.pipeline.disown()
        new.pipeline.inherit()
        jobs = late + [(new, new.next(20 + i)) for i in range(5)]
        for i in order:
            if i < len(jobs):
                rig, job = jobs[i]
                rig.finish(job)
        assert [r.seq for r in new.results] == list(range(done + 5))
        frames = [r.frame_seq for r in new.results]
        assert frames == sorted(frames)
        assert new.balanced()

    def test_while_it_waits_for_the_one_before_no_frame_of_it_is_late(self) -> None:
        old = Rig()
        job = old.next(0)
        new = Rig(after=old)
        new.pipeline.succeed()
        new.offer(1)
        assert new.pipeline.mailbox.waits_ns
        assert new.pipeline.waits_ns == 0
        old.pipeline.close()
        old.finish(job)
        assert new.pipeline.waits_ns > new.pipeline.mailbox.waits_ns
        new.pipeline.drop()

    def test_what_a_refused_change_built_is_nobodys_successor(self) -> None:
        old = Rig()
        look = old.pipeline.look()
        Rig(after=old)
        assert old.pipeline._successor is None
        old.finish(old.next(0))
        assert look.result(0) is old.results[0]
        look.close()

    def test_looks_go_on_in_what_replaces_it(self) -> None:
        old = Rig()
        before = old.pipeline.look()
        new = Rig(after=old, roi=(0, 0, 2, 2))
        new.pipeline.succeed()
        after = old.pipeline.look()
        old.pipeline.close()
        new.finish(new.next(0))
        for look in (before, after):
            assert look.result(0) is new.results[0]
            assert look.view is new.pipeline.view
            look.close()

    def test_looks_at_one_that_ends_are_told(self) -> None:
        rig = Rig()
        before = rig.pipeline.look()
        rig.pipeline.close()
        for look in (before, rig.pipeline.look()):
            with pytest.raises(RequestError, match="pipeline 'front' has ended"):
                look.frame(5)
            look.close()
