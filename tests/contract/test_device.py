"""What every device promises: regions, streams, events, and preprocessing that agrees with the reference."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.config.schema import DewarpOptions
from edged.devices import reference
from edged.errors import ConfigError, DeviceError, MemoryRefused, ModelError
from edged.frames import Fit, FrameSpec, PixelFormat
from edged.interfaces import Device, Stream
from edged.memory import PAGE, Budget, Slots, Want, host_memory
from edged.tensors import Color, ImageInput, Layout, TensorSpec, TensorView
from edged.views import WHOLE, View, positions
from tests.devices.available import DEVICES, opened
from tests.devices.rig import Rig, picture
from tests.searching import examples

FITS: tuple[Fit, ...] = ("letterbox", "letterbox-topleft", "stretch")
COLORS: tuple[Color, ...] = ("RGB", "BGR", "GREY")
LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
VIEWS = (
    View((7, 5, 37, 31)),
    View((61, 45, 1, 1)),
    View(lens=DewarpOptions(lens="fisheye", size=(64, 48), fov=150, yaw=20, focal=(20, 21), center=(30, 22))),
    View(lens=DewarpOptions(lens="equirectangular", size=(40, 48), yaw=170, pitch=60, roll=9)),
)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.fixture(params=DEVICES)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[Budget | None], Device]]:
    with ExitStack() as stack:
        yield lambda budget: stack.enter_context(opened(request.param, budget))


@pytest.fixture
def device(make: Callable[[Budget | None], Device]) -> Device:
    return make(None)


@pytest.fixture
def stream(device: Device) -> Iterator[Stream]:
    s = device.stream()
    yield s
    s.close()


# regions


def test_region_is_page_aligned_zero_and_counted(make: Callable[[Budget | None], Device]) -> None:
    budget = Budget(3 * PAGE)
    region = make(budget).region("runner", [Want("a", 1), Want("b", PAGE + 1)])
    assert budget.held == 3 * PAGE
    view = region.tensor(TensorSpec("a", (1,), np.dtype(np.uint8)))
    assert view.address % PAGE == 0
    assert view.host()[0] == 0
    region.close()
    region.close()
    assert budget.held == 0


def test_region_over_budget_is_refused_with_figures(make: Callable[[Budget | None], Device]) -> None:
    budget = Budget(PAGE)
    with pytest.raises(MemoryRefused, match=r"8\.0 KiB wanted.*4\.0 KiB"):
        make(budget).region("runner", [Want("a", PAGE + 1)])
    assert budget.held == 0


def test_region_that_cannot_be_made_holds_nothing(make: Callable[[Budget | None], Device]) -> None:
    budget = Budget()
    device = make(budget)
    with pytest.raises(ValueError, match="two wants"):
        device.region("runner", [Want("a", 1), Want("a", 1)])
    with pytest.raises(MemoryRefused, match="the system has no"):
        device.region("runner", [Want("a", 1 << 60)])
    assert budget.held == 0


# streams and events


def test_event_of_an_idle_stream_is_done(stream: Stream) -> None:
    event = stream.record()
    assert event.wait(10)
    assert event.wait(0)
    stream.synchronize()


def test_close_is_idempotent(device: Device) -> None:
    s = device.stream(priority=-1)
    s.close()
    s.close()
    with pytest.raises(DeviceError):
        s.record()


def test_streams_of_one_device_are_independent(device: Device) -> None:
    first, second = device.stream(), device.stream()
    try:
        first.close()
        second.synchronize()
    finally:
        second.close()


# preprocessing


def levels(row: npt.NDArray[Any], image: ImageInput) -> npt.NDArray[np.float64]:
    """A row of a tensor mapped back to grey levels, [h, w, c]."""
    if image.layout == "NCHW":
        row = row.transpose(1, 2, 0)
    mean, std = (np.array(v[: image.channels]) for v in (image.mean, image.std))
    return np.asarray(row.astype(np.float64) * std + mean)


def expected(rig: Rig, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Grey levels of the rig's view by the reference."""
    planes, view = rig.src.views(data), rig.view
    if view.lens is None:
        return reference.grey_levels(rig.src, planes, rig.image, view.roi)
    table = positions(view.lens, rig.src, rig.image)
    return reference.dewarped_levels(rig.src, planes, rig.image, view.lens.size, table)


