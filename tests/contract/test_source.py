"""What every source does, the fake included, with slots of the host and with slots in memory that a GPU reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edged.errors import SourceError
from edged.frames import Frame, FrameSpec, Memory
from edged.interfaces import Device, EndOfStream, Source
from edged.memory import Slots
from edged.sources._rtsp_options import RtspOptions
from edged.sources._v4l2_canary import peek
from edged.sources._v4l2_options import MemoryName, V4l2Options
from edged.sources.fake import FakeOptions, FakeSource
from edged.sources.images import ImagesOptions, ImagesSource
from edged.sources.pattern import PatternOptions, PatternSource
from edged.sources.rtsp import RtspSource
from edged.sources.v4l2 import V4l2Source
from edged.sources.v4l2_fake import FakeCamera, FakeKernel
from edged.sources.video import VideoOptions, VideoSource
from tests.devices.available import DEVICES, opened
from tests.sources.make import write_clip, write_pictures
from tests.sources.rtsp import Server

COUNT = 6  # pictures that every source here has
RATE = 200.0  # of the live ones, pictures a second


class Room:
    """Where the readers' device finds frames: slots in its memory, all given back at the end."""

    def __init__(self, device: Device, stack: ExitStack) -> None:
        self.device = device
        self._stack = stack
        self._made = 0

    def slots(self, spec: FrameSpec, count: int = 2, short: int = 0) -> Slots:
        """As the source's unit has them made. `short`: bytes that they lack."""
        wants = Slots.wants(count, spec.nbytes - short, self.device.frame_memory)
        region = self.device.region(f"source {self._made}", wants)
        self._made += 1
        self._stack.callback(region.close)
        return Slots.of(region, count)

    def start(self, source: Source, count: int = 2) -> Slots:
        """Open and start; the slots."""
        made = self.slots(source.open(), count)
        source.start(made)
        return made


# folder, live, device -> a source of COUNT pictures
Make = Callable[[Path, bool, Device], Source]


def _fake(folder: Path, live: bool, device: Device) -> Source:
    return FakeSource("f", FakeOptions(live=live, script=tuple(range(COUNT))))


def _images(folder: Path, live: bool, device: Device) -> Source:
    write_pictures(folder / "pictures", [(8, 6)] * COUNT)
    return ImagesSource("i", ImagesOptions(path=str(folder / "pictures"), rate=RATE if live else None))


def _video(folder: Path, live: bool, device: Device) -> Source:
    path = write_clip(folder / "clip.avi", COUNT, RATE)
    return VideoSource("v", VideoOptions(path=str(path), pace="realtime" if live else "max"))


def _pattern(folder: Path, live: bool, device: Device) -> Source:
    return PatternSource("p", PatternOptions(size=(32, 16), frames=COUNT, rate=RATE if live else None))


def _v4l2(folder: Path, live: bool, device: Device) -> Source:
    if not live:
        pytest.skip("a camera is always live")
    camera = FakeCamera(formats={"YUYV": ((32, 16),)}, rate_hz=RATE)
    # the rung whose frames are in the slots that it was given; test_ladder.py has the others
    memory: MemoryName = "auto" if device.name == "cpu" else "userptr-hostalloc"
    options = V4l2Options(device="/dev/video0", memory=memory)
    source = V4l2Source("c", options, FakeKernel({"/dev/video0": camera}))
    source.attach(device, 0)
    return source


def _rtsp(url: str, live: bool) -> Source:
    if not live:
        pytest.skip("a network camera is always live")
    return RtspSource("n", RtspOptions(url=url))


@pytest.fixture(scope="module")
def rtsp_url() -> Iterator[Callable[[], str]]:
    """The address of a real server; asking for it skips the test where none is installed."""
    try:
        server = Server("--rate", str(round(RATE)))
    except pytest.skip.Exception as e:
        reason = str(e)
        yield lambda: pytest.skip(reason)
        return
    yield server.url
    server.kill()


