"""What edged gets from a real driver: formats, sizes, rates, controls, crop, times and numbers. No faults here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from edged.errors import SourceError
from edged.frames import U8, Frame
from edged.memory import Region, Slots
from edged.sources._v4l2_options import V4l2Options
from edged.sources.v4l2 import V4l2Source
from tests.system.guest import vivid
from tests.system.guest.report import run_cases

SINGLE, MULTI, HDMI, CONTIGUOUS = (f"/dev/video{n}" for n in range(4))
KINDS = (
    vivid.Kind(),
    vivid.Kind(multiplanar=True),
    vivid.Kind(input=vivid.HDMI),
    vivid.Kind(contiguous=True),
)
MEMORY = ("userptr", "mmap")
FORMATS = ("YUYV", "UYVY", "NV12", "RGB24", "BGR24", "GREY")  # of those that edged reads; vivid has no MJPG
SIZES = ((320, 180), (640, 360), (640, 480), (1280, 720))
RATES = (60.0, 30.0, 15.0, 10.0)
RED = 7  # test_pattern: 100% Red
# limited-range BT.601 of (255, 0, 0)
RED_Y, RED_U, RED_V = 81, 90, 240
RED_GREY = 54  # vivid makes grey with the luma of BT.709, full range


@contextmanager
def started(device: str, count: int = 6, **options: Any) -> Iterator[tuple[V4l2Source, Slots]]:
    """A streaming source; nothing may be left of it at the end."""
    source = V4l2Source("test", msgspec.convert({"device": device, **options}, V4l2Options))
    spec = source.open()
    slots = Slots.of(Region("test", Slots.wants(count, spec.nbytes)), count)
    try:
        source.start(slots)
        yield source, slots
    finally:
        source.close()
    assert slots.in_use == 0, slots.in_use


def refused(device: str, **options: Any) -> SourceError:
    """What `open` says, or `start`."""
    try:
        with started(device, **options):
            pass
    except SourceError as e:
        return e
    raise AssertionError(f"{device} took {options}")


def read(source: V4l2Source) -> Frame:
    frame = source.read(5.0)
    assert frame is not None, "no picture in 5 s"
    return frame


def close_to(plane: U8, *expected: int) -> None:
    """All pixels of a plane, each channel within 2."""
    got = plane.reshape(-1, len(expected)).astype(int)
    worst = np.abs(got - np.array(expected)).max(axis=0)
    assert (worst <= 2).all(), f"expected {expected}, first {got[0].tolist()}, off by {worst.tolist()}"


def is_red(format_: str, planes: tuple[U8, ...]) -> None:
    y, u, v = RED_Y, RED_U, RED_V
    match format_:
        case "YUYV":
            close_to(planes[0], y, u, y, v)
        case "UYVY":
            close_to(planes[0], u, y, v, y)
        case "NV12" | "NM12":
            close_to(planes[0], y)
            close_to(planes[1], u, v)
        case "RGB24":
            close_to(planes[0], 255, 0, 0)
        case "BGR24":
            close_to(planes[0], 0, 0, 255)
        case "GREY":
            close_to(planes[0], RED_GREY)


def format_(device: str, name: str, memory: str) -> str:
    """Pictures that are right, numbers without a gap, times that rise and are of now."""
    vivid.set_control(device, "test_pattern", RED)
    controls = {"osd_text_mode": "None", "timestamp_source": "Start of Exposure"}
    options: dict[str, Any] = {"size": [320, 180], "rate": 15, "controls": controls}
    with started(device, format=name, memory=memory, **options) as (source, _):
        assert source.facts["memory"].startswith(memory), source.facts["memory"]
        sequences, times, ages, seqs = [], [], [], []
        for _ in range(15):
            frame = read(source)
            now = time.monotonic_ns()
            is_red(name, frame.planes)
            assert "torn" not in frame.tags
            assert frame.timestamp_source == "driver", source.facts
            for plane in frame.planes:
                plane[...] = 1  # so that the next picture here is a new one
            sequences.append(frame.tags["sequence"])
            seqs.append(frame.seq)
            times.append(frame.captured_mono_ns)
            ages.append((now - frame.captured_mono_ns) / 1e6)
            frame.release()
        no_gap(sequences, seqs, source.lost)
        assert all(a < b for a, b in pairwise(times)), times
        assert all(0 <= a < 500 for a in ages), ages
        return f"{source.facts['format']}; {source.facts['memory']}; age {np.median(ages):.1f} ms"


def stamps_ahead() -> str:
    """Its stamps are of the end of a frame that it has only begun: not a moment at which anything was captured."""
    controls = {"timestamp_source": "End of Frame"}
    with started(SINGLE, format="GREY", size=[320, 180], rate=15, controls=controls) as (source, _):
        times = []
        for _n in range(10):
            frame = read(source)
            assert frame.captured_mono_ns <= time.monotonic_ns()
            assert frame.timestamp_source == "dequeue"
            times.append(frame.captured_mono_ns)
            frame.release()
        assert times == sorted(times)
        assert "ahead of CLOCK_MONOTONIC" in source.facts["clock"], source.facts
        return source.facts["clock"]


def no_gap(sequences: list[int], seqs: list[int], lost: int) -> None:
    """The numbers and losses that edged gives are the driver's."""
    assert seqs == [n - sequences[0] for n in sequences], (sequences, seqs)
    assert lost == sequences[-1] - sequences[0] + 1 - len(sequences), (sequences, lost)
    assert lost == 0, sequences


