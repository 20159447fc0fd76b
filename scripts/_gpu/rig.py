"""Configurations and contestants of scripts/bench/gpu.py: edged's daemon, the engine alone, and the usual loop."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edged.assembly import REGISTERED
from edged.bench.replay import Clip, ReplaySource
from edged.config.load import loads
from edged.config.schema import Config, ModelConfig
from edged.daemon import Daemon, Limits
from edged.devices.choose import choose_device, open_devices
from edged.engines.choose import make_engine
from edged.errors import EdgedError, ExitCode
from edged.frames import U8, FrameSpec, Memory, PixelFormat
from edged.interfaces import Event
from edged.memory import Budget, Want
from edged.messages import Result
from edged.models.load import load_model
from edged.pipeline import Job, Pipeline

FULL_HD = FrameSpec(1920, 1080, PixelFormat.NV12)
PATIENCE_S = 60.0
MOST_AGES = 1_000_000  # kept of a run
PATTERN = '{kind = "pattern"}'


def clip(spec: FrameSpec = FULL_HD, count: int = 4) -> Clip:
    """Soft noise, so that nothing is cached that a camera's picture would not be."""
    rng = np.random.default_rng(0)
    frames: list[tuple[U8, ...]] = []
    for _ in range(count):
        buffer = rng.integers(0, 256, spec.nbytes, np.uint8)
        frames.append(tuple(plane.copy() for plane in spec.views(buffer)))
    return Clip(spec, frames, 0.0)


def configuration(
    model: Path,
    device: str,
    *,
    streams: int = 1,
    in_flight: int = 2,
    options: str = "",
    source: str = PATTERN,
) -> Config:
    """`streams` pipelines of one model; their sources are to be replaced, unless `source` says."""
    parts = [
        f'runtime.device = "{device}"',
        f'[models.m]\npath = "{model}"\nin_flight = {in_flight}\noptions = {{{options}}}',
    ]
    for i in range(streams):
        parts.append(f'[pipelines.p{i}]\nsource = {source}\nmodel = "m"')
    return loads("\n".join(parts), base=model.parent)


