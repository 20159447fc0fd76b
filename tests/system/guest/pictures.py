"""Pictures, times and numbers of a real driver."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np

from edged.frames import U8
from edged.sources._v4l2_copies import DRIVER_BUFFERS
from tests.system.guest import vivid
from tests.system.guest.camera import SINGLE, read, started
from tests.system.guest.numbers import Numbers

RED = 7  # test_pattern: 100% Red
# limited-range BT.601 of (255, 0, 0)
RED_Y, RED_U, RED_V = 81, 90, 240
RED_GREY = 54  # vivid makes grey with the luma of BT.709, full range


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
    """Pictures that are right, the driver's numbers, times that rise and are of now."""
    vivid.set_control(device, "test_pattern", RED)
    controls = {"osd_text_mode": "None", "timestamp_source": "Start of Exposure"}
    options: dict[str, Any] = {"size": [320, 180], "rate": 15, "controls": controls}
    with started(device, format=name, memory=memory, **options) as (source, _):
        rung = {"mmap": "copy"}.get(memory, memory)
        assert source.facts["memory"].startswith(f"{rung}: "), source.facts["memory"]
        times, ages, numbers = [], [], Numbers(DRIVER_BUFFERS, lambda: False)
        for _ in range(15):
            frame = read(source)
            now = time.monotonic_ns()
            is_red(name, frame.planes)
            assert "torn" not in frame.tags
            assert frame.timestamp_source == "driver", source.facts
            for plane in frame.planes:
                plane[...] = 1  # so that the next picture here is a new one
            numbers.step(frame, source.lost)
            times.append(frame.captured_mono_ns)
            ages.append((now - frame.captured_mono_ns) / 1e6)
            frame.release()
        assert not numbers.defects, numbers.defects
        assert all(a < b for a, b in pairwise(times)), times
        assert all(0 <= a < 2000 for a in ages), ages
        missing = (
            numbers.left_out + numbers.lost
        )  # of a slow machine, which may: that they are counted is the point
        return f"{source.facts['memory']}; age {np.median(ages):.1f} ms; {missing} missing"


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


def size(wanted: tuple[int, int], memory: str) -> str:
    with started(SINGLE, format="YUYV", size=list(wanted), rate=10, memory=memory) as (source, _):
        for _n in range(3):
            frame = read(source)
            assert (frame.spec.width, frame.spec.height) == wanted
            assert frame.planes[0].shape[:2] == (wanted[1], wanted[0]), frame.planes[0].shape
            frame.release()
        return source.facts["rate"]


def rate(wanted: float) -> str:
    controls = {"timestamp_source": "Start of Exposure"}
    with started(SINGLE, format="GREY", size=[320, 180], rate=wanted, controls=controls) as (source, _):
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


def wrapped_numbers() -> str:
    """From 0xffffff80 on: past the end of 32 bits without a loss."""
    vivid.set_control(SINGLE, "wrap_sequence_number", 1)
    try:
        with started(SINGLE, format="GREY", size=[320, 180], rate=60) as (source, _):
            raw: list[int] = []
            seqs: list[int] = []
            while not raw or not 5 <= raw[-1] < 1000:  # a slow machine's driver may leave out any one
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
