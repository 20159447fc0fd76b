"""edged capture, on files, patterns and a fake camera driver."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from edged import registry
from edged.cli import _capture_folder, _capture_source
from edged.cli import capture as command
from edged.cli.main import main
from edged.devices.cpu_picture import Picture
from edged.devices.reference import to_rgb
from edged.errors import ExitCode, SinkError
from edged.frames import U8, Frame, FrameSpec, PixelFormat
from edged.memory import Slots
from edged.sources._v4l2_options import V4l2Options
from edged.sources.v4l2 import V4l2Source
from edged.sources.v4l2_fake import FakeCamera, FakeKernel
from tests.sources.make import picture, started, write_clip, write_pictures

EDGED = str(Path(sys.executable).with_name("edged"))
CAMERAS: dict[str, FakeCamera] = {}


class FakeV4l2(V4l2Source):
    """On the cameras of this module."""

    def __init__(self, name: str, options: V4l2Options) -> None:
        super().__init__(name, options, FakeKernel(CAMERAS))


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCamera]:
    """A webcam at /dev/video7."""
    monkeypatch.setitem(registry.BUILT_IN["sources"], "v4l2", f"{__name__}:FakeV4l2")
    registry._found.cache_clear()
    CAMERAS["/dev/video7"] = FakeCamera(rate_hz=100.0)
    yield CAMERAS["/dev/video7"]
    assert CAMERAS["/dev/video7"].fds == set()
    CAMERAS.clear()
    monkeypatch.undo()
    registry._found.cache_clear()


def pictures(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.name != "capture.ndjson")


def notes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "capture.ndjson").read_text().splitlines()]


def read(file: Path) -> U8:
    return cast(U8, cv2.imread(str(file), cv2.IMREAD_UNCHANGED))


def test_a_folder_gives_each_picture_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_pictures(tmp_path / "in", [(64, 48)] * 3)
    out = tmp_path / "deep" / "out"
    assert main(["capture", str(tmp_path / "in"), str(out), "--frames", "3"]) == ExitCode.OK
    made = pictures(out)
    assert [f.suffix for f in made] == [".png"] * 3
    for n, file in enumerate(made):
        assert (read(file) == picture(n)).all()
    header, *rest = notes(out)
    assert (header["type"], header["kind"], header["live"]) == ("capture", "images", False)
    assert (header["size"], header["format"], header["path"]) == ([64, 48], "BGR", str(tmp_path / "in"))
    assert [r["file"] for r in rest] == [f.name for f in made]
    assert [r["tags"]["file"] for r in rest] == [str(f) for f in files]
    assert [r["bytes"] for r in rest] == [f.stat().st_size for f in made]
    said = capsys.readouterr()
    assert said.out == f"3 of 3 pictures in {out}, {made[0].name} to {made[2].name}\n"
    assert said.err == ""


def test_an_input_that_is_shorter_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "in", [(64, 48)] * 2)
    out = tmp_path / "out"
    assert main(["capture", str(tmp_path / "in"), str(out), "--frames", "5", "--json"]) == ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert (said["folder"], said["ended"], len(said["pictures"])) == (str(out), "end of input", 2)


def test_a_clip_at_its_pace(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", frames=60, rate=100.0)
    out = tmp_path / "out"
    assert main(["capture", str(clip), str(out), "--frames", "3", "--every", "0.1", "--jpeg"]) == ExitCode.OK
    made = pictures(out)
    assert [f.suffix for f in made] == [".jpg"] * 3
    times = [r["captured_mono_ns"] for r in notes(out)[1:]]
    assert all(75e6 <= b - a <= 1e9 for a, b in pairwise(times))
    for r, file in zip(notes(out)[1:], made, strict=True):
        assert np.abs(read(file).astype(int) - picture(r["seq"])).mean() < 4


CONFIG = """
[pipelines.front]
source = "cam"
model = "m"
sinks = []
[pipelines.rear]
source = {kind = "pattern", size = [32, 24], rate = 200.0}
model = "m"
[sources.cam]
kind = "pattern"
size = [64, 32]
format = "NV12"
[models.m]
path = "no such model"
"""


@pytest.mark.parametrize(("name", "size"), [("front", (64, 32)), ("cam", (64, 32)), ("rear", (32, 24))])
def test_a_pipeline_or_source_of_a_configuration(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    (tmp_path / "edged.toml").write_text(CONFIG)
    out = tmp_path / "out"
    assert main(["capture", name, str(out), "--config", str(tmp_path / "edged.toml")]) == ExitCode.OK
    (made,) = pictures(out)
    assert read(made).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("form", list(PixelFormat))
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_every_format_becomes_what_preprocessing_sees(form: PixelFormat, matrix: Any) -> None:
    spec = FrameSpec(16, 8, form, pitch=64, matrix=matrix)
    buffer = np.random.default_rng(1).integers(0, 256, spec.nbytes, np.uint8)
    planes = spec.views(buffer)
    frame = Frame(spec, planes, cast(Any, None), 0, 0, 0)
    got = cv2.imdecode(np.frombuffer(Picture(spec).encode(frame, ".png"), np.uint8), cv2.IMREAD_UNCHANGED)
    assert got is not None
    wanted = np.rint(to_rgb(spec, planes))[..., ::-1].astype(int)
    if form is PixelFormat.GREY:
        assert got.ndim == 2
        got = got[..., None]
    assert np.abs(got.astype(int) - wanted).max() <= 1


class TestRefusals:
    """Exit status, and what is said."""

    def fails(self, capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
        code = main(["capture", *args])
        return code, capsys.readouterr().err

    @pytest.mark.parametrize(
        ("wanted", "said"),
        [
            ("front", "'front' is neither a declared source nor a file, folder or device; give a device"),
            ("no/such.avi", "'no/such.avi': no such file or folder"),
            ("http://camera/1", "'http://camera/1' is no address that is understood"),
        ],
    )
    def test_no_source(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], wanted: str, said: str
    ) -> None:
        code, err = self.fails(capsys, wanted, str(tmp_path / "out"))
        assert (code, said in err) == (ExitCode.CONFIG, True), err
        assert not (tmp_path / "out").exists()

    def test_no_such_pipeline(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "edged.toml").write_text(CONFIG)
        code, err = self.fails(
            capsys, "frnt", str(tmp_path / "out"), "--config", str(tmp_path / "edged.toml")
        )
        assert code == ExitCode.CONFIG
        assert "there is no pipeline or source 'frnt'; did you mean 'front'?" in err

    def test_seconds_for_what_has_no_time(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (file,) = write_pictures(tmp_path / "in", [(64, 48)])
        code, err = self.fails(capsys, str(file), str(tmp_path / "out"), "--every", "2")
        assert (code, "leave --every out" in err) == (ExitCode.CONFIG, True)

    def test_a_folder_that_is_a_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (file,) = write_pictures(tmp_path / "in", [(64, 48)])
        code, err = self.fails(capsys, str(file), str(file))
        assert (code, f"cannot write {file}: it is a file" in err) == (ExitCode.SINK, True)

    def test_a_folder_that_may_not_be_written(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (file,) = write_pictures(tmp_path / "in", [(64, 48)])

        def refuse(**_: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
        code, err = self.fails(capsys, str(file), str(tmp_path / "out"))
        assert (code, "give a folder that this user may write to" in err) == (ExitCode.SINK, True)

    def test_a_full_disk_keeps_what_was_saved_and_leaves_nothing_half(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_pictures(tmp_path / "in", [(64, 48)] * 5)
        out, synced, fsync = tmp_path / "out", [], os.fsync

        def full(fd: int) -> None:
            synced.append(fd)
            if len(synced) == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(fd)

        monkeypatch.setattr(os, "fsync", full)
        assert main(["capture", str(tmp_path / "in"), str(out), "--frames", "5"]) == ExitCode.SINK
        said = capsys.readouterr()
        assert said.out.startswith("2 of 5 pictures in")
        assert "No space left on device\n  remedy: free some space" in said.err
        assert len(pictures(out)) == 2
        assert len(notes(out)) == 3


class TestFolder:
    def test_what_is_there_is_never_replaced(self, tmp_path: Path) -> None:
        folder = _capture_folder.Folder(tmp_path, ".png")
        name = folder.save(b"first", 5 * 10**9 + 7, 3)
        assert name == "19700101T000005.000000007Z-00000003.png"
        with pytest.raises(SinkError, match="File exists"):
            folder.save(b"second", 5 * 10**9 + 7, 3)
        assert [f.read_bytes() for f in tmp_path.iterdir()] == [b"first"]

    def test_a_file_system_without_links(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        self.test_what_is_there_is_never_replaced(tmp_path)

    def test_a_second_run_adds_to_the_notes(self, tmp_path: Path) -> None:
        for _ in range(2):
            _capture_folder.Folder(tmp_path, ".png").note({"type": "capture"})
        assert notes(tmp_path) == [{"type": "capture"}] * 2

    def test_a_line_that_does_not_fit_is_taken_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = _capture_folder.Folder(tmp_path, ".png")
        folder.note({"n": 1})
        opened: Callable[..., Any] = Path.open

        class Short:
            def __init__(self, f: Any) -> None:
                self.f = f

            def __enter__(self) -> Short:
                return self

            def __exit__(self, *_: object) -> None:
                self.f.close()

            def tell(self) -> int:
                return int(self.f.tell())

            def write(self, data: bytes) -> int:
                return int(self.f.write(data[:3]))

        monkeypatch.setattr(Path, "open", lambda *a, **k: Short(opened(*a, **k)))
        with pytest.raises(SinkError, match="No space left"):
            folder.note({"n": 2})
        monkeypatch.undo()
        assert notes(tmp_path) == [{"n": 1}]


class TestCamera:
    def test_pictures_and_facts(self, camera: FakeCamera, tmp_path: Path) -> None:
        out = tmp_path / "out"
        args = ["capture", "/dev/video7", str(out), "--frames", "3", "--every", "0.05"]
        assert main(args) == ExitCode.OK
        header, *rest = notes(out)
        assert (header["kind"], header["format"], header["device"]) == ("v4l2", "YUYV", "/dev/video7")
        assert "memory" in header["facts"]
        assert [r["timestamp_source"] for r in rest] == ["driver"] * 3
        assert all("sequence" in r["tags"] for r in rest)
        assert len(pictures(out)) == 3

    def test_absent(self, camera: FakeCamera, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["capture", "/dev/video8", str(tmp_path / "out")]) == ExitCode.SOURCE
        assert "edged cameras lists what is there" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("known", [True, False])
    def test_busy(
        self,
        camera: FakeCamera,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        known: bool,
    ) -> None:
        if known:
            monkeypatch.setattr(_capture_source, "holders", lambda _: ["edged run a.toml (process 17)"])
        daemon = V4l2Source("front", V4l2Options(device="/dev/video7"), FakeKernel(CAMERAS))
        slots: Slots = started(daemon, 5)
        try:
            assert main(["capture", "/dev/video7", str(tmp_path / "out")]) == ExitCode.SOURCE
        finally:
            daemon.close()
        assert slots.in_use == 0
        err = capsys.readouterr().err
        assert "EBUSY" in err
        who = "edged run a.toml (process 17) has it" if known else "perhaps a running edged"
        assert who in err
        assert "systemctl stop edged" in err

    def test_unplugged_midway(
        self,
        camera: FakeCamera,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        save = command._save

        def once(*args: Any) -> Any:
            record = save(*args)
            camera.gone = True
            return record

        monkeypatch.setattr(command, "_save", once)
        assert main(["capture", "/dev/video7", str(tmp_path / "out"), "--frames", "9"]) == ExitCode.SOURCE
        said = capsys.readouterr()
        assert said.out.startswith("1 of 9 pictures")
        assert "ENODEV" in said.err
        assert len(pictures(tmp_path / "out")) == 1


def test_who_holds_a_device(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    for pid, to in (("17", device), ("18", tmp_path), (str(os.getpid()), device)):
        (tmp_path / "proc" / pid / "fd").mkdir(parents=True)
        (tmp_path / "proc" / pid / "fd" / "3").symlink_to(to)
        (tmp_path / "proc" / pid / "cmdline").write_bytes(b"edged\0run\0a.toml\0")
    (tmp_path / "proc" / "19").mkdir()
    (tmp_path / "proc" / "self").mkdir()
    found = _capture_source.holders(str(device), str(tmp_path / "proc"))
    assert found == ["edged run a.toml (process 17)"]


def test_an_interrupt_ends_it_in_order(tmp_path: Path) -> None:
    (tmp_path / "edged.toml").write_text(CONFIG)
    out = tmp_path / "out"
    args = [EDGED, "capture", "rear", str(out), "--config", str(tmp_path / "edged.toml")]
    args += ["--frames", "1000", "--every", "0.02"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 20
        while time.monotonic() < end and not (out.is_dir() and pictures(out)):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert said.rstrip().endswith(": interrupted")
    assert err == ""
    assert len(notes(out)) - 1 == len(pictures(out)) > 0
    assert all(read(f) is not None for f in pictures(out))