def assert_agrees(rig: Rig, data: npt.NDArray[np.uint8], tolerance: float = 1.0) -> None:
    """Within `tolerance` grey levels of the reference, and exactly the padding outside the picture."""
    got = levels(rig.run(data), rig.image)
    want = np.rint(expected(rig, data))
    worst = np.abs(got - want).max()
    assert worst <= tolerance, f"{worst} grey levels off the reference"


def slack(dtype: npt.DTypeLike, image: ImageInput) -> float:
    """One grey level, and half a step of what the tensor's dtype can hold."""
    half_step = {
        np.dtype(np.float32): 1e-4,
        np.dtype(np.float16): 255 / 2048,
        np.dtype(np.uint8): max(image.std) / 2,
    }
    return 1.0 + half_step[np.dtype(dtype)]


@pytest.mark.parametrize("fmt", list(PixelFormat))
@pytest.mark.parametrize(("layout", "color"), list(itertools.product(LAYOUTS, COLORS)))
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_every_format_to_every_tensor(
    device: Device, fmt: PixelFormat, layout: Layout, color: Color, dtype: npt.DTypeLike
) -> None:
    src = FrameSpec(62, 46, fmt, pitch=200)
    for fit, (mean, std) in itertools.product(FITS, [((0.0,) * 3, (1.0,) * 3), (MEAN, STD)]):
        if dtype is np.uint8 and mean is MEAN:
            mean, std = (-10.0,) * 3, (2.0, 1.5, 3.0)
        image = ImageInput("images", (48, 40), color, fit, 114, mean, std, layout)
        with Rig(device, src, image, dtype) as rig:
            assert_agrees(rig, picture(src), slack(dtype, image))


@pytest.mark.parametrize("fmt", [PixelFormat.YUYV, PixelFormat.UYVY, PixelFormat.NV12])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("color", COLORS)
def test_every_matrix_and_range(
    device: Device, fmt: PixelFormat, full_range: bool, matrix: Any, color: Color
) -> None:
    src = FrameSpec(64, 48, fmt, 0, matrix, full_range)
    for size in ((64, 48), (40, 30)):  # without a resize, and with
        with Rig(device, src, ImageInput("images", size, color)) as rig:
            assert_agrees(rig, picture(src))


@pytest.mark.parametrize("fmt", list(PixelFormat))
@pytest.mark.parametrize(("layout", "color"), [("NCHW", "RGB"), ("NHWC", "BGR"), ("NCHW", "GREY")])
@pytest.mark.parametrize("view", VIEWS, ids=["roi", "pixel", "fisheye", "360"])
def test_every_format_through_every_view(
    device: Device, fmt: PixelFormat, layout: Layout, color: Color, view: View
) -> None:
    src = FrameSpec(62, 46, fmt, pitch=200)
    ways: list[tuple[Fit, tuple[int, int], bool]] = [
        ("letterbox", (48, 40), False),
        ("stretch", (21, 17), True),
    ]
    for fit, size, full_range in ways:
        image = ImageInput("images", size, color, fit, 77, MEAN, STD, layout)
        with Rig(device, replace(src, full_range=full_range), image, view=view) as rig:
            assert_agrees(rig, picture(src), slack(np.float32, image))
            assert rig.preprocess.geometry == view.geometry(src, image)


