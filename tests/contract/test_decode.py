"""Where a device reads a detector's outputs, a runner's results are those of the parser alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edged.config.schema import PipelineConfig
from edged.engines.fake import Arrays, FakeEngine
from edged.frames import FrameSpec, PixelFormat
from edged.interfaces import Device, Engine, Stream
from edged.mailbox import Bell
from edged.memory import Slots, Want
from edged.messages import Identity, Message, ModelId, Result
from edged.parsers.base import Candidates, Outputs, head_of
from edged.parsers.yolo import Yolov5Parser, Yolov8Parser
from edged.pipeline import Pipeline
from edged.runner import Runner
from edged.tensors import ImageInput, TensorSpec
from tests.devices.available import DEVICES, opened
from tests.devices.cuda.heads import HEADS, SIZE, assert_same, outputs, parser_of
from tests.rig import Post, make_frame

F32 = np.dtype(np.float32)
SPEC = FrameSpec(*SIZE, PixelFormat.GREY)
IMAGE = ImageInput("x", SIZE, resize="stretch")
X = TensorSpec("x", (1, 3, SIZE[1], SIZE[0]), F32)
FRAMES = 8


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    with opened(request.param) as made:
        yield made


@pytest.mark.parametrize(("parser", "options", "shape"), HEADS)
def test_what_a_device_finds_is_what_the_parser_finds(
    device: Device, parser: str, options: Any, shape: tuple[int, int]
) -> None:
    p = parser_of(parser, options, 0.3)
    head = head_of(p)
    assert head is not None
    specs = [TensorSpec("other", (1, 4), F32), TensorSpec("y", (1, *shape), F32)]
    decode = device.decoder("model", specs[1:], head, 2)
    if decode is None:
        assert device.name == "cpu"
        return
    assert decode.tensor == "y"
    mapped, kept = (Want.tensor(specs[1], n, device.frame_memory) for n in ("mapped", "kept"))
    output = Want.tensor(specs[1], memory=device.tensor_memory)
    region, stream = device.region("runner", [mapped, kept, output, *decode.wants()]), device.stream()
    decode.bind(region)
    staged, target = region.tensor(specs[1], "mapped"), region.tensor(specs[1])
    for ticket in (0, 1, 0):
        staged.host()[0] = outputs(parser, options, shape, np.float32, ticket)
        stream.copy(target, staged)
        decode.launch(target, stream, ticket)
        stream.synchronize()
        assert_same(p.narrow(decode.collect(0, ticket)), p.decode({"y": staged.host()[0]}))
    stream.close()
    region.close()


def detector(
    device: Device, parser: str, options: Any, shape: tuple[int, int], made: Any, in_flight: int
) -> tuple[Runner, list[Result]]:
    """A runner over FRAMES grey pictures; the engine's output for the one of level n is `outputs(…, seed=n)`."""
    y, post, messages = TensorSpec("y", (1, *shape), F32), Post(), list[Message]()

    def infer(inputs: Arrays) -> Arrays:
        return {"y": outputs(parser, options, shape, np.float32, int(inputs["x"][0, 0, 0, 0]))[None]}

    def engine(device: Device, stream: Stream) -> Engine:
        return FakeEngine([X], [y], infer, device=device)

    bell = Bell()
    pipeline = Pipeline(
        "a", PipelineConfig(source="a", model="m"), Identity("d", "s"), ModelId("m"), (), [messages.append],
        bell, post, live=False,
    )  # fmt: skip
    runner = Runner("model m", "m", device, engine, made, IMAGE, [pipeline], bell, post, in_flight=in_flight)
    runner.start()
    post.wait_for("model m", "prepared")
    source = device.region("source", Slots.wants(4, SPEC.nbytes, device.frame_memory))
    slots = Slots.of(source, 4)
    preprocess = runner.preprocessor("pipeline a", SPEC)
    scratch = device.region("pipeline a", preprocess.wants())
    preprocess.bind(scratch)
    runner.fit(pipeline, preprocess)
    runner.go()
    for seq in range(FRAMES):
        assert pipeline.offer(make_frame(slots, seq, SPEC), 10)
    runner.stop()
    assert runner.join(20)
    pipeline.drop()
    scratch.close()
    source.close()
    if runner.error is not None:
        raise runner.error
    return runner, [m.body for m in messages if isinstance(m.body, Result)]


@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize(("parser", "options", "shape"), [HEADS[1], HEADS[3], HEADS[5], HEADS[8]])
def test_a_runner_gives_the_same_detections_wherever_outputs_are_read(
    device: Device, parser: str, options: Any, shape: tuple[int, int], in_flight: int
) -> None:
    p = parser_of(parser, options, 0.3)
    runner, found = detector(device, parser, options, shape, lambda: p, in_flight)
    assert runner.facts["decode"] == ("on the GPU" if device.name == "cuda" else "on the CPU")
    assert [r.frame_seq for r in found] == list(range(FRAMES))
    with opened("cpu") as cpu:
        _, want = detector(cpu, parser, options, shape, lambda: p, 1)
    for a, b in zip(found, want, strict=True):
        assert a.detections is not None
        assert b.detections
        assert [(d.class_id, d.score) for d in a.detections] == [(d.class_id, d.score) for d in b.detections]
        for one, other in zip(a.detections, b.detections, strict=True):
            assert one.box == pytest.approx(other.box, rel=1e-5, abs=1e-2)


class Blind(Yolov8Parser):
    """Finds nothing, whatever the outputs are."""

    def decode(self, outputs: Outputs) -> Candidates:
        return Candidates()


def test_a_parser_that_decodes_its_own_way_is_not_passed_over(device: Device) -> None:
    model = parser_of("yolov8", {}, 0.3).model
    runner, found = detector(device, "yolov8", {}, HEADS[2][2], lambda: Blind(model), 1)
    assert runner.facts["decode"] == "on the CPU"
    assert all(not r.detections for r in found)


def test_a_head_is_that_of_the_class_that_decodes() -> None:
    class Renamed(Yolov5Parser):
        """Another name, the same outputs."""

    assert head_of(Renamed(parser_of("yolov5", {}, 0.3).model)) is not None
    assert head_of(Blind(parser_of("yolov8", {}, 0.3).model)) is None
