from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import SourceError
from edged.interfaces import EndOfStream
from edged.sources._containers import size_before_cut
from edged.sources.video import VideoOptions, VideoSource
from tests.searching import examples
from tests.sources.make import CLIP_SIZE, picture, started, write_clip

CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".mkv": "mp4v"}


def source(path: Path | str, **options: Any) -> VideoSource:
    return VideoSource("v", VideoOptions(path=str(path), **{"pace": "max", **options}))


def test_frames_are_decoded_in_place(tmp_path: Path) -> None:
    s = source(write_clip(tmp_path / "a:clip.avi"))
    spec = s.open()
    assert (spec.width, spec.height) == CLIP_SIZE
    s.close()
    started(s)
    for n in range(10):
        frame = s.read(0.0)
        assert frame is not None
        assert abs(frame.planes[0].mean() - picture(n).mean()) < 2
        assert frame.timestamp_source == "decode"
        frame.release()
    assert s.copies == 0
    s.close()


def test_it_gives_what_opencv_gives(vtest: Path) -> None:
    plain = cv2.VideoCapture(str(vtest))
    s = source(vtest)
    started(s)
    for _ in range(5):
        ok, expected = plain.read()
        frame = s.read(0.0)
        assert ok
        assert frame is not None
        assert (frame.planes[0] == expected).all()
        frame.release()
    plain.release()
    s.close()


def test_realtime_follows_the_files_times(tmp_path: Path) -> None:
    s = source(write_clip(tmp_path / "c.avi", rate=200.0), pace="realtime")
    started(s)
    times = []
    for _ in range(10):
        frame = s.read(1.0)
        assert frame is not None
        times.append(frame.captured_mono_ns)
        assert frame.timestamp_source == "file"
        frame.release()
    steps = np.diff(times) / 1e6
    # exact unless the machine stood still for RESYNC_S
    assert np.median(steps) == pytest.approx(5.0, abs=0.01)
    s.close()


@pytest.mark.parametrize("pace", ["realtime", "max"])
def test_a_loop_goes_on_with_seq_and_times(tmp_path: Path, pace: str) -> None:
    s = source(write_clip(tmp_path / "c.avi", frames=3, rate=500.0), pace=pace, loop=True)
    started(s)
    last = 0
    for n in range(10):
        frame = s.read(2.0)
        assert frame is not None
        assert frame.seq == n
        assert frame.captured_mono_ns > last
        assert abs(frame.planes[0].mean() - picture(n % 3).mean()) < 2
        last = frame.captured_mono_ns
        frame.release()
    s.close()


@pytest.mark.parametrize("suffix", list(CODECS))
def test_a_whole_file_ends_without_an_error(tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / f"c{suffix}", codec=CODECS[suffix])
    assert size_before_cut(str(path)) is None
    s = source(path)
    started(s)
    for _ in range(10):
        frame = s.read(0.0)
        assert frame is not None
        frame.release()
    with pytest.raises(EndOfStream):
        s.read(0.0)
    s.close()


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_a_truncated_file_gives_its_frames_and_then_says_so(tmp_path: Path, suffix: str, loop: bool) -> None:
    path = write_clip(tmp_path / f"c{suffix}", frames=50, codec=CODECS[suffix])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    s = source(path, loop=loop)
    started(s)
    count = 0
    try:
        while True:
            frame = s.read(0.0)
            assert frame is not None
            count += 1
            frame.release()
    except SourceError as e:
        fault = e
    assert 10 < count < 50
    assert f"ends at frame {count} of 50" in fault.message
    assert f"({len(data) * 2 // 3} of " in fault.message
    assert fault.hint
    with pytest.raises(SourceError, match="truncated"):
        s.read(0.0)
    s.close()