@pytest.mark.parametrize("view", [View((60, 40, 4, 4), path="pipelines.front"), View((0, 0, 63, 1))])
def test_a_region_that_the_source_lacks_is_refused(device: Device, view: View) -> None:
    with (
        pytest.raises(ConfigError, match=rf"front: {view.path}\.roi: .* is not inside the picture of 62x46"),
        Rig(device, FrameSpec(62, 46, PixelFormat.BGR), ImageInput("images", (8, 8)), view=view),
    ):
        pass


def test_a_view_that_is_bound_again_has_its_table_again(device: Device) -> None:
    """A source that is opened afresh has new memory for the same preprocessor."""
    src, image = FrameSpec(62, 46, PixelFormat.BGR), ImageInput("images", (24, 24))
    with Rig(device, src, image, view=VIEWS[2]) as rig:
        first = rig.run()
        again = device.region("again", rig.preprocess.wants())
        rig.preprocess.bind(again)
        assert (rig.run() == first).all()
        again.close()


@st.composite
def cases(draw: st.DrawFn) -> tuple[FrameSpec, ImageInput, View, int]:
    fmt = draw(st.sampled_from(list(PixelFormat)))
    w, h = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    if fmt in (PixelFormat.YUYV, PixelFormat.UYVY, PixelFormat.NV12):
        w *= 2
    if fmt is PixelFormat.NV12:
        h *= 2
    row_bytes = FrameSpec(w, h, fmt).row_bytes
    src = FrameSpec(
        w,
        h,
        fmt,
        draw(st.sampled_from([0, row_bytes, row_bytes + 1, row_bytes + 64])),
        draw(st.sampled_from(["bt601", "bt709"])),
        draw(st.booleans()),
    )
    image = ImageInput(
        "images",
        (draw(st.integers(1, 70)), draw(st.integers(1, 70))),
        draw(st.sampled_from(COLORS)),
        draw(st.sampled_from(FITS)),
        draw(st.integers(0, 255)),
        layout=draw(st.sampled_from(LAYOUTS)),
    )
    view = WHOLE
    if draw(st.booleans()):
        x, y = draw(st.integers(0, w - 1)), draw(st.integers(0, h - 1))
        view = View((x, y, draw(st.integers(1, w - x)), draw(st.integers(1, h - y))))
    return src, image, view, draw(st.integers(0, 2**32 - 1))


@pytest.mark.parametrize("name", DEVICES)
@examples(80)
@given(case=cases())
def test_agrees_with_the_reference(name: str, case: tuple[FrameSpec, ImageInput, View, int]) -> None:
    src, image, view, seed = case
    data = np.random.default_rng(seed).integers(0, 256, src.nbytes, np.uint8)
    with opened(name) as device, Rig(device, src, image, view=view) as rig:
        assert_agrees(rig, data)


def test_geometry_says_where_the_picture_is(device: Device) -> None:
    src = FrameSpec(64, 32, PixelFormat.GREY)
    image = ImageInput("images", (32, 32), "GREY", "letterbox", pad=0)
    with Rig(device, src, image) as rig:
        row = rig.run(np.full(src.nbytes, 200, np.uint8))[0]
        x, y, w, h = rig.preprocess.geometry.placed
        assert (x, y, w, h) == (0, 8, 32, 16)
        assert (row[y : y + h, x : x + w] == 200).all()
        assert row.sum() == 200 * w * h


def test_rows_of_a_batch_and_targets_are_apart(device: Device) -> None:
    src = FrameSpec(16, 8, PixelFormat.BGR)
    image = ImageInput("images", (16, 16), "BGR", "letterbox", 9)
    with Rig(device, src, image, targets=2, batch=2) as rig:
        for n, (target, index) in enumerate(itertools.product((0, 1), (0, 1))):
            rig.run(np.full(src.nbytes, 50 + n, np.uint8), target, index)
        for n, (target, index) in enumerate(itertools.product((0, 1), (0, 1))):
            row = rig.seen(target)[index]
            assert (row[:, 4:12] == 50 + n).all()
            assert (row[:, :4] == 9).all()
            assert (row[:, 12:] == 9).all()


