"""A clip in memory plays as its source did, round and round, unpaced or live."""

from __future__ import annotations

import numpy as np
import pytest

from edged.bench import replay
from edged.bench.replay import Clip, ReplaySource, one_frame, record
from edged.errors import SourceError
from edged.frames import FrameSpec, PixelFormat
from edged.interfaces import EndOfStream
from edged.memory import Slots
from edged.sources.fake import FakeOptions, FakeSource
from edged.sources.pattern import PatternOptions, PatternSource


def pattern(frames: int | None = None, form: PixelFormat = PixelFormat.BGR) -> PatternSource:
    return PatternSource("moving", PatternOptions(size=(32, 16), frames=frames, format=form))


def slots_for(clip: Clip, n: int = 2) -> Slots:
    return Slots("replay", [np.zeros(clip.spec.nbytes, np.uint8) for _ in range(n)])


@pytest.mark.parametrize("form", list(PixelFormat))
def test_the_frames_are_those_of_the_source_in_every_format(form: PixelFormat) -> None:
    clip = record("moving", pattern(3, form))
    assert clip.read_ms > 0
    assert len(clip.frames) == 3
    other, again = pattern(None, form), ReplaySource("clip", clip, None)
    slots = slots_for(clip)
    assert again.open() == other.open()
    other.start(slots_for(clip))
    again.start(slots)
    for n in range(7):
        frame = again.read(0.0)
        assert frame is not None
        assert frame.seq == n
        if n < 3:
            truth = other.read(0.0)
            assert truth is not None
            assert all((a == b).all() for a, b in zip(frame.planes, truth.planes, strict=True))
            truth.release()
        frame.release()
    again.close()
    other.close()


def test_a_clip_is_bounded_in_frames_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(record("moving", pattern()).frames) == replay.MAX_FRAMES
    monkeypatch.setattr(replay, "MAX_BYTES", 5 * 32 * 16 * 3)
    assert len(record("moving", pattern()).frames) == 5
    monkeypatch.setattr(replay, "MAX_BYTES", 1)
    assert len(record("moving", pattern()).frames) == 1


def test_a_source_without_frames_is_named_and_closed() -> None:
    source = FakeSource("front", FakeOptions(script=(EndOfStream(),)))
    with pytest.raises(SourceError, match="'front' gave no frame"):
        record("front", source)
    assert source.closes == 1


def test_live_replay_drops_what_nobody_has_a_slot_for() -> None:
    clip = record("moving", pattern(2))
    live = ReplaySource("clip", clip, 1000.0)
    assert live.live
    assert not ReplaySource("clip", clip, None).live
    live.open()
    live.start(slots_for(clip, 1))
    first = live.read(1.0)
    assert first is not None
    assert live.read(0.005) is None  # its slot is held
    first.release()
    later = live.read(1.0)
    assert later is not None
    assert later.seq > first.seq + 1
    later.release()
    live.close()


def test_one_frame_is_the_first() -> None:
    clip = record("moving", pattern(2))
    with one_frame(clip) as frame:
        assert frame.spec == FrameSpec(32, 16, PixelFormat.BGR)
        assert (frame.planes[0] == clip.frames[0][0]).all()