@pytest.fixture(params=DEVICES)
def room(request: pytest.FixtureRequest) -> Iterator[Room]:
    with opened(request.param) as device, ExitStack() as stack:
        yield Room(device, stack)


@pytest.fixture(
    params=[_fake, _images, _video, _pattern, _v4l2, _rtsp],
    ids=["fake", "images", "video", "pattern", "v4l2", "rtsp"],
)
def make(
    request: pytest.FixtureRequest, tmp_path: Path, room: Room, rtsp_url: Callable[[], str]
) -> Iterator[Callable[[bool], Source]]:
    made: list[Source] = []

    def one(live: bool) -> Source:
        if request.param is _rtsp:
            made.append(_rtsp(rtsp_url(), live))
        else:
            made.append(request.param(tmp_path, live, room.device))
        return made[-1]

    yield one
    for source in made:
        source.close()


@pytest.fixture(params=[False, True], ids=["blocking", "live"])
def source(request: pytest.FixtureRequest, make: Callable[[bool], Source]) -> Source:
    return make(bool(request.param))


def read(source: Source, limit_s: float = 5.0) -> Frame:
    """The next frame, waiting for it."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        frame = source.read(0.1)
        if frame is not None:
            return frame
    raise AssertionError(f"no frame in {limit_s} s")


def read_all(source: Source) -> list[int]:
    """Sequence numbers to the end; of a camera, which has none, as many as others have."""
    out: list[int] = []
    while not (endless(source) and len(out) == COUNT):
        try:
            frame = read(source)
        except EndOfStream:
            return out
        out.append(frame.seq)
        frame.release()
    return out


def endless(source: Source) -> bool:
    return isinstance(source, (V4l2Source, RtspSource))


def hoards(source: Source) -> bool:
    """Whether a driver holds the free slots."""
    return isinstance(source, V4l2Source)


def test_frames_match_the_spec_and_lie_in_the_slots(source: Source, room: Room) -> None:
    spec = source.open()
    given = room.slots(spec)
    source.start(given)
    frame = read(source)
    assert frame.spec == spec
    assert [p.shape for p in frame.planes] == [p.shape for p in spec.planes]
    inside = [
        b.ctypes.data <= p.ctypes.data < b.ctypes.data + b.nbytes for p in frame.planes for b in given.buffers
    ]
    assert sum(inside) == len(frame.planes)
    frame.release()


def test_the_device_finds_the_pixels_that_the_host_sees(source: Source, room: Room) -> None:
    given = room.start(source, COUNT)
    for _ in range(3):
        frame = read(source)
        assert frame.memory is room.device.frame_memory
        where = [
            b.ctypes.data <= frame.planes[0].ctypes.data < b.ctypes.data + b.nbytes for b in given.buffers
        ]
        assert frame.device_address == given.addresses[where.index(True)]
        if frame.memory is Memory.MAPPED:
            assert frame.device_address
            found = peek(room.device, "test", frame.device_address, frame.spec.nbytes)
            for there, here in zip(frame.spec.views(found), frame.planes, strict=True):
                assert (there == here).all()
        frame.release()


def test_all_frames_come_in_order_and_then_the_end_again_and_again(source: Source, room: Room) -> None:
    room.start(source, COUNT if endless(source) else 2)  # a camera goes on while the reader is kept waiting
    seen = read_all(source)
    if isinstance(source, RtspSource):  # a machine that is busy elsewhere may miss one
        assert seen == sorted(set(seen))
        assert seen[0] == 0
    else:
        assert seen == list(range(COUNT))
    for _ in range(0 if endless(source) else 2):
        with pytest.raises(EndOfStream):
            source.read(0.0)


def test_a_frame_is_a_lease_of_the_caller(source: Source, room: Room) -> None:
    given = room.start(source)
    frame = read(source)
    held = given.in_use
    assert held == (len(given) if hoards(source) else 1)  # a camera's driver holds the others
    frame.retain()
    frame.release()
    assert given.in_use == held
    frame.release()
    assert given.in_use == held - 1
    source.close()
    assert given.in_use == 0


def test_a_frame_outlives_its_source(source: Source, room: Room) -> None:
    room.start(source)
    frame = read(source)
    before = [p.copy() for p in frame.planes]
    source.close()
    assert all((a == b).all() for a, b in zip(before, frame.planes, strict=True))
    frame.release()


def test_times_rise_and_utc_agrees_with_the_monotonic_clock(source: Source, room: Room) -> None:
    begin, last = time.monotonic_ns(), 0
    room.start(source)
    for _ in range(COUNT):
        frame = read(source)
        now, utc = time.monotonic_ns(), time.time_ns()
        assert begin <= frame.captured_mono_ns <= now
        assert frame.captured_mono_ns > last
        last = frame.captured_mono_ns
        assert abs((utc - frame.captured_at_ns) - (now - last)) < 50_000_000
        frame.release()


def test_without_a_free_slot_a_blocking_source_waits_and_loses_nothing(
    make: Callable[[bool], Source], room: Room
) -> None:
    source = make(False)
    assert not source.live
    given = room.start(source, 2)
    held = [read(source), read(source)]
    begin = time.monotonic()
    assert source.read(0.05) is None
    assert time.monotonic() - begin >= 0.05
    assert source.read(0.0) is None
    for frame in held:
        frame.release()
    assert read_all(source) == list(range(2, COUNT))
    assert given.in_use == 0


def test_without_a_free_slot_a_live_source_loses_pictures_and_counts_them(
    make: Callable[[bool], Source], room: Room
) -> None:
    source = make(True)
    assert source.live
    room.start(source, 1)
    held = read(source)
    assert held.seq == 0
    ended = False
    try:
        # a driver fills its buffers in time; over a network pictures come when they come
        source.read(0.1 if isinstance(source, RtspSource) else 1.5 / RATE)
    except EndOfStream:  # one that is not paced is through at once
        ended = True
    held.release()
    rest = read_all(source)
    assert 1 not in rest
    assert ended == (not rest)
    assert rest == sorted(rest)


def test_a_read_ends_in_time(make: Callable[[bool], Source], room: Room) -> None:
    source = make(True)
    room.start(source)
    begin = time.monotonic()
    for _ in range(COUNT + 20):
        try:
            frame = source.read(0.001)
        except EndOfStream:
            break
        if frame is not None:
            frame.release()
    assert time.monotonic() - begin < 2.0


def test_it_opens_again_after_close(source: Source, room: Room) -> None:
    for _ in range(2):
        room.start(source)
        frame = read(source)
        assert frame.seq == 0
        frame.release()
        source.close()


def test_close_is_legal_twice_in_every_state(source: Source, room: Room) -> None:
    def nothing() -> None:
        return

    def opened() -> None:
        source.open()

    def running() -> None:
        room.start(source)

    def reading() -> None:
        room.start(source)
        read(source).release()

    def ended() -> None:
        room.start(source)
        read_all(source)

    for state in (nothing, opened, running, reading, ended):
        state()
        source.close()
        source.close()


def test_calls_out_of_order_are_refused(source: Source, room: Room) -> None:
    with pytest.raises(SourceError, match="not open"):
        source.read(0.0)
    spec = source.open()
    with pytest.raises(SourceError, match="open already"):
        source.open()
    with pytest.raises(SourceError, match="not started"):
        source.read(0.0)
    source.start(room.slots(spec))
    with pytest.raises(SourceError, match="started already"):
        source.start(room.slots(spec))
    source.close()
    with pytest.raises(SourceError, match="not open"):
        source.start(room.slots(spec))


def test_slots_that_are_too_small_are_refused(source: Source, room: Room) -> None:
    spec = source.open()
    with pytest.raises(SourceError, match=f"takes {spec.nbytes}"):
        source.start(room.slots(spec, short=1))