def test_what_is_no_video_is_refused_at_open(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.mp4", codec="mp4v")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:400])
    text = tmp_path / "text.mp4"
    text.write_text("hello " * 1000)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    w, h = CLIP_SIZE
    refused: list[tuple[VideoSource, str]] = [
        (source(tmp_path / "absent.mp4"), "absent.mp4: No such file"),
        (source(tmp_path), "it is a folder"),
        (source(text), r"text\.mp4: it is no video"),
        (source(empty), r"it is empty \(0 bytes\)"),
        (source(cut), r"cut\.mp4: it is cut off \(\d+ of \d+ bytes\)"),
        (source(clip, max_size=(w - 1, h)), rf"{w}x{h} in .*c\.mp4, larger than max_size = \[{w - 1}, {h}\]"),
        (source("/dev/video4711", pace="realtime"), "video4711: No such file"),
        (source("/dev/../etc/passwd", pace="realtime"), "it is no device"),
        (source(clip, size=(1, 1)), "size is for cameras"),
        (source(clip, rate=5.0), "rate is for cameras"),
        (source("/dev/video0", loop=True, pace="realtime"), "loop is for files"),
        (source("/dev/video0", pace="max"), "pace 'max' is for files"),
    ]
    for s, message in refused:
        with pytest.raises(SourceError, match=message) as e:
            s.open()
        assert str(e.value).startswith("source 'v' ")
        assert e.value.hint
        s.close()


def test_a_pipe_is_refused_before_it_holds_anybody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.avi")
    with pytest.raises(SourceError, match=r"pipe\.avi: it is no file"):
        source(tmp_path / "pipe.avi").open()


def test_a_turned_video_arrives_upright_in_the_slot(tmp_path: Path) -> None:
    """A phone's upright video: OpenCV 5.0 turns the picture into memory of its own, 4.10 into ours."""
    path = write_clip(tmp_path / "c.mp4", codec="mp4v")
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    s = source(path)
    started(s)
    frame = s.read(0.0)
    assert frame is not None
    assert (frame.spec.width, frame.spec.height) == CLIP_SIZE[::-1]
    assert s.copies == (1 if int(cv2.__version__.split(".")[0]) >= 5 else 0)
    assert np.abs(frame.planes[0][..., 0] - np.rot90(picture(0)[..., 0], -1).astype(float)).max() < 10
    frame.release()
    s.close()


def test_a_camera_is_live_and_stamps_when_it_dequeues() -> None:
    s = source("/dev/video0", pace="realtime", size=(640, 480), rate=30)
    assert s.live
    assert not s.paced
    assert s.timestamps == "dequeue"
    s.close()


@examples(50)
@given(
    head=st.sampled_from(
        [
            b"RIFF\xff\xff\x00\x00AVI ",
            b"\0\0\0\x18ftypisom",
            b"\0\0\0\x01mdat\0\0\0\0\0\1\0\0",
            b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x81\x05",
            b"\x1a\x45\xdf\xa3",
            b"",
        ]
    ),
    tail=st.binary(max_size=40),
)
def test_no_bytes_break_the_look_at_containers(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, tail: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "container"
    path.write_bytes(head + tail)
    stated = size_before_cut(str(path))
    assert stated is None or stated > 0


@pytest.mark.parametrize(
    ("data", "stated"),
    [
        (b"RIFF\x10\0\0\0AVI " + bytes(12), None),  # complete
        (b"RIFF\x11\0\0\0AVI " + bytes(12), 25),
        (b"RIFF\x04\0\0\0AVI RIFF\x20\0\0\0AVIX", 52),  # OpenDML: a second chunk
        (b"RIFF\0\0\0\0AVI " + bytes(12), None),  # a recorder that crashed stated nothing
        (b"\0\0\0\x10ftyp" + bytes(8) + b"\0\0\0\x20mdat" + bytes(4), 48),
        (b"\0\0\0\x10ftyp" + bytes(8) + b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\0", (1 << 32) + 16),
        (b"\0\0\0\x10ftyp" + bytes(8) + b"\0\0\0\0mdat" + bytes(4), None),  # to the end of the file
        (b"\x1a\x45\xdf\xa3\x81\0\x18\x53\x80\x67\x88" + bytes(3), 19),
        (b"\x1a\x45\xdf\xa3\x81\0\x18\x53\x80\x67\x01" + b"\xff" * 7, None),  # a live stream
        (b"\x47" * 400, None),  # MPEG-TS states no size
    ],
)
def test_sizes_before_a_cut(tmp_path: Path, data: bytes, stated: int | None) -> None:
    path = tmp_path / "container"
    path.write_bytes(data)
    assert size_before_cut(str(path)) == stated