def size(wanted: tuple[int, int], memory: str) -> str:
    with started(SINGLE, format="YUYV", size=list(wanted), rate=10, memory=memory) as (source, _):
        for _n in range(3):
            frame = read(source)
            assert (frame.spec.width, frame.spec.height) == wanted
            assert frame.planes[0].shape[:2] == (wanted[1], wanted[0]), frame.planes[0].shape
            frame.release()
        return source.facts["rate"]


def other_size() -> str:
    e = refused(SINGLE, size=[300, 200])
    assert "it offers 320x180, 640x360, 640x480, 1280x720, 1920x1080, 3840x2160" in e.message, e.message
    return e.message


def rate(wanted: float) -> str:
    with started(SINGLE, format="GREY", size=[320, 180], rate=wanted) as (source, _):
        times, sequences = [], []
        for _n in range(25):
            frame = read(source)
            times.append(frame.captured_mono_ns)
            sequences.append(frame.tags["sequence"])
            frame.release()
        # by the driver's own numbers: a picture that it left out took its time all the same
        got = (sequences[-1] - sequences[0]) / (times[-1] - times[0]) * 1e9
        assert abs(got - wanted) < 0.05 * wanted, f"{got:.2f}"
        assert source.facts["rate"] == f"{wanted:g}", source.facts["rate"]
        return f"{got:.2f} a second"


def nearest_rate() -> str:
    with started(SINGLE, format="GREY", size=[320, 180], rate=29.0) as (source, _):
        assert source.facts["rate"] == "30; 29 was asked for", source.facts["rate"]
        return source.facts["rate"]


def controls() -> str:
    wanted = {
        "brightness": 100,
        "hue": -20,
        "gain_automatic": False,
        "menu": "Menu Item 4",
        "integer_menu": "13",
        "integer_64_bits": -(2**40),
        "button": True,
        "test_pattern": "Gray Ramp",
    }
    with started(SINGLE, size=[320, 180], controls=wanted):
        got = {n: vivid.get_control(SINGLE, n) for n in wanted if n in vivid.CONTROLS}
    expected = {
        "brightness": 100,
        "hue": -20,
        "gain_automatic": 0,
        "menu": 4,
        "integer_menu": 6,
        "test_pattern": 20,
    }
    assert got == expected, got
    return str(got)


def refused_controls() -> str:
    said = []
    for name, value in (
        ("read_only_integer_32_bits", 1),
        ("menu", 2),  # a gap in the menu
        ("brightness", 256),
        ("string", "ab"),
        ("u8_pixel_array", 1),
        ("brightnes", 1),
        ("bitmask", 1),  # not one of its bits
    ):
        said.append(f"{name}: {refused(SINGLE, controls={name: value}).hint}")
    return "; ".join(said)


def crop(memory: str) -> str:
    wanted = [100, 50, 320, 180]
    with started(HDMI, format="YUYV", crop=wanted, memory=memory) as (source, _):
        frame = read(source)
        assert (frame.spec.width, frame.spec.height) == (320, 180)
        frame.release()
        assert source.facts["crop"] == "320x180 at 100,50", source.facts
        return source.facts["crop"]


def no_crop() -> str:
    e = refused(SINGLE, crop=[0, 0, 160, 90])
    assert "remove crop" in e.hint, str(e)
    return str(e)


