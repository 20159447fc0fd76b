"""What is evaluated: a model on a device, through the preprocessing, engine and parser that the daemon runs."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
from msgspec.structs import replace

from edged import registry
from edged.bench.replay import Clip, one_frame, record
from edged.config.schema import Config, ModelConfig, RuntimeConfig
from edged.devices.choose import choose_device, open_devices
from edged.devices.cpu import CpuDevice
from edged.engines.choose import make_engine
from edged.errors import DeviceError
from edged.frames import FrameSpec
from edged.interfaces import Device, Engine, Preprocess, Stream
from edged.memory import Budget, Slots
from edged.models.load import load_model
from edged.models.model import Model
from edged.models.plans import PlanStore
from edged.parsers.base import Parsed
from edged.sources.images import ImagesOptions, ImagesSource
from edged.tickets import Ticket, find_decode, ticket_wants

Make = Callable[[Model, Device, Stream], Engine]
_SIZES = 8  # sizes of pictures whose preprocessing is kept


def read_picture(file: Path) -> Clip:
    """The picture as a source gives it. SourceError where it cannot be read whole."""
    return record(str(file), ImagesSource(str(file), ImagesOptions(path=str(file))))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a picture gave; `outputs` are copies of the engine's, by name, where they were asked for."""

    parsed: Parsed
    outputs: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Setup:
    """How a model is run: a device (which `Subject` closes) and what makes the engine."""

    model: Model
    device: Device
    make: Make


def set_up(
    directory: Path,
    engine: str = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    plans: PlanStore | None = None,
) -> Setup:
    """The model in `directory` on this machine, as a configuration with these words would run it.

    `plans`: None: the store in the default state_dir. ModelError or ConfigError; DeviceError for a device that is not
    here. What the engine has against it arises when it is loaded.
    """
    model, entry = load_model(directory), ModelConfig(path=str(directory), engine=engine)
    choice = choose_device(Config(runtime=RuntimeConfig(device=device), models={"model": entry}))
    if choice.problems:
        raise DeviceError(f"device {device}: {choice.problems[0].message}", hint=choice.problems[0].hint)
    return Setup(model, open_devices(choice, Budget())[entry.gpu], _maker(entry, plans))


def reference(directory: Path) -> Setup:
    """The model's ONNX file in ONNX Runtime on the CPU: what an engine is held against."""
    entry = ModelConfig(path=str(directory), engine="onnxruntime")
    return Setup(load_model(directory), CpuDevice(Budget(), "the reference"), _maker(entry, None))


def _maker(entry: ModelConfig, plans: PlanStore | None) -> Make:
    return lambda model, device, stream: make_engine(model, entry, device, stream, plans)


class Subject:
    """One setup, loaded. A context manager, used by one thread; `see` gives one picture's results.

    `least_score`: detections down to here are given, whatever model.toml says, since mean average precision ranks them.
    `outputs`: keep what the engine gave; then the parser reads it on the CPU, also where a GPU could.
    """

    def __init__(self, setup: Setup, *, least_score: float | None = None, outputs: bool = False) -> None:
        self.model = _widened(setup.model, least_score)
        self._device, self._make, self._keep = setup.device, setup.make, outputs
        self._stack = ExitStack()
        self._sizes: OrderedDict[FrameSpec, tuple[ExitStack, Slots, Preprocess]] = OrderedDict()

    def __enter__(self) -> Subject:
        with self._stack:
            self._stack.callback(self._device.close)
            with self._device.current():
                self._load()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._device.current():
            self._stream.synchronize()
            while self._sizes:
                self._sizes.popitem()[1][0].close()
            self._engine_stack.close()
        self._stack.close()

    def _load(self) -> None:
        with ExitStack() as stack:
            device = self._device
            self._stream = device.stream(name="evaluation")
            stack.callback(self._stream.close)
            self._engine = self._make(self.model, device, self._stream)
            stack.callback(self._engine.close)
            self._parser = registry.load("parsers", self.model.output.parser)(self.model)
            self._parser.check(self._engine.outputs)
            decode, where = None, "on the CPU"
            if not self._keep:
                decode, where = find_decode("evaluation", device, self._parser, self._engine, 1)
            wants = [*ticket_wants(device, self._engine, decode, 1), *self._engine.wants()]
            region = device.region("evaluation", wants)
            stack.callback(region.close)
            if decode is not None:
                decode.bind(region)
            self._ticket = Ticket.of(0, device, self._engine, decode, region, self.model.input.tensor)
            stack.callback(self._ticket.close)
            stack.callback(self._stream.end)
            self._engine.warm_up(self._ticket.execution, self._stream)
            self.facts = {**device.facts, **self._engine.facts, "decode": where}
            self.file_hash = self._engine.file_hash
            self._engine_stack = stack.pop_all()

    def see(self, picture: Clip) -> Seen:
        """What the model finds in the picture. Waits. SourceError, EngineError or ModelError."""
        with self._device.current():
            _, slots, preprocess = self._size(picture.spec)
            with one_frame(picture, slots) as frame:
                self._ticket.launch(frame, preprocess, self._stream)
                self._stream.synchronize()
            outputs = {n: a.copy() for n, a in self._ticket.outputs.items()} if self._keep else {}
            candidates = self._ticket.candidates(self._parser)
            return Seen(self._parser.finish(candidates, preprocess.geometry), outputs)

    def _size(self, spec: FrameSpec) -> tuple[ExitStack, Slots, Preprocess]:
        """A slot and the preprocessing for pictures of one size; the longest unused goes when there are many."""
        if spec in self._sizes:
            self._sizes.move_to_end(spec)
            return self._sizes[spec]
        if len(self._sizes) >= _SIZES:
            self._sizes.popitem(last=False)[1][0].close()
        device, image = self._device, self.model.input
        (target,) = (t for t in self._engine.inputs if t.name == image.tensor)
        with ExitStack() as stack:
            owner = f"pictures of {spec.width}x{spec.height}"
            preprocess = device.preprocessor("picture", spec, target, image)
            wants = [*Slots.wants(1, spec.nbytes, device.frame_memory), *preprocess.wants()]
            region = device.region(owner, wants)
            stack.callback(region.close)
            preprocess.bind(region)
            self._sizes[spec] = stack.pop_all(), Slots.of(region, 1), preprocess
        return self._sizes[spec]


def _widened(model: Model, least_score: float | None) -> Model:
    """With a threshold that hides less, and classes enough for top-5."""
    output = model.output
    if least_score is not None:
        output = dataclasses.replace(output, score_threshold=min(output.score_threshold, least_score))
    top = getattr(output.options, "top", None)
    if model.task == "classify" and isinstance(top, int) and top < 5:
        output = dataclasses.replace(output, options=replace(output.options, top=5))
    return dataclasses.replace(model, output=output)
