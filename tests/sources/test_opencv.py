"""OpenCV and FFmpeg are silent: what edged says about a file is enough."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edged.errors import MissingPackage
from edged.sources._opencv import opencv
from tests.sources.make import write_clip, write_pictures

# FFmpeg reads its log level once a process, so this needs one of its own.
READ_ALL = """
import sys
from edged.errors import SourceError
from edged.memory import Region, Slots
from edged.sources.images import ImagesOptions, ImagesSource
from edged.sources.video import VideoOptions, VideoSource

for path in sys.argv[1:]:
    if path.endswith((".png", ".jpg", ".tiff")):
        source = ImagesSource("s", ImagesOptions(path=path))
    else:
        source = VideoSource("s", VideoOptions(path=path, pace="max"))
    try:
        spec = source.open()
        source.start(Slots.of(Region("s", Slots.wants(1, spec.nbytes)), 1))
        while True:
            source.read(0.0).release()
    except SourceError as e:
        print(e.message)
    finally:
        source.close()
"""


def test_broken_files_leave_stderr_empty(tmp_path: Path) -> None:
    files = [
        write_clip(tmp_path / "a.avi", frames=40),
        write_clip(tmp_path / "b.mp4", codec="mp4v"),
        write_clip(tmp_path / "c.mkv", frames=40, codec="mp4v"),
    ]
    for n, suffix in enumerate([".png", ".jpg", ".tiff"]):
        files += write_pictures(tmp_path / f"p{n}", [(64, 64)], suffix)
    for file in files:
        data = file.read_bytes()
        file.write_bytes(data[: len(data) * 2 // 3])
    files.append(tmp_path / "text.mp4")
    files[-1].write_text("hello " * 100)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, *map(str, files)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(files)


def test_a_missing_opencv_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackage, match=r"kind 'video' needs .*opencv-python-headless") as e:
        opencv("a source of kind 'video'")
    assert "edged[ort]" in e.value.hint
