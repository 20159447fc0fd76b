"""What is agreed with a driver, and refusals that name what it offers."""

from __future__ import annotations

from typing import Any

import pytest

from edged.errors import SourceError
from edged.sources import _v4l2_fake_ioctls as driver
from edged.sources import _v4l2_query as query
from edged.sources import _videodev2 as v
from edged.sources._v4l2_color import color
from edged.sources._v4l2_options import V4l2Options
from edged.sources.v4l2_fake import FakeCamera, FakeControl
from tests.sources.v4l2_rig import source

Sizes = tuple[tuple[int, int], ...]
SIZES: Sizes = ((640, 480), (320, 240), (1280, 720))


def agreed(camera: FakeCamera, **options: Any) -> dict[str, Any]:
    """The facts of an open, and the size."""
    s = source(camera, **options)
    spec = s.open()
    facts = {**s.facts, "size": (spec.width, spec.height), "spec": spec}
    s.close()
    assert not camera.fds
    return facts


def refused(camera: FakeCamera, **options: Any) -> SourceError:
    s = source(camera, **options)
    with pytest.raises(SourceError) as caught:
        s.open()
    assert not camera.fds
    assert caught.value.hint
    return caught.value


def test_size_and_rate() -> None:
    c = FakeCamera(formats={"YUYV": SIZES}, rates=((1, 60), (1, 30), (1, 15)))
    facts = agreed(c, size=[1280, 720], rate=15)
    assert (facts["size"], facts["rate"]) == ((1280, 720), "15")
    assert facts["camera"] == "Fake camera (fake, platform:fake-000)"
    assert agreed(c, rate=29.97)["rate"] == "30"
    assert agreed(c, rate=50)["rate"] == "60; 50 was asked for"
    assert agreed(c)["size"] == (1280, 720)  # as it is set


def test_rates_that_cannot_be_set() -> None:
    assert (
        agreed(FakeCamera(sets_rate=False), rate=15)["rate"] == "30; 15 was asked for, but it cannot be set"
    )
    assert agreed(FakeCamera(rates=()), rate=15)["rate"] == "the driver does not say; it cannot be set"
    assert agreed(FakeCamera(interval=(0, 0)))["rate"] == "the driver does not say"


def test_another_size_than_configured_is_refused_with_what_there_is() -> None:
    e = refused(FakeCamera(formats={"YUYV": SIZES}), size=[800, 600])
    assert (
        "asks /dev/video0 for 800x600 as YUYV and gets 640x480: it offers 640x480, 320x240, 1280x720"
        in str(e)
    )
    e = refused(FakeCamera(stepwise=((16, 1920, 16), (16, 1080, 8))), size=[30, 40])
    assert "it offers 16x16 to 1920x1080 in steps of 16x8" in e.message
    assert agreed(FakeCamera(stepwise=((2, 4096, 1), (1, 2160, 1))), size=[322, 241])["size"] == (322, 241)


def test_max_size() -> None:
    e = refused(FakeCamera(formats={"YUYV": ((1280, 720),)}), max_size=[1280, 480])
    assert "gets pictures of 1280x720 from /dev/video0, larger than max_size = [1280, 480]" in e.message
    assert "larger than max_size" in refused(FakeCamera(), size=[640, 480], max_size=[320, 240]).message


@pytest.mark.parametrize(
    ("formats", "options", "chosen"),
    [
        ({"MJPG": SIZES, "YUYV": SIZES}, {}, "YUYV"),
        ({"GREY": SIZES, "YUYV": SIZES, "NV12": SIZES}, {}, "NV12"),
        ({"GREY": SIZES, "MJPG": SIZES}, {}, "MJPG decoded to BGR"),
        ({"GREY": SIZES, "H264": SIZES}, {}, "GREY"),
        ({"YUYV": SIZES[:1], "MJPG": SIZES}, {"size": [1280, 720]}, "MJPG decoded to BGR"),
        ({"BGR3": SIZES, "RGB3": SIZES}, {}, "BGR3"),
        ({"BGR3": SIZES, "RGB3": SIZES}, {"format": "RGB24"}, "RGB3"),
    ],
)
def test_the_best_format(formats: Any, options: dict[str, Any], chosen: str) -> None:
    assert agreed(FakeCamera(formats=formats), **options)["format"] == chosen


def test_nv12_is_met_in_one_plane_or_two() -> None:
    assert agreed(FakeCamera(formats={"NM12": SIZES}, multiplanar=True), format="NV12")["format"] == "NM12"
    both: dict[str, Sizes] = {"NM12": SIZES, "NV12": SIZES}
    assert agreed(FakeCamera(formats=both, multiplanar=True), format="NV12")["format"] == "NV12"
    assert agreed(FakeCamera(formats=both, multiplanar=True), format="NM12")["format"] == "NM12"


