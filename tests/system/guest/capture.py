"""What edged gets from a real driver: formats, sizes, rates, controls, crop, times and numbers. No faults here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from tests.system.guest import pictures, rungs, vivid
from tests.system.guest.camera import (
    CONTIGUOUS,
    FORMATS,
    HDMI,
    KINDS,
    MULTI,
    SINGLE,
    SIZES,
    read,
    refused,
    started,
)
from tests.system.guest.report import run_cases

MEMORY = ("userptr", "mmap")
RATES = (60.0, 30.0, 15.0, 10.0)


def other_size() -> str:
    e = refused(SINGLE, size=[300, 200])
    assert "it offers 320x180, 640x360, 640x480, 1280x720, 1920x1080, 3840x2160" in e.message, e.message
    return e.message


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
        assert source.facts["memory"].startswith("copy: "), source.facts["memory"]
        said = source.facts["no userptr"]
        assert said.startswith("VIDIOC_REQBUFS: EINVAL"), said
        read(source).release()
    e = refused(CONTIGUOUS, size=[320, 180], memory="userptr")
    assert "set memory = 'auto' or 'copy'" in e.hint, str(e)
    return said


def lasting_name() -> str:
    """All of vivid's cameras share one by-path name; it leads to one of them."""
    with started(vivid.BY_PATH, size=[320, 180]) as (source, _):
        read(source).release()
        assert source.facts["device"] in (SINGLE, MULTI, HDMI, CONTIGUOUS), source.facts
        return source.facts["device"]


def another_number() -> str:
    """A camera that is plugged in while somebody holds its old node gets another number; the lasting name follows."""
    before = set(os.listdir("/dev"))
    held = os.open(SINGLE, os.O_RDWR)
    try:
        vivid.unbind()
        vivid.bind()
        new = sorted(set(os.listdir("/dev")) - before)
        assert new == ["video4"], new
        with started(vivid.BY_PATH, size=[320, 180]) as (source, _):
            read(source).release()
            said = source.facts["device"]
        with started("/dev/video4", size=[320, 180]) as (source, _):
            read(source).release()
    finally:
        os.close(held)
    return f"{new[0]}; {vivid.BY_PATH} leads to {said}"


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
            out[f"{name} {memory} single-planar"] = partial(pictures.format_, SINGLE, name, memory)
        for name in (*FORMATS, "NM12"):
            out[f"{name} {memory} multi-planar"] = partial(pictures.format_, MULTI, name, memory)
        for wanted in SIZES:
            out[f"{wanted[0]}x{wanted[1]} {memory}"] = partial(pictures.size, wanted, memory)
        out[f"crop {memory}"] = partial(crop, memory)
    for wanted_rate in RATES:
        out[f"{wanted_rate:g} pictures a second"] = partial(pictures.rate, wanted_rate)
    for name in rungs.RUNGS:
        for device, api in ((SINGLE, "single-planar"), (MULTI, "multi-planar")):
            out[f"{name} {api}"] = partial(rungs.rung, device, name, "NV12")
    out["the best rung of two planes"] = partial(rungs.rung, MULTI, "userptr-register", "NM12")
    out["the best rung"] = partial(rungs.best, SINGLE)
    return out | {
        "a rate between two": nearest_rate,
        "a size that there is not": other_size,
        "controls by name": controls,
        "controls that are refused": refused_controls,
        "crop without a sensor": no_crop,
        "USERPTR refused": userptr_refused,
        "stamps ahead of the clock": pictures.stamps_ahead,
        "numbers past 32 bits": pictures.wrapped_numbers,
        "a second program": second_program,
        "another number after plugging in": another_number,  # the last: numbers are others now
    }


if __name__ == "__main__":
    vivid.load(*KINDS)
    run_cases(cases())