def userptr_refused() -> str:
    with started(CONTIGUOUS, size=[320, 180]) as (source, _):
        said = source.facts["memory"]
        assert said.startswith("mmap, one copy a picture (no USERPTR: VIDIOC_REQBUFS: EINVAL"), said
        read(source).release()
    e = refused(CONTIGUOUS, size=[320, 180], memory="userptr")
    assert "set memory = 'auto' or 'mmap'" in e.hint, str(e)
    return said


def wrapped_numbers() -> str:
    """From 0xffffff80 on: past the end of 32 bits without a loss."""
    vivid.set_control(SINGLE, "wrap_sequence_number", 1)
    try:
        with started(SINGLE, format="GREY", size=[320, 180], rate=60) as (source, _):
            raw: list[int] = []
            seqs: list[int] = []
            while not raw or raw[-1] != 5:
                frame = read(source)
                raw.append(frame.tags["sequence"])
                seqs.append(frame.seq)
                frame.release()
            assert raw[0] > 0xFFFFFF00, raw[:3]
            assert seqs == [(n - raw[0]) & 0xFFFFFFFF for n in raw], list(zip(raw, seqs, strict=True))
            assert source.lost == seqs[-1] + 1 - len(seqs)
            return f"{raw[0]} to {raw[-1]}, {len(raw)} pictures"
    finally:
        vivid.set_control(SINGLE, "wrap_sequence_number", 0)


def lasting_name() -> str:
    """All of vivid's cameras share one by-path name; it leads to one of them."""
    with started(vivid.BY_PATH, size=[320, 180]) as (source, _):
        read(source).release()
        assert source.facts["device"] in (SINGLE, MULTI, HDMI, CONTIGUOUS), source.facts
        return source.facts["device"]


def second_program() -> str:
    """A camera that streams can be asked, not set up again."""
    with started(SINGLE, size=[320, 180]):
        e = refused(SINGLE, size=[640, 360])
    assert "EBUSY" in e.message, e.message
    assert "fuser" in e.hint, e.hint
    return e.message


def cameras() -> str:
    """`edged cameras`, as people and as programs read it."""

    def ask(*arguments: str) -> str:
        command = [
            sys.executable,
            "-c",
            "import sys; from edged.cli.main import main; sys.exit(main())",
            "cameras",
        ]
        return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout

    text, found = ask(), json.loads(ask("--json"))
    assert [c["device"] for c in found] == [SINGLE, MULTI, HDMI, CONTIGUOUS], found
    for c, kind in zip(found, KINDS, strict=True):
        readable = {f["format"] for f in c["formats"]} - {None}
        assert readable == {*FORMATS, *(["NM12"] if kind.multiplanar else [])}, readable
        assert not [x for x in c["controls"] if "error" in x], c["controls"]
    assert sum(vivid.BY_PATH in c["names"] for c in found) == 1
    first = next(f for f in found[0]["formats"] if f["format"] == "YUYV")
    assert {tuple(s["size"]) for s in first["sizes"]} > set(SIZES)
    assert "control menu: 1 (Menu Item 1), 3 (Menu Item 3), 4 (Menu Item 4); default 3; now" in text
    return f"{len(text.splitlines())} lines"


def cases() -> dict[str, Callable[[], str]]:
    """Names and what they do; the names are tests of test_v4l2_capture.py."""
    out: dict[str, Callable[[], str]] = {"edged cameras": cameras, "by-path name": lasting_name}
    for memory in MEMORY:
        for name in FORMATS:
            out[f"{name} {memory} single-planar"] = partial(format_, SINGLE, name, memory)
        for name in (*FORMATS, "NM12"):
            out[f"{name} {memory} multi-planar"] = partial(format_, MULTI, name, memory)
        for wanted in SIZES:
            out[f"{wanted[0]}x{wanted[1]} {memory}"] = partial(size, wanted, memory)
        out[f"crop {memory}"] = partial(crop, memory)
    for wanted_rate in RATES:
        out[f"{wanted_rate:g} pictures a second"] = partial(rate, wanted_rate)
    return out | {
        "a rate between two": nearest_rate,
        "a size that there is not": other_size,
        "controls by name": controls,
        "controls that are refused": refused_controls,
        "crop without a sensor": no_crop,
        "USERPTR refused": userptr_refused,
        "stamps ahead of the clock": stamps_ahead,
        "numbers past 32 bits": wrapped_numbers,
        "a second program": second_program,
    }


if __name__ == "__main__":
    vivid.load(*KINDS)
    run_cases(cases())