def test_a_slow_format_yields_to_a_fast_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def rates(device: object, code: int, size: tuple[int, int]) -> query.Rates:
        return query.Rates((30.0,)) if code == v.fourcc("MJPG") else query.Rates((5.0,))

    monkeypatch.setattr(query, "rates", rates)
    c = FakeCamera(formats={"YUYV": SIZES, "MJPG": SIZES})
    assert agreed(c)["format"] == "MJPG decoded to BGR"
    assert agreed(c, rate=5)["format"] == "YUYV"


def test_a_format_that_there_is_not() -> None:
    e = refused(FakeCamera(formats={"YUYV": SIZES, "H264": SIZES}), format="NV12")
    assert "finds no format 'NV12' at /dev/video0: it has H264, YUYV" in e.message
    e = refused(FakeCamera(formats={"H264": SIZES}))
    assert "finds no format that edged reads at /dev/video0: it has H264" in e.message


def test_drivers_that_list_nothing() -> None:
    assert agreed(FakeCamera(lists=False), size=[320, 240])["size"] == (320, 240)
    e = refused(FakeCamera(lists=False), size=[300, 240])
    assert "it offers sizes it does not list" in e.message


def test_what_is_no_camera() -> None:
    e = refused(FakeCamera(capabilities=v.CAP_STREAMING))
    assert "captures no video" in e.message
    assert "cannot stream" in refused(FakeCamera(capabilities=v.CAP_VIDEO_CAPTURE)).message


def test_fields_are_refused() -> None:
    assert "half pictures" in refused(FakeCamera(fields=7)).message
    assert agreed(FakeCamera(fields=v.FIELD_INTERLACED))["size"] == (640, 480)


def test_odd_sizes() -> None:
    assert "even width" in refused(FakeCamera(formats={"YUYV": ((321, 240),)})).message


def test_busy() -> None:
    e = refused(FakeCamera(busy=True))
    assert "VIDIOC_S_FMT: EBUSY" in e.message
    assert "fuser -v /dev/video0" in e.hint


def test_crop() -> None:
    c = FakeCamera(sensor=(1920, 1080))
    assert agreed(c, crop=[100, 50, 640, 480])["crop"] == "640x480 at 100,50"
    assert c.crop == (100, 50, 640, 480)
    e = refused(c, crop=[1900, 0, 640, 480])
    assert "asks /dev/video0 for crop = [1900, 0, 640, 480] and gets [1280, 0, 640, 480]" in e.message
    assert "the sensor is [0, 0, 1920, 1080]" in e.message
    e = refused(FakeCamera(), crop=[0, 0, 64, 48])
    assert "VIDIOC_S_SELECTION: ENOTTY" in e.message
    assert "remove crop" in e.hint


def test_a_crop_that_the_format_moves_is_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    c = FakeCamera(sensor=(1920, 1080))
    real = driver.ANSWERS["S_FMT"]

    def moves(camera: FakeCamera, fd: int, a: v.Format) -> None:
        real(camera, fd, a)
        camera.crop = (0, 0, 1920, 1080)

    monkeypatch.setitem(driver.ANSWERS, "S_FMT", moves)
    agreed(c, crop=[8, 8, 640, 480], size=[320, 240])
    assert c.crop == (8, 8, 640, 480)


# controls

MANUAL = {0: "Auto Mode", 1: "Manual Mode", 3: "Aperture Priority Mode"}


def controls() -> list[FakeControl]:
    return [
        FakeControl(0x980900, "Brightness", value=7),
        FakeControl(0x980001, "User Controls", v.CTRL_CLASS),
        FakeControl(0x98090C, "White Balance, Automatic", v.CTRL_BOOLEAN, most=1),
        FakeControl(0x9A0901, "Exposure, Auto", v.CTRL_MENU, most=3, default=3, menu={**MANUAL}, value=0),
        FakeControl(0x9A0902, "Exposure (Absolute)", least=3, most=2047, needs=0x9A0901),
        FakeControl(0x9A0903, "Old", flags=v.CTRL_FLAG_DISABLED),
        FakeControl(0x9A0910, "Frequency", v.CTRL_INTEGER_MENU, most=1, menu={0: 50, 1: 60}),
        FakeControl(0x9A0911, "Pixel rate", v.CTRL_INTEGER64, most=2**40, flags=v.CTRL_FLAG_READ_ONLY),
        FakeControl(0x9A0912, "Long", v.CTRL_INTEGER64, most=2**40),
        FakeControl(0x9A0913, "Rotate", most=270, flags=v.CTRL_FLAG_MODIFY_LAYOUT),
        FakeControl(0x9A0914, "Focus", v.CTRL_BUTTON),
        FakeControl(0x9A0915, "Steps", least=2, most=22, step=5),
        FakeControl(0x9A0916, "Bits", v.CTRL_BITMASK, most=0x80402010),
    ]