class Run:
    """One daemon over frames that lie in its slots already: how fast, how old, and what it cost.

    `at_frames`: called in the runner's thread when so many results have come, by number.
    """

    def __init__(
        self,
        config: Config,
        *,
        spec: FrameSpec = FULL_HD,
        rate: float | None = None,
        seconds: float = 3.0,
        frames: int | None = None,
        warm: int = 50,
        at_frames: Mapping[int, Callable[[Daemon], None]] | None = None,
    ) -> None:
        played = clip(spec)

        def source(name: str, entry: Any) -> ReplaySource:
            return ReplaySource(name, played, rate, in_place=True)

        self.daemon = Daemon(
            config, Limits(seconds=seconds + PATIENCE_S if frames is None else None),
            makers=replace(REGISTERED, source=source),
        )  # fmt: skip
        self._seconds, self._frames, self._warm = seconds, frames, warm
        self._at = at_frames or {}
        self._first_ns = self._last_ns = 0
        self._cpu: list[float] = []
        # all of it at once, and written to: figures that grew with the frames would pass for memory that edged loses
        self._ages = np.full(min(frames or MOST_AGES, MOST_AGES), -1, np.int64)
        self.count = 0
        self._over = False
        self._lock = threading.Lock()
        for pipeline in self.daemon.pipelines.values():
            pipeline.on_result = self._on_result

    def _on_result(self, job: Job, result: Result) -> None:
        with self._lock:
            self._note(job)

    def _note(self, job: Job) -> None:
        self.count += 1
        hook = self._at.get(self.count)
        if hook is not None:
            hook(self.daemon)
        now = time.monotonic_ns()
        if self.count <= self._warm or self._over:
            if self.count == self._warm:
                self._first_ns = now
                self._cpu.append(time.process_time())
            return
        self._last_ns = now
        at = self.count - self._warm - 1
        if at < len(self._ages):
            self._ages[at] = now - job.frame.captured_mono_ns
        full = (
            self.count - self._warm >= self._frames
            if self._frames
            else now - self._first_ns >= self._seconds * 1e9
        )
        if full:
            self._over = True
            self._cpu.append(time.process_time())
            self.measured = self.count - self._warm
            self.daemon.stop("measured")

    def go(self) -> dict[str, Any]:
        """Run to the end. Raises what ended it early."""
        code = self.daemon.run(signals=threading.current_thread() is threading.main_thread())
        if code is not ExitCode.OK and self.daemon.errors:
            raise self.daemon.errors[0]
        if not self._over:
            raise EdgedError(f"it gave {self.count} frames: {self.daemon.core.why}")
        snapshot = self.daemon.snapshot()
        pipelines = list(snapshot.pipelines.values())
        ages = np.sort(self._ages[: self.measured])
        first = pipelines[0].stages
        return {
            "fps": round(self.measured / ((self._last_ns - self._first_ns) / 1e9), 1),
            "frames": self.measured,
            "age_p50_ms": round(float(ages[len(ages) // 2]) / 1e6, 3),
            "age_p99_ms": round(float(ages[int(len(ages) * 0.99)]) / 1e6, 3),
            "process_cpu_us": round((self._cpu[1] - self._cpu[0]) / self.measured * 1e6, 1),
            "runner_cpu_us": {
                "mean": round(first["host"].mean_ms * 1e3, 1),
                "p50": round(first["host"].p50_ms * 1e3, 1),
                "p99": round(first["host"].p99_ms * 1e3, 1),
            },
            "parse_and_publish_us": round(first["parse"].mean_ms * 1e3, 1),
            "preprocess_ms": first["preprocess"].p50_ms,
            "engine_ms": first["engine"].p50_ms,
            "dropped": sum(p.dropped for p in pipelines),
            "copied": {k: sum(p.copied[k] for p in pipelines) for k in pipelines[0].copied},
            "facts": dict(next(iter(snapshot.models.values())).facts),
        }


class Alone:
    """The engine, its input in place, launched as in the pipeline (a graph where it can be) with two in flight."""

    def __init__(self, config: Config) -> None:
        self._stack = ExitStack()
        (entry,) = config.models.values()
        choice = choose_device(config)
        (self._device,) = open_devices(choice, Budget()).values()
        self._stack.callback(self._device.close)
        self._stack.enter_context(self._device.current())
        self._stream = self._device.stream(name="alone")
        self._stack.callback(self._stream.close)
        self._load(entry)

    def _load(self, entry: ModelConfig) -> None:
        device, stream = self._device, self._stream
        engine = make_engine(load_model(Path(entry.path)), entry, device, stream)
        self._stack.callback(engine.close)
        tensors = (*engine.inputs, *engine.outputs)
        wants = [Want.tensor(t, memory=device.tensor_memory) for t in tensors]
        region = device.region("alone", [*wants, *engine.wants()])
        self._stack.callback(region.close)
        execution = engine.bind({t.name: region.tensor(t) for t in tensors}, region)
        self._stack.callback(execution.close)
        self._stack.callback(stream.end)
        engine.warm_up(execution, stream)
        self.launch: Callable[[], None] = lambda: execution.enqueue(stream)
        self.mode = "eager"
        if device.graphs and not engine.eager:
            graph = stream.capture(lambda: execution.enqueue(stream))
            self._stack.callback(graph.close)
            self._stack.callback(stream.synchronize)
            self.launch, self.mode = graph.launch, "graph"

    def run(self, seconds: float) -> float:
        """Inferences a second."""
        flying: deque[Event] = deque()
        done, begin = 0, time.monotonic()
        end = begin + seconds
        while time.monotonic() < end:
            self.launch()
            flying.append(self._stream.record())
            if len(flying) == 2:
                flying.popleft().wait()
                done += 1
        while flying:
            flying.popleft().wait()
            done += 1
        return done / (time.monotonic() - begin)

    def close(self) -> None:
        self._stack.close()


class UsualLoop:
    """What most people write: OpenCV to the network's size, a numpy array into ONNX Runtime, and its answer out."""

    def __init__(self, model: Path, device: str, conv_search: str) -> None:
        import onnxruntime as ort

        self._input = load_model(model).input
        # the same arithmetic and choice of algorithms as edged's engine: by itself ONNX Runtime rounds to TF32
        options = {"cudnn_conv_algo_search": conv_search.upper(), "use_tf32": "0"}
        cuda = ("CUDAExecutionProvider", options)
        providers = ["CPUExecutionProvider"] if device == "cpu" else [cuda, "CPUExecutionProvider"]
        self._session: Any = ort.InferenceSession(str(model / "model.onnx"), providers=providers)
        spec = FULL_HD
        buffers = clip().frames
        self._frames = [np.concatenate([p.reshape(-1, spec.width) for p in planes]) for planes in buffers]

    def run(self, seconds: float) -> float:
        """Frames a second."""
        import cv2

        size, i = self._input.size, 0
        begin = time.monotonic()
        end = begin + seconds
        while time.monotonic() < end:
            bgr = cv2.cvtColor(self._frames[i % len(self._frames)], cv2.COLOR_YUV2BGR_NV12)
            small = cv2.resize(bgr, size)
            x = np.ascontiguousarray(small.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
            self._session.run(None, {self._input.tensor: x})
            i += 1
        return i / (time.monotonic() - begin)


def free_memory() -> int:
    """Of the current GPU; 0 where the process is on the CPU."""
    from edged.devices.cuda.memory import free_device_memory

    return free_device_memory()


def pipeline_of(daemon: Daemon) -> Pipeline:
    return next(iter(daemon.pipelines.values()))


def on_gpu(daemon: Daemon) -> bool:
    return next(iter(daemon.devices.values())).tensor_memory is Memory.DEVICE
