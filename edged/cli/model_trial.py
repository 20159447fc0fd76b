"""One inference outside of a daemon: does the engine run, and does the parser read what it gives?"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from edged import registry
from edged.config.schema import ModelConfig
from edged.devices.cpu import CpuDevice
from edged.engines.choose import make_engine
from edged.frames import U8, Frame, FrameSpec, PixelFormat
from edged.interfaces import Engine
from edged.memory import Region, Slots, Want
from edged.models.load import load_model
from edged.models.model import Model
from edged.parsers.base import Outputs, Parsed
from edged.tensors import TensorView

log = logging.getLogger(__name__)
PICTURE = FrameSpec(640, 480, PixelFormat.BGR)


def wants_of(engine: Engine) -> list[Want]:
    return [*(Want.tensor(t) for t in (*engine.inputs, *engine.outputs)), *engine.wants()]


def views_of(engine: Engine, region: Region) -> dict[str, TensorView]:
    return {t.name: region.tensor(t) for t in (*engine.inputs, *engine.outputs)}


def run_once(engine: Engine) -> None:
    """One inference on zeros. Raises EngineError, and MemoryRefused when its tensors fit nowhere."""
    device = CpuDevice()
    region = device.region("trial", wants_of(engine))
    stream = device.stream(name="trial")
    try:
        execution = engine.bind(views_of(engine, region), region)
        execution.enqueue(stream)
        stream.synchronize()
        execution.close()
    finally:
        stream.close()
        region.close()


def verify(directory: Path, engine_kind: str = "auto") -> dict[str, Any]:
    """Load the model, run a synthetic picture through it and parse the outputs. Raises what is wrong.

    The facts that come back hold names, shapes, the hash and the milliseconds of one warm inference.
    """
    model = load_model(directory)
    engine = make_engine(model, ModelConfig(path=str(directory), engine=engine_kind))
    try:
        parser = registry.load("parsers", model.output.parser)(model)
        parser.check(engine.outputs)
        parsed, run_ms = _picture_through(model, engine, parser)
    finally:
        engine.close()
    if parsed.rejected:
        log.warning(
            "%s: warning: %d rows that the model gave for a drawn picture are no numbers or no boxes; "
            "run it on a real one before you trust it",
            directory,
            parsed.rejected,
        )
    return {
        "ok": True,
        "name": model.name,
        "version": model.version,
        "sha256": engine.file_hash,
        "inputs": [str(t) for t in engine.inputs],
        "outputs": [str(t) for t in engine.outputs],
        "parser": model.output.parser,
        "labels": len(model.output.labels),
        "run_ms": round(run_ms, 2),
        "rejected": parsed.rejected,
    }


def _picture_through(model: Model, engine: Engine, parser: Any) -> tuple[Parsed, float]:
    device = CpuDevice()
    (target,) = (t for t in engine.inputs if t.name == model.input.tensor)
    preprocess = device.preprocessor("trial", PICTURE, target, model.input)
    region = device.region("trial", [*Slots.wants(1, PICTURE.nbytes), *wants_of(engine), *preprocess.wants()])
    stream = device.stream(name="trial")
    try:
        preprocess.bind(region)
        views = views_of(engine, region)
        execution = engine.bind(views, region)
        engine.warm_up(execution, stream)
        frame = _frame(Slots.of(region, 1))
        preprocess.enqueue(frame, views[target.name], 0, stream)
        stream.synchronize()
        start = time.perf_counter()
        execution.enqueue(stream)
        stream.synchronize()
        run_ms = (time.perf_counter() - start) * 1e3
        frame.release()
        outputs: Outputs = {t.name: views[t.name].host()[0] for t in engine.outputs}
        parsed: Parsed = parser.finish(parser.decode(outputs), preprocess.geometry)
        execution.close()
    finally:
        stream.close()
        region.close()
    return parsed, run_ms


def _frame(slots: Slots) -> Frame:
    """A picture of soft gradients: nothing that a detector knows, everything that arithmetic needs."""
    lease = slots.acquire()
    assert lease is not None, "a new set of slots has a free one"
    planes = PICTURE.views(slots.buffers[lease.index])
    y, x = np.mgrid[: PICTURE.height, : PICTURE.width]
    planes[0][:] = _gradient(x, y)
    return Frame(PICTURE, planes, lease, 0, 0, 0, timestamp_source="synthetic")


def _gradient(x: Any, y: Any) -> U8:
    return np.stack((x * 255 // PICTURE.width, y * 255 // PICTURE.height, (x + y) % 256), axis=2).astype(
        np.uint8
    )