def test_controls_by_name() -> None:
    c = FakeCamera(controls=controls())
    wanted = {
        "white_balance_automatic": False,
        "exposure_auto": "Manual Mode",
        "exposure_absolute": 100,
        "frequency": "60",
        "long": 2**39,
        "focus": True,
        "rotate": 90,
        "brightness": 0,
        "steps": 12,
        "bits": 0x80000010,
    }
    facts = agreed(c, controls=wanted)
    assert facts["controls"].startswith("white_balance_automatic = False, exposure_auto = Manual Mode")
    now = {x.name: x.value for x in c.controls}
    assert (now["White Balance, Automatic"], now["Exposure, Auto"], now["Exposure (Absolute)"]) == (0, 1, 100)
    assert (now["Steps"], now["Bits"]) == (12, 0x80000010)
    assert (now["Frequency"], now["Long"], now["Focus"], now["Brightness"]) == (1, 2**39, 1, 0)
    assert c.calls.index("S_EXT_CTRLS") < c.calls.index("S_FMT")  # the one that changes the layout


@pytest.mark.parametrize(
    ("wanted", "said", "hint"),
    [
        ({"exposure": 1}, "finds no control 'exposure'", "did you mean 'exposure_auto'?"),
        ({"zzz": 1}, "finds no control 'zzz'", "its controls: bits, brightness"),
        ({"old": 1}, "finds no control 'old'", ""),
        ({"brightness": 300}, "'brightness' at /dev/video0 to 300", "give 0 to 255"),
        ({"steps": 11}, "asks /dev/video0 for steps = 11 and gets 12", "give 2 to 22 in steps of 5"),
        ({"bits": 0x11}, "to 17", "give bits of 0x80402010, added up"),
        ({"brightness": True}, "to True", "give 0 to 255"),
        ({"brightness": "much"}, "to 'much'", "give 0 to 255"),
        ({"white_balance_automatic": 2}, "to 2", "give true or false"),
        ({"exposure_auto": 2}, "to 2", "give 0 (Auto Mode), 1 (Manual Mode), 3 (Aperture Priority Mode)"),
        ({"exposure_auto": "manual"}, "to 'manual'", "did you mean 'Manual Mode'?"),
        ({"pixel_rate": 5}, "it is read-only", "remove it"),
        ({"exposure_absolute": 5}, "to 5: VIDIOC_S_EXT_CTRLS: EACCES", "another control must change before"),
    ],
)
def test_controls_that_cannot_be_set(wanted: dict[str, Any], said: str, hint: str) -> None:
    e = refused(FakeCamera(controls=controls()), controls=wanted)
    assert said in e.message
    assert hint in e.hint


# colours


@pytest.mark.parametrize(
    ("figures", "yuv", "expected"),
    [
        ((0, 0, 0), True, ("bt601", False, "")),
        ((8, 0, 0), True, ("bt601", False, "")),  # sRGB
        ((1, 0, 0), True, ("bt601", False, "")),  # SMPTE 170M
        ((3, 0, 0), True, ("bt709", False, "")),
        ((12, 0, 0), True, ("bt709", False, "")),
        ((7, 0, 0), True, ("bt601", True, "")),  # JPEG
        ((8, 2, 1), True, ("bt709", True, "")),
        ((3, 1, 2), True, ("bt601", False, "")),
        ((10, 0, 0), True, ("bt709", False, "BT.2020, read as BT.709")),
        ((2, 0, 0), True, ("bt709", False, "SMPTE 240M, read as BT.709")),
        ((8, 77, 0), True, ("bt601", False, "encoding 77 is unknown, read as BT.601")),
        ((8, 0, 0), False, ("bt601", True, "")),
        ((8, 0, 2), False, ("bt601", False, "limited-range RGB, read as full range")),
    ],
)
def test_color(figures: tuple[int, int, int], yuv: bool, expected: tuple[str, bool, str]) -> None:
    assert color(*figures, yuv=yuv) == expected


@pytest.mark.parametrize("multiplanar", [False, True])
def test_color_reaches_the_frames(multiplanar: bool) -> None:
    facts = agreed(FakeCamera(color=(3, 0, 1), multiplanar=multiplanar))
    assert (facts["spec"].matrix, facts["spec"].full_range) == ("bt709", True)
    assert agreed(FakeCamera(color=(10, 0, 0), multiplanar=multiplanar))["color"] == "BT.2020, read as BT.709"


# options


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        ({"memory": "userptr", "format": "MJPG"}, "memory", "cannot be with format 'MJPG'"),
        ({"size": (640, 480), "max_size": (640, 400)}, "size", "is larger than max_size"),
        ({"size": (641, 480), "format": "YUYV"}, "size", "does not fit format 'YUYV'"),
    ],
)
def test_contradictions(options: dict[str, Any], key: str, said: str) -> None:
    ((found, text),) = V4l2Options(device="/dev/video0", **options).problems()
    assert found == key
    assert said in text
    assert "; " in text
