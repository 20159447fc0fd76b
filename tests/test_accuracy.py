"""edged's parts find what a plain reference loop finds: YOLOX-nano on a clip and on labelled photographs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edged import registry
from edged.devices.cpu import CpuDevice
from edged.engines.onnxruntime import OnnxRuntimeEngine
from edged.evaluation.boxes import Found as Scored
from edged.frames import Frame, FrameSpec, PixelFormat
from edged.interfaces import Preprocess
from edged.memory import Slots, Want
from edged.models.load import load_model
from edged.parsers.base import Parsed
from tests.coco import mean_average_precision, read_pictures
from tests.reference import U8, Found, Reference, read_frames

PERSON = 0

MODEL_TOML = """\
name = "yolox-nano"
version = "1"
task = "detect"
file = "model.onnx"
sha256 = "{sha256}"

[input]
tensor = "images"
size = [416, 416]
color = "BGR"
resize = "letterbox-topleft"
pad = 114
mean = 0.0
std = 1.0

[output]
parser = "yolox"
score_threshold = {score}
iou_threshold = {iou}
max_detections = 1000
"""


def model_directory(folder: Path, onnx: Path, score: float, iou: float) -> Path:
    shutil.copyfile(onnx, folder / "model.onnx")
    sha256 = hashlib.sha256(onnx.read_bytes()).hexdigest()
    (folder / "model.toml").write_text(MODEL_TOML.format(sha256=sha256, score=score, iou=iou))
    return folder


class Parts:
    """One model through the CPU device, the engine and the parser, a frame at a time. Close with `stack`."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._model = load_model(directory)
        self._engine = OnnxRuntimeEngine(self._model, OnnxRuntimeEngine.Options(threads=1))
        stack.callback(self._engine.close)
        self._device = CpuDevice()
        self._stream = self._device.stream()
        stack.callback(self._stream.close)
        tensors = (*self._engine.inputs, *self._engine.outputs)
        region = self._device.region("runner", [*map(Want.tensor, tensors), *self._engine.wants()])
        stack.callback(region.close)
        self._views = {t.name: region.tensor(t) for t in tensors}
        self._execution = self._engine.bind(self._views, region)
        stack.callback(self._execution.close)
        self._parser = registry.load("parsers", self._model.output.parser)(self._model)
        self._parser.check(self._engine.outputs)
        self._sources: dict[FrameSpec, tuple[Slots, Preprocess]] = {}

    def _source(self, spec: FrameSpec) -> tuple[Slots, Preprocess]:
        """A slot and a preprocessor for frames of one size."""
        if spec not in self._sources:
            (target,) = self._engine.inputs
            preprocess = self._device.preprocessor("pre", spec, target, self._model.input)
            owner = f"source {spec.width}x{spec.height}"
            region = self._device.region(owner, [*Slots.wants(1, spec.nbytes), *preprocess.wants()])
            self._stack.callback(region.close)
            preprocess.bind(region)
            self._sources[spec] = Slots.of(region, 1), preprocess
        return self._sources[spec]

    def detect(self, picture: U8) -> Parsed:
        height, width = picture.shape[:2]
        spec = FrameSpec(width, height, PixelFormat.BGR)
        slots, preprocess = self._source(spec)
        lease = slots.acquire()
        assert lease is not None
        planes = spec.views(slots.buffers[lease.index])
        planes[0][:] = picture
        frame = Frame(spec, planes, lease, seq=0, captured_mono_ns=0, captured_at_ns=0)
        try:
            preprocess.enqueue(frame, self._views[self._engine.inputs[0].name], 0, self._stream)
            self._execution.enqueue(self._stream)
            self._stream.synchronize()
        finally:
            frame.release()
        outputs = {t.name: self._views[t.name].host()[0] for t in self._engine.outputs}
        parsed: Parsed = self._parser.finish(self._parser.decode(outputs), preprocess.geometry)
        return parsed


def detections(directory: Path, pictures: Iterable[U8]) -> Iterator[Found]:
    """The system under test: what edged finds in each picture with the model in `directory`."""
    with ExitStack() as stack:
        parts = Parts(directory, stack)
        for picture in pictures:
            parsed = parts.detect(picture)
            assert parsed.boxes is not None
            assert parsed.scores is not None
            assert parsed.class_ids is not None
            yield Found(
                parsed.boxes.astype(np.float64),
                parsed.scores.astype(np.float64),
                parsed.class_ids.astype(np.int64),
            )


def corners(found: Found) -> npt.NDArray[np.float64]:
    return np.concatenate([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]], axis=1)


def unmatched(a: Found, b: Found) -> list[tuple[int, float]]:
    """Class and score of what one has within a pixel and the other has not."""
    left = [(int(c), float(s), box) for c, s, box in zip(a.class_ids, a.scores, corners(a), strict=True)]
    alone = []
    for c, s, box in zip(b.class_ids, b.scores, corners(b), strict=True):
        near = [i for i, (other, _, at) in enumerate(left) if other == c and np.abs(at - box).max() <= 1]
        if near:
            left.pop(near[0])
        else:
            alone.append((int(c), float(s)))
    return alone + [(c, s) for c, s, _ in left]


# the whole clip takes the reference half a minute, two on a busy machine
@pytest.mark.parametrize("every", [8, pytest.param(1, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def test_a_clip_gives_the_persons_and_boxes_of_the_reference(
    every: int, yolox: Path, vtest: Path, tmp_path: Path
) -> None:
    score, iou = 0.3, 0.45
    reference = Reference(yolox, score, iou)
    directory = model_directory(tmp_path, yolox, score, iou)
    found = detections(directory, read_frames(vtest, every))
    frames = truths = ours = boxes = 0
    lone: list[tuple[int, float]] = []
    for picture, mine in zip(read_frames(vtest, every), found, strict=True):
        truth = reference.detect(picture)
        frames += 1
        truths += int((truth.class_ids == PERSON).sum())
        ours += int((mine.class_ids == PERSON).sum())
        boxes += len(truth.scores)
        lone += unmatched(truth, mine)
    assert frames == -(-795 // every)
    assert 6.4 < truths / frames < 7.1, "the reference itself finds the crowd that is known to be there"
    assert abs(ours - truths) <= 0.01 * truths, f"{ours} persons, the reference has {truths}"
    # what only one of them has is a score at the threshold, not a box elsewhere
    assert len(lone) <= 0.01 * boxes, f"{len(lone)} of {boxes} boxes differ: {lone}"
    assert all(abs(s - score) < 0.02 for _, s in lone), lone


def test_photographs_give_the_map_of_the_reference(shared: Path, yolox: Path, tmp_path: Path) -> None:
    score, iou = 0.01, 0.65  # the thresholds of YOLOX's own evaluation
    pictures = read_pictures(shared / "coco")
    reference = Reference(yolox, score, iou)
    pixels = [p.pixels for p in pictures]
    truths = [p.truth for p in pictures]
    expected = mean_average_precision(truths, [labelled(reference.detect(p)) for p in pixels])
    found = detections(model_directory(tmp_path, yolox, score, iou), pixels)
    reached = mean_average_precision(truths, [labelled(f) for f in found])
    assert len(pictures) == 48
    assert expected > 0.33, "the reference itself detects"
    assert abs(reached - expected) <= 0.002, f"mAP50-95 {reached:.4f}, the reference has {expected:.4f}"


def labelled(found: Found) -> Scored:
    return Scored(found.boxes, found.class_ids, found.scores)
