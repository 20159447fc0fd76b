"""The kernel's tensors are the CPU path's: a model must not find other things on a GPU. How equal: `assert_same`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _gpu.detections import IOU, SCORE, compare
from edged.devices.cpu import CpuDevice
from edged.frames import U8, FrameSpec, Geometry, PixelFormat, Roi
from edged.messages import Detection
from edged.tensors import ImageInput
from edged.views import View
from tests.devices.cuda.agree import DTYPES, cases, frame_bytes
from tests.devices.cuda.mapped import GpuLike, MappedRig
from tests.devices.rig import OPENCV_HAS_THESE_BITS, Rig
from tests.parsers.samples import make_parser
from tests.searching import examples

cv2 = pytest.importorskip("cv2")

Array = npt.NDArray[Any]
INPUT = ImageInput("images", (416, 416), "BGR", "letterbox-topleft", 114)
PICTURES = 8
THRESHOLD = 0.3
# Of a YUV picture's elements. BT.601 in floats differs from OpenCV's integers in 239 of all 2^24 greens
FEW = 1e-4


def both(
    device: GpuLike,
    src: FrameSpec,
    image: ImageInput,
    data: U8,
    dtype: Any = np.float32,
    roi: Roi | None = None,
) -> tuple[Array, Array, Geometry]:
    """The GPU's tensor, the CPU's, and where the picture is in them."""
    cpu_rig = Rig(CpuDevice(), src, image, dtype, view=View(roi))
    with MappedRig(device, src, image, dtype) as gpu, cpu_rig as cpu:
        gpu.preprocess.look_at(roi)
        return gpu.run(data), cpu.run(data).copy(), cpu.preprocess.geometry


def assert_same(a: Array, b: Array, image: ImageInput, differ: int) -> None:
    """The same grey levels, but for at most `differ` elements that are one level off.

    Without mean and std, and in integers, the same level is the same value. With them the GPU multiplies floats where
    the CPU divides doubles: values of one level are at most the last bit of the largest value apart, which in levels
    is far below 1.
    """
    channels = (-1, 1, 1) if image.layout == "NCHW" else (-1,)
    std, mean = (np.reshape(v[: image.channels], channels) for v in (image.std, image.mean))
    off = np.abs(a.astype(np.float64) - b) * std
    slack: Any = 0.0
    if a.dtype.kind == "f" and (mean.any() or (std != 1).any()):
        slack = np.spacing(((255 + np.abs(mean)) / std).astype(a.dtype)) * std
        assert slack.max() < 0.5
    # a level more may be a whole step of an integer more
    level = 1 + (std if a.dtype.kind in "iu" else slack)
    if OPENCV_HAS_THESE_BITS:
        assert (off <= level).all()
        assert np.count_nonzero(off > slack) <= differ
    else:
        assert (off <= 2 + level).all()
        assert np.count_nonzero(off > slack) <= max(differ, 0.1 * off.size)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[Any, tuple[float, ...], tuple[float, ...]]:
    """A dtype, a mean and a std: of integers some whose values are in the middle of two, or nowhere near it."""
    dtype = draw(st.sampled_from(DTYPES))
    whole = np.dtype(dtype).kind in "iu"
    mean = st.integers(-100, 200).map(float) if whole else st.floats(0, 255, width=32)
    std = st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0]) if whole else st.floats(0.5, 255, width=32)
    if draw(st.booleans()):
        mean, std = st.just(0.0), st.just(1.0)
    return dtype, tuple(draw(st.tuples(mean, mean, mean))), tuple(draw(st.tuples(std, std, std)))


@examples(120)
@given(case=cases(), tensor=tensors())
def test_every_source_to_every_size(device: GpuLike, case: Any, tensor: Any) -> None:
    """And every region to every tensor."""
    src, image, roi, seed = case
    dtype, mean, std = tensor
    image = replace(image, mean=mean, std=std)
    gpu, cpu, _ = both(device, src, image, frame_bytes(src, seed), dtype, roi)
    green = src.matrix == "bt601" and not src.full_range and image.channels == 3
    assert_same(gpu, cpu, image, 4 if green else 0)


@pytest.mark.parametrize(("matrix", "full_range"), [("bt601", False), ("bt601", True), ("bt709", False)])
def test_every_colour(device: GpuLike, matrix: Any, full_range: bool) -> None:
    """Each Y at each 16th V, at eight U: no resize."""
    v, y = np.meshgrid(np.arange(0, 256, 16), np.arange(256))
    src = FrameSpec(32, 256, PixelFormat.UYVY, 0, matrix, full_range)
    for u in range(5, 256, 32):
        data = np.stack([np.full_like(y, u), y, v + u // 32, y], axis=-1).astype(np.uint8).ravel()
        image = ImageInput("images", (32, 256), "RGB", "stretch")
        gpu, cpu, _ = both(device, src, image, data)
        assert_same(gpu, cpu, image, 2)


def photographs(shared: Path) -> list[U8]:
    """uint8 [h, w, 3], BGR, cut to even sizes."""
    files = sorted((shared / "coco" / "images").glob("*.jpg"))[:PICTURES]
    if len(files) < PICTURES:
        pytest.skip("the labelled pictures are absent from ../shared")
    pictures = [cv2.imread(str(f)) for f in files]
    return [np.ascontiguousarray(p[: len(p) // 2 * 2, : p.shape[1] // 2 * 2]) for p in pictures]


def bytes_of(picture: U8, fmt: PixelFormat) -> U8:
    if fmt is PixelFormat.BGR:
        return picture.ravel()
    luma, u, v = np.split(
        cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).ravel(), [n := picture.size // 3, n * 5 // 4]
    )
    return np.concatenate([luma, np.stack([u, v], axis=-1).ravel()])


@pytest.mark.parametrize("fmt", [PixelFormat.BGR, PixelFormat.NV12])
def test_photographs_and_what_is_found_in_them(
    device: GpuLike, fmt: PixelFormat, shared: Path, yolox: Path
) -> None:
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(yolox), options, providers=["CPUExecutionProvider"])
    parser = make_parser("yolox", INPUT.size, score_threshold=THRESHOLD)

    def found(tensor: Array, geometry: Geometry) -> list[Detection]:
        rows = session.run(None, {"images": tensor[None]})[0][0]
        p = parser.finish(parser.decode({"output": rows}), geometry)
        objects = zip(p.class_ids.tolist(), p.scores.tolist(), p.boxes.tolist(), strict=True)
        return [Detection("", c, s, tuple(box)) for c, s, box in objects]

    on_gpu, on_cpu = [], []
    for picture in photographs(shared):
        height, width = picture.shape[:2]
        src = FrameSpec(width, height, fmt)
        gpu, cpu, geometry = both(device, src, INPUT, bytes_of(picture, fmt))
        assert_same(gpu, cpu, INPUT, 0 if fmt is PixelFormat.BGR else int(FEW * gpu.size))
        on_gpu.append(found(gpu, geometry))
        on_cpu.append(found(cpu, geometry))
    seen = compare(on_cpu, on_gpu)
    assert seen["pairs"] > 2 * PICTURES
    assert seen["worst_iou"] >= IOU, seen
    assert seen["worst_score"] <= SCORE, seen
    assert all(x["score"] <= THRESHOLD + SCORE for x in seen["alone"]), seen


def test_a_region_is_a_picture_of_its_own(device: GpuLike) -> None:
    """What is around it does not show through at its edges."""
    src = FrameSpec(90, 70, PixelFormat.RGB)
    image = ImageInput("images", (64, 64), "RGB", "stretch")
    data = frame_bytes(src, 1)
    with MappedRig(device, src, image) as rig:
        rig.preprocess.look_at((11, 7, 41, 37))
        gpu = rig.run(data)
    cut = np.ascontiguousarray(data.reshape(70, 90, 3)[7:44, 11:52]).ravel()
    with Rig(CpuDevice(), replace(src, width=41, height=37), image) as cpu:
        assert_same(gpu, cpu.run(cut), image, 0)
