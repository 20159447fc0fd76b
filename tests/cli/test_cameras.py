"""edged cameras, on fake drivers and on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged.cli import cameras, main
from edged.errors import ExitCode
from edged.sources import _v4l2_fake_ioctls as driver
from edged.sources import _videodev2 as v
from edged.sources.v4l2_fake import FakeCamera, FakeControl, FakeKernel

WEBCAM = FakeCamera(
    formats={"YUYV": ((640, 480), (320, 240)), "H264": ((640, 480),)},
    card="HD Webcam",
    controls=[
        FakeControl(0x980900, "Brightness", value=7),
        FakeControl(0x98090C, "White Balance, Automatic", v.CTRL_BOOLEAN, most=1, default=1, value=1),
        FakeControl(
            0x9A0901, "Exposure, Auto", v.CTRL_MENU, most=3, default=3, menu={1: "Manual", 3: "Auto"}, value=3
        ),
        FakeControl(0x9A0911, "Pixel Rate", v.CTRL_INTEGER64, flags=v.CTRL_FLAG_READ_ONLY, value=2**40),
    ],
)


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    """Four nodes, out of order, one with a lasting name."""
    metadata = FakeCamera(capabilities=v.CAP_STREAMING)
    sensor = FakeCamera(
        formats={"NM12": ()},
        multiplanar=True,
        stepwise=((16, 1920, 16), (16, 1080, 8)),
        rates=((1, 120), (1, 1)),
        rate_range=True,
        card="Sensor",
    )
    held = FakeCamera(gone=True)
    nodes = {"video0": WEBCAM, "video1": metadata, "video10": sensor, "video2": held}
    for name in (*nodes, "null", "videos"):
        (tmp_path / name).touch()
    (tmp_path / "v4l" / "by-id").mkdir(parents=True)
    (tmp_path / "v4l" / "by-id" / "usb-HD_Webcam-video-index0").symlink_to("../../video0")
    return FakeKernel({str(tmp_path / name): c for name, c in nodes.items()})


def test_lines(kernel: FakeKernel, tmp_path: Path) -> None:
    found = cameras.survey(str(tmp_path), kernel)
    text = "\n\n".join(cameras.describe(c) for c in found)
    assert (
        text
        == f"""\
{tmp_path}/video0: HD Webcam (fake, platform:fake-000)
  also {tmp_path}/v4l/by-id/usb-HD_Webcam-video-index0
  format YUYV (the format YUYV)
    640x480 at 30, 15
    320x240 at 30, 15
  format H264, which edged does not read (the format H264)
    640x480 at 30, 15
  control brightness: 0 to 255; default 128; now 7
  control white_balance_automatic: true or false; default 1; now 1
  control exposure_auto: 1 (Manual), 3 (Auto); default 3; now 3
  control pixel_rate: int64; default 128; now 1099511627776; read-only

{tmp_path}/video2: edged cameras fails at {tmp_path}/video2: open: ENODEV (No such device)
  remedy: it was unplugged while a program held it; end that program: fuser -v {tmp_path}/video2

{tmp_path}/video10: Sensor (fake, platform:fake-000)
  format NM12 (the format NM12)
    16x16 to 1920x1080 in steps of 16x8
    1920x1080 at 1 to 120"""
    )
    assert all(not c.fds for c in kernel.cameras.values())


def test_records(kernel: FakeKernel, tmp_path: Path) -> None:
    first, held, last = json.loads(json.dumps(cameras.survey(str(tmp_path), kernel)))
    assert first["names"] == [f"{tmp_path}/v4l/by-id/usb-HD_Webcam-video-index0"]
    assert first["formats"][0] == {
        "format": "YUYV",
        "fourcc": "YUYV",
        "description": "the format YUYV",
        "sizes": [
            {"size": [640, 480], "rates": [30.0, 15.0], "range": False},
            {"size": [320, 240], "rates": [30.0, 15.0], "range": False},
        ],
    }
    assert first["formats"][1]["format"] is None
    assert first["controls"][0] == {
        "name": "brightness",
        "kind": "int",
        "takes": "0 to 255",
        "default": 128,
        "value": 7,
        "flags": [],
        "least": 0,
        "most": 255,
        "step": 1,
    }
    assert first["controls"][2]["menu"] == {"1": "Manual", "3": "Auto"}
    assert set(held) == {"device", "names", "error", "hint"}
    assert last["formats"][0]["between"] == {"least": [16, 16], "most": [1920, 1080], "step": [16, 8]}


def test_a_control_that_does_not_answer(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setitem(driver.ANSWERS, "G_EXT_CTRLS", fails)
    text = cameras.describe(cameras.survey(str(tmp_path), kernel)[0])
    assert "control brightness: 0 to 255; default 128; VIDIOC_G_EXT_CTRLS: EIO (Input/output error)" in text


def test_none(tmp_path: Path) -> None:
    assert cameras.survey(str(tmp_path)) == []
    assert cameras.survey(str(tmp_path / "absent")) == []


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever cameras this machine has."""
    assert main.main(["cameras"]) == ExitCode.OK
    assert capsys.readouterr().out
    assert main.main(["cameras", "--json"]) == ExitCode.OK
    assert isinstance(json.loads(capsys.readouterr().out), list)