def test_two_sources_on_one_target_have_their_own_bars(device: Device) -> None:
    wide, tall = FrameSpec(16, 8, PixelFormat.GREY), FrameSpec(8, 16, PixelFormat.GREY)
    image = ImageInput("images", (16, 16), "GREY", "letterbox", 0)
    with Rig(device, wide, image) as a, Rig(device, tall, image) as b:
        b.views = a.views
        white = np.full(wide.nbytes, 255, np.uint8)
        for rig in (a, b, a, b):
            assert rig.run(white).sum() == 255 * wide.nbytes


def test_a_frame_of_another_spec_is_refused(device: Device) -> None:
    image = ImageInput("images", (16, 16))
    with Rig(device, FrameSpec(16, 8, PixelFormat.BGR), image) as rig:
        frame = rig.frame()
        other = replace(frame, spec=FrameSpec(8, 8, PixelFormat.BGR))
        with pytest.raises(DeviceError, match="built for"):
            rig.preprocess.enqueue(other, rig.views[0], 0, rig.stream)
        frame.release()


@pytest.mark.parametrize(
    ("shape", "dtype", "changes"),
    [
        ((1, 3, 16, 17), np.float32, {}),
        ((1, 16, 16, 3), np.float32, {}),
        ((3, 16, 16), np.float32, {}),
        ((), np.float32, {}),
        ((1, 3, 16, 16), np.int64, {}),
        ((1, 3, 16, 16), np.float32, {"std": (1.0, 0.0, 1.0)}),
        ((1, 3, 16, 16), np.float32, {"mean": (1.0,)}),
    ],
)
def test_a_tensor_that_holds_no_such_picture_is_refused(
    device: Device, shape: tuple[int, ...], dtype: npt.DTypeLike, changes: dict[str, Any]
) -> None:
    image = ImageInput("images", (16, 16), **changes)
    with pytest.raises(ModelError, match="images"):
        device.preprocessor(
            "front", FrameSpec(8, 8, PixelFormat.BGR), TensorSpec("images", shape, np.dtype(dtype)), image
        )


def test_preprocessing_runs_in_the_streams_order(device: Device) -> None:
    """Two frames queued without a wait between: the later one is what remains."""
    src = FrameSpec(8, 8, PixelFormat.GREY)
    with Rig(device, src, ImageInput("images", (8, 8), "GREY")) as rig:
        slots = device.region("frames", Slots.wants(2, src.nbytes, device.frame_memory))
        rig.slots = Slots.of(slots, 2)
        for value in (10, 20):
            frame = rig.frame(np.full(src.nbytes, value, np.uint8))
            rig.preprocess.enqueue(frame, rig.views[0], 0, rig.stream)
        event = rig.stream.record()
        assert event.wait(10)
        assert (rig.seen() == 20).all()
        rig.slots.reset()
        slots.close()


# memory of others


def test_shared_pages_are_read_where_they_are(device: Device, stream: Stream) -> None:
    """What the host writes there later, too; and closing may be repeated."""
    pages = host_memory(2 * PAGE)
    shared = device.share(pages)
    spec = TensorSpec("pages", (pages.nbytes,), np.dtype(np.uint8))
    region = device.region("test", [Want.tensor(spec, memory=device.frame_memory)])
    target = region.tensor(spec)
    for seed in range(2):
        pages[:] = np.random.default_rng(seed).integers(0, 256, pages.nbytes, np.uint8)
        stream.copy(target, TensorView(spec, shared.address, device.frame_memory, pages))
        assert stream.record().wait(10)
        assert (target.host() == pages).all()
    shared.close()
    shared.close()
    device.share(pages, foreign=True).close()
    region.close()


def test_a_descriptor_that_is_no_dmabuf_is_refused(device: Device) -> None:
    fd = os.memfd_create("test")
    os.ftruncate(fd, PAGE)
    with pytest.raises(DeviceError):
        device.share_dmabuf(fd, PAGE)
    os.close(fd)
