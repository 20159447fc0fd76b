"""Cameras: fake drivers behind real ioctls' shapes; on the CPU, and on the stand-in for a GPU's driver."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edged.config.schema import Backend, Config, ModelConfig, RuntimeConfig
from edged.doctor import cameras
from edged.doctor.place import Place
from edged.sources._v4l2_fake_camera import Sizes
from edged.sources._v4l2_options import V4l2Options
from edged.sources.v4l2_fake import FakeCamera, FakeKernel
from tests.cuda.standin import standin


def place(root: Path, *nodes: FakeCamera, by_id: bool = True, device: str = "", gpu: bool = False) -> Place:
    """A /dev with these as video0, video1 …; `device`: what a source of the configuration names."""
    dev = root / "dev"
    (dev / "v4l" / "by-id").mkdir(parents=True)
    for n in range(len(nodes)):
        (dev / f"video{n}").touch()
        if by_id:
            (dev / "v4l" / "by-id" / f"usb-cam{n}-index0").symlink_to(f"../../video{n}")
    sources = {"front": Backend(kind="v4l2", options=V4l2Options(device=str(dev / device)))} if device else {}
    config = Config(
        file="edged.toml",
        sources=sources,
        models={"m": ModelConfig(path="m", engine="onnxruntime")},
        runtime=RuntimeConfig(device="cuda" if gpu else "cpu"),
    )
    kernel = FakeKernel({str(dev / f"video{n}"): c for n, c in enumerate(nodes)})
    return Place(root=root, config=config if device or gpu else None, kernel=kernel)


def look(p: Place) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = [(o.state, o.text, o.remedy) for o in cameras.cameras(p)]
    assert isinstance(p.kernel, FakeKernel)
    assert all(not c.fds for c in p.kernel.cameras.values())
    return found


def test_a_good_camera(tmp_path: Path) -> None:
    name, rung = look(place(tmp_path, FakeCamera(card="HD Webcam"), device="v4l/by-id/usb-cam0-index0"))
    video0 = tmp_path / "dev" / "video0"
    assert name == (
        "pass",
        f"{video0}: HD Webcam (fake), YUYV 640x480@30, 320x240@30; {tmp_path}/dev/v4l/by-id/usb-cam0-index0",
        "",
    )
    assert rung == ("pass", f"{video0}: rung userptr: the driver writes into the slots", "")


def test_a_name_that_does_not_last(tmp_path: Path) -> None:
    name, _ = look(place(tmp_path, FakeCamera(), device="video0"))
    assert name[0] == "warn"
    assert name[2] == f'device = "{tmp_path}/dev/v4l/by-id/usb-cam0-index0"'
    name, _ = look(place(tmp_path / "other", FakeCamera(), by_id=False))
    assert name[0] == "warn"
    assert "udev" in name[2]
    p = place(tmp_path / "third", FakeCamera(), by_id=False)
    by_path = tmp_path / "third" / "dev" / "v4l" / "by-path"
    by_path.mkdir()
    (by_path / "pci-0-index0").symlink_to("../../video0")
    name, _ = look(p)
    assert name[0] == "warn"
    assert "by-path/pci-0-index0 names the plug" in name[1]


def test_one_copy_is_told_with_the_reason(tmp_path: Path) -> None:
    _, rung = look(place(tmp_path, FakeCamera(refuse_userptr=errno.EINVAL)))
    assert rung[0] == "warn"
    assert "rung copy: MMAP, one copy of each picture into a slot (no userptr: " in rung[1]
    assert rung[2]


def test_a_camera_that_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "_PICTURE_S", 0.05)
    _, rung = look(place(tmp_path, FakeCamera(silent=True)))
    assert rung[0] == "fail"
    assert "gave no picture within 0.05 s" in rung[1]


def test_a_busy_camera_is_not_tried(tmp_path: Path) -> None:
    _, rung = look(place(tmp_path, FakeCamera(busy=True)))
    assert rung[0] == "not here"
    assert "another program has it" in rung[1]
    assert rung[2].startswith("fuser -v ")


def test_formats_that_edged_does_not_read(tmp_path: Path) -> None:
    p = place(tmp_path, FakeCamera(formats={"H264": ((640, 480),)}))
    assert [o[0] for o in look(p)] == ["warn"]
    p = place(tmp_path / "other", FakeCamera(formats={"H264": ((640, 480),)}), device="video0")
    assert [o[0] for o in look(p)] == ["fail"]


def test_cameras_that_are_not_there(tmp_path: Path) -> None:
    assert [o[0] for o in look(place(tmp_path))] == ["not here"]
    state, text, remedy = look(place(tmp_path / "other", device="video7"))[0]
    assert (state, remedy.split(";")[0]) == ("fail", "check the cable and its power")
    assert "video7: the configuration names it" in text
    assert look(place(tmp_path / "third", FakeCamera(gone=True)))[0][0] == "fail"


def test_quick(tmp_path: Path) -> None:
    p = place(tmp_path, FakeCamera())
    p.quick = True
    assert [o[0] for o in look(p)] == ["pass", "not here"]


def test_on_a_gpu_a_rung_is_proven_by_its_canary(tmp_path: Path) -> None:
    small: dict[str, Sizes] = {"YUYV": ((64, 48),)}
    with standin() as made:
        _, rung = look(place(tmp_path, FakeCamera(formats=small), gpu=True))
        assert rung[0] == "pass"
        assert "rung mmap-register: the device reads the driver's own buffers" in rung[1]
        made.lie(True)
        _, rung = look(
            place(tmp_path / "other", FakeCamera(formats=small, refuse_userptr=errno.EINVAL), gpu=True)
        )
        assert rung[0] == "warn"
        assert "the device reads other bytes than the CPU" in rung[1]
