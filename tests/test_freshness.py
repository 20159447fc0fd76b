"""Verdicts on pictures, on virtual clocks; then through a source's thread and a pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edged.config.schema import HealthOptions, PipelineConfig, TrackOptions
from edged.devices.cpu import CpuDevice
from edged.frames import U8, Frame, FrameSpec, PixelFormat
from edged.freshness import GOOD, Look, Verdict, Watch, judge
from edged.mailbox import Bell
from edged.messages import Identity, Message, ModelId, Result
from edged.parsers.base import Parsed
from edged.pipeline import Pipeline
from edged.sources.fake import FakeSource
from edged.sources.pattern import PatternSource
from edged.sources.unit import SourceUnit
from edged.units import Report
from tests.coco import read_pictures
from tests.reference import read_frames

MS = 1_000_000
SIZE = (640, 480)
ON = HealthOptions()


class NoLease:
    """The frames of these tests own their pixels."""

    def retain(self) -> None:
        """Nothing to count."""

    def release(self) -> None:
        """Nothing to give back."""


class Camera:
    """Frames one after the other on a virtual clock, each looked at when it arrives."""

    def __init__(self, spec: FrameSpec, rate: float = 30.0, options: HealthOptions = ON) -> None:
        self.spec, self.options = spec, options
        self.watch = Watch(spec)
        self.gap_ns = round(1e9 / rate)
        self.now_ns = 5_000 * MS
        self.seq = 0

    def show(
        self, *planes: U8, age_ms: int = 5, later_ms: int = 0, captured_ns: int | None = None, **tags: object
    ) -> Verdict:
        """The verdict on these planes, `later_ms` after they were due."""
        self.now_ns += self.gap_ns + later_ms * MS
        captured = self.now_ns - age_ms * MS if captured_ns is None else captured_ns
        frame = Frame(self.spec, planes, NoLease(), self.seq, captured, captured, tags=dict(tags))
        self.seq += 1
        return judge(self.watch.look(frame, self.now_ns), self.options)


def bgr(width: int = SIZE[0], height: int = SIZE[1]) -> FrameSpec:
    return FrameSpec(width, height, PixelFormat.BGR)


def scene(spec: FrameSpec, seed: int = 0, level: float = 120, contrast: float = 40) -> tuple[U8, ...]:
    """Planes of a picture with soft shapes."""
    rng = np.random.default_rng(seed)
    out = []
    for plane in spec.planes:
        coarse = rng.normal(
            level, contrast, (plane.shape[0] // 16 + 1, plane.shape[1] // 16 + 1, *plane.shape[2:])
        )
        fine = coarse.repeat(16, 0).repeat(16, 1)[: plane.shape[0], : plane.shape[1]]
        out.append(fine.clip(0, 255).astype(np.uint8))
    return tuple(out)


def noisy(planes: tuple[U8, ...], sigma: float, rng: np.random.Generator) -> tuple[U8, ...]:
    return tuple((p + rng.normal(0, sigma, p.shape)).round().clip(0, 255).astype(np.uint8) for p in planes)


def first_bad(camera: Camera, shows: Iterable[Callable[[], Verdict]]) -> tuple[float, Verdict]:
    """Seconds from the frame before the first of these to the first that is not good, and the verdict."""
    begin = camera.now_ns
    for show in shows:
        verdict = show()
        if not verdict.valid:
            return (camera.now_ns - begin) / 1e9, verdict
    raise AssertionError("all were good")


FORMATS = [*PixelFormat]


# No false alarms.


def test_nothing_is_wrong_with_a_clip_of_people(vtest: Path) -> None:
    camera = Camera(bgr(768, 576), rate=10)
    assert {camera.show(f) for f in islice(read_frames(vtest), 400)} == {GOOD}


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_wrong_with_a_still_scene_and_a_live_sensor(format: PixelFormat, sigma: float) -> None:
    camera, rng = Camera(FrameSpec(320, 240, format)), np.random.default_rng(1)
    still = scene(camera.spec)
    assert {camera.show(*noisy(still, sigma, rng)) for _ in range(60)} == {GOOD}


def test_nothing_is_wrong_with_a_night(vtest: Path) -> None:
    """Amplified noise over darkness, and a clear night with a lamp."""
    rng = np.random.default_rng(2)
    camera = Camera(bgr())
    dark = (np.full((SIZE[1], SIZE[0], 3), 2, np.uint8),)
    assert {camera.show(*noisy(dark, 8, rng)) for _ in range(30)} == {GOOD}
    lamp = dark[0].copy()
    lamp[100:140, 200:260] = 220
    assert {camera.show(*noisy((lamp,), 1, rng)) for _ in range(30)} == {GOOD}


def test_nothing_is_wrong_with_photographs(shared: Path) -> None:
    for picture in read_pictures(shared / "coco"):
        height, width = picture.pixels.shape[:2]
        camera = Camera(bgr(width, height))
        assert camera.show(picture.pixels) == GOOD
        assert camera.show(picture.pixels) == GOOD


def test_something_small_that_moves_beside_the_sample_is_life() -> None:
    camera, picture = Camera(bgr()), scene(bgr())[0]
    for i in range(60):
        picture[1, 2 * i] ^= 255  # no row of the grid
        assert camera.show(picture) == GOOD


def test_a_shaky_rate_is_not_late() -> None:
    camera, rng = Camera(bgr(64, 48)), np.random.default_rng(3)
    still = scene(camera.spec)
    for i in range(100):
        assert camera.show(*noisy(still, 1, rng), later_ms=300 if i % 7 == 0 else 0, age_ms=i % 100) == GOOD


def test_a_slow_camera_is_not_late() -> None:
    camera, rng = Camera(bgr(64, 48), rate=0.5), np.random.default_rng(4)
    still = scene(camera.spec)
    assert {camera.show(*noisy(still, 1, rng)) for _ in range(30)} == {GOOD}


# Alarms within a second.


@pytest.mark.parametrize("rate", [5.0, 30.0, 120.0])
@pytest.mark.parametrize("format", FORMATS)
def test_a_frozen_picture(format: PixelFormat, rate: float) -> None:
    camera, rng = Camera(FrameSpec(320, 240, format), rate), np.random.default_rng(5)
    still = scene(camera.spec)
    for _ in range(20):
        assert camera.show(*noisy(still, 1, rng)) == GOOD
    stuck = noisy(still, 1, rng)
    camera.show(*stuck)
    after, verdict = first_bad(camera, (lambda: camera.show(*stuck) for _ in range(200)))
    assert verdict == Verdict("frozen", "frozen: the same for 0.6 s")
    assert 0.6 <= after <= 1.0
    assert camera.show(*stuck) == verdict
    assert camera.show(*noisy(still, 1, rng)) == GOOD


@pytest.mark.parametrize("stuck", ["number", "time"])
def test_a_driver_that_repeats_itself(stuck: str) -> None:
    """With other bytes the picture is alive; with the same sample it is frozen at once, no hash is needed."""
    camera = Camera(bgr(), options=HealthOptions(checks=("frozen",), frozen_s=0.03))
    rng, picture = np.random.default_rng(6), scene(camera.spec)

    def show(planes: tuple[U8, ...]) -> Verdict:
        if stuck == "number":
            return camera.show(*planes, sequence=7)
        return camera.show(*planes, captured_ns=4_000 * MS)

    assert {show(noisy(picture, 1, rng)) for _ in range(30)} == {GOOD}
    assert show(picture) == GOOD
    assert show(picture).check == "frozen"


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_a_black_picture(format: PixelFormat, full_range: bool) -> None:
    camera = Camera(FrameSpec(320, 240, format, full_range=full_range))
    yuv = format in (PixelFormat.YUYV, PixelFormat.UYVY, PixelFormat.NV12)
    rng = np.random.default_rng(7)
    assert camera.show(*scene(camera.spec)) == GOOD
    black = scene(camera.spec, level=16 if yuv and not full_range else 0, contrast=0)
    for plane in black:  # chroma of grey, in the channels that the sample must not see
        if format in (PixelFormat.YUYV, PixelFormat.UYVY):
            plane[..., 1 if format is PixelFormat.YUYV else 0] = 128
    if format is PixelFormat.NV12:
        black[1][:] = 128
    assert camera.show(*noisy(black, 0.8, rng)) == Verdict("black", "black: dark all over")
    assert camera.show(*scene(camera.spec)) == GOOD


def test_an_old_picture() -> None:
    camera, rng = Camera(bgr(64, 48)), np.random.default_rng(8)
    still = scene(camera.spec)
    assert camera.show(*noisy(still, 1, rng), age_ms=490) == GOOD
    assert camera.show(*noisy(still, 1, rng), age_ms=510) == Verdict("late", "late: more than 0.5 s old")


def test_a_picture_after_a_gap() -> None:
    camera, rng = Camera(bgr(64, 48), rate=10), np.random.default_rng(9)
    still = scene(camera.spec)
    for _ in range(12):
        assert camera.show(*noisy(still, 1, rng)) == GOOD
    verdict = camera.show(*noisy(still, 1, rng), later_ms=450)
    assert verdict == Verdict("late", "late: more than 0.5 s after the one before")
    assert verdict.shows
    assert camera.show(*noisy(still, 1, rng)) == GOOD


def test_a_torn_picture() -> None:
    verdict = Camera(bgr()).show(*scene(bgr()), torn=True)
    assert verdict.check == "torn"
    assert not verdict.shows


def test_rows_with_gaps_between_them() -> None:
    spec = FrameSpec(320, 240, PixelFormat.NV12, pitch=384)
    planes = spec.views(np.zeros(spec.nbytes, np.uint8))
    camera = Camera(spec)
    for plane, content in zip(planes, scene(spec), strict=True):
        plane[...] = content
    assert camera.show(*planes) == GOOD
    after, verdict = first_bad(camera, (lambda: camera.show(*planes) for _ in range(60)))
    assert (verdict.check, after <= 1.0) == ("frozen", True)


@pytest.mark.parametrize("size", [(2, 2), (4, 2), (34, 38), (1920, 1080), (4096, 64)])
@pytest.mark.parametrize("format", FORMATS)
def test_the_sample_is_small_and_never_empty(format: PixelFormat, size: tuple[int, int]) -> None:
    spec = FrameSpec(*size, format)
    first = spec.views(np.zeros(spec.nbytes, np.uint8))[0]
    assert 1 <= first[Watch(spec)._cut].size <= 5000


# What is not asked for.

BAD_LOOK = Look(age_s=9, gap_s=9, usual_gap_s=0.1, still_s=9, mean=0, spread=0, torn=True)


def test_the_gravest_is_named_and_each_can_be_left_out() -> None:
    left = list(ON.checks)
    for check in ("torn", "black", "frozen", "late"):
        assert judge(BAD_LOOK, HealthOptions(checks=tuple(left))).check == check
        left.remove(check)
    assert judge(BAD_LOOK, HealthOptions(checks=())) == GOOD


# Through a source's thread and a pipeline.

BOXES = Parsed(
    boxes=np.array([[1, 1, 2, 2]], np.float32),
    scores=np.array([0.9], np.float32),
    class_ids=np.zeros(1, np.int32),
)


def results(source: FakeSource | PatternSource, config: PipelineConfig) -> Iterator[Result]:
    """What a pipeline makes of every frame of the source, with one box in each."""
    out: list[Message] = []
    bell, ended = Bell(), threading.Event()

    def post(report: Report) -> None:
        if report.phase == "stopped":
            ended.set()
        assert report.error is None

    pipeline = Pipeline(
        "p",
        config,
        Identity("d", "s"),
        ModelId("m"),
        ("thing",),
        [out.append],
        bell,
        post,
        live=False,  # every frame counts here
    )

    unit = SourceUnit("source", source, CpuDevice(), {pipeline: []}, 3, post)
    unit.start()
    unit.go()
    while not (ended.is_set() and pipeline.mailbox.closed):
        with bell.condition:
            bell.condition.wait_for(lambda: pipeline.mailbox.peek_locked() is not None, 0.05)
            job = pipeline.take_locked()
        if job is not None:
            job.frame.release()
            pipeline.complete(job, Parsed(BOXES.boxes, BOXES.scores, BOXES.class_ids))
    assert unit.join(5)
    for message in out:
        assert isinstance(message.body, Result)
        yield message.body


def fake(*script: object) -> FakeSource:
    return FakeSource("f", FakeSource.Options(size=(64, 48), live=True, script=script))


def test_results_say_what_is_wrong_and_a_lying_picture_moves_no_track() -> None:
    spec, rng = bgr(64, 48), np.random.default_rng(10)
    live = [noisy(scene(spec), 1, rng)[0] for _ in range(4)]
    stuck = scene(spec, seed=1)[0]
    source = fake(live[0], live[1], stuck, stuck, stuck, live[2], 0, live[3])
    config = PipelineConfig(
        source="f",
        model="m",
        track=TrackOptions(),
        health=HealthOptions(frozen_s=1e-9, checks=("frozen", "black")),
    )
    found = list(results(source, config))
    frozen, black = "frozen: the same for 1e-09 s", "black: dark all over"
    assert [r.invalid_reason for r in found] == [None, None, None, None, frozen, None, black, None]
    assert [r.valid for r in found] == [r.invalid_reason is None for r in found]
    tracks = [r.detections[0].track_id if r.detections else 0 for r in found]
    assert tracks == [None, 1, 1, 1, None, 1, None, 1]


def test_without_checks_all_is_valid() -> None:
    config = PipelineConfig(source="f", model="m", health=HealthOptions(checks=()))
    assert all(r.valid for r in results(fake(*[7] * 6), config))


def test_a_source_that_is_not_live_is_not_judged() -> None:
    source = FakeSource("f", FakeSource.Options(size=(64, 48), script=(0,) * 6))
    config = PipelineConfig(source="f", model="m", health=HealthOptions(frozen_s=1e-9))
    assert all(r.valid for r in results(source, config))


def test_drawn_pictures_may_repeat_themselves() -> None:
    source = PatternSource("t", PatternSource.Options(size=(64, 48), rate=1000.0, frames=5))
    config = PipelineConfig(source="t", model="m", health=HealthOptions(frozen_s=1e-9, late_s=1e-9))
    assert all(r.valid for r in results(source, config))
