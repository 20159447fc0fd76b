"""The engine alone: the same file and session options in a bare loop, its input in place. The limit.

Nothing else runs: no source, no preprocessing, no parser, no publisher, no second thread a runner.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edged.bench.prepare import model_entry, view_of
from edged.bench.recorder import LEAST_FRAMES, quantiles
from edged.bench.replay import Clip, one_frame
from edged.bench.results import EngineRun
from edged.bench.usage import clock, others
from edged.config.schema import Config
from edged.devices.choose import choose_device, open_devices
from edged.engines.choose import make_engine
from edged.errors import DeviceError, EdgedError
from edged.interfaces import Device, Event, Execution, Graph, Stream
from edged.memory import Budget, Slots, Want
from edged.models.model import Model
from edged.models.state import plan_store
from edged.tensors import TensorView

WARM_UP_S = 0.2
MAX_RUNS = 1 << 17
_T = TypeVar("_T")


class _Now:
    """An event of an inline stream: done when it is made."""

    def __init__(self) -> None:
        self.at_ns = time.monotonic_ns()

    def wait(self, timeout_s: float | None = None) -> bool:
        return True


class InlineStream:
    """Runs each call at once in the caller's thread, so that a loop pays for no hand-over."""

    handle = 0

    def call(self, fn: Callable[..., object], *args: Any) -> None:
        fn(*args)

    def record(self) -> Event:
        return _Now()

    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Of events of this stream."""
        assert isinstance(start, _Now)
        assert isinstance(end, _Now)
        return (end.at_ns - start.at_ns) / 1e6

    def synchronize(self) -> None:
        """Nothing is ever waiting."""

    def copy(self, target: TensorView, source: TensorView) -> None:
        np.copyto(target.host(), source.host())

    def capture(self, work: Callable[[], None]) -> Graph:
        raise DeviceError("a CPU has no graphs")

    def end(self) -> None:
        """Nothing is ever waiting."""

    def close(self) -> None:
        """It has nothing."""


class Alone:
    """As many engines as the configuration has instances, loaded once. A context manager; used by one thread."""

    def __init__(self, config: Config, model: Model, clip: Clip) -> None:
        self._model, self._clip = model, clip
        self._entry = model_entry(config)
        self._view = view_of(config)
        self._plans = plan_store(config.runtime.state_dir)
        (self._device,) = open_devices(choose_device(config), Budget()).values()
        self._stack = ExitStack()
        self._executions: list[Execution] = []
        self._starts: list[Callable[[], Event]] = []  # one an instance: queue an inference
        self._times = np.ones((self._entry.instances, MAX_RUNS), np.int64)

    def __enter__(self) -> Alone:
        with self._stack:
            self._stack.callback(self._device.close)
            self._stack.enter_context(self._device.current())
            for i in range(self._entry.instances):
                self._starts.append(self._load(f"alone#{i}"))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._starts.clear()
        self._executions.clear()
        self._stack.close()

    def _load(self, name: str) -> Callable[[], Event]:
        """An engine bound to memory that holds a real picture, warmed up; a graph where it can be. For the stack."""
        device = self._device
        stream: Stream = device.stream(name=name) if device.graphs else InlineStream()
        self._stack.callback(stream.close)
        engine = make_engine(self._model, self._entry, device, stream, self._plans)
        self._stack.callback(engine.close)
        tensors = (*engine.inputs, *engine.outputs)
        image = self._model.input
        (target,) = (t for t in engine.inputs if t.name == image.tensor)
        preprocess = device.preprocessor("alone", self._clip.spec, target, image, view=self._view)
        wants = [Want.tensor(t, memory=device.tensor_memory) for t in tensors]
        slot = Slots.wants(1, self._clip.spec.nbytes, device.frame_memory)
        region = device.region(name, [*wants, *engine.wants(), *preprocess.wants(), *slot])
        self._stack.callback(region.close)
        views = {t.name: region.tensor(t) for t in tensors}
        preprocess.bind(region)
        with one_frame(self._clip, Slots.of(region, 1)) as frame:
            preprocess.enqueue(frame, views[image.tensor], 0, stream)
            stream.synchronize()
        execution = engine.bind(views, region)
        self._executions.append(execution)
        self._stack.callback(execution.close)
        self._stack.callback(stream.end)
        engine.warm_up(execution, stream)
        if device.graphs and not engine.eager:
            graph = stream.capture(lambda: execution.enqueue(stream))
            self._stack.callback(graph.close)
            self._stack.callback(stream.synchronize)
            return lambda: _after(graph.launch, stream)
        return lambda: _after(lambda: execution.enqueue(stream), stream)

    def run(self, seconds: float) -> EngineRun:
        return _sum([self._spell(seconds)])

    def run_around(self, seconds: float, other: Callable[[], _T]) -> tuple[EngineRun, _T]:
        """Half of the seconds, then `other`, then the other half; and what `other` gave.

        So both meet the same machine: speeds drift within seconds.
        """
        before = self._spell(seconds / 2)
        found = other()
        return _sum([before, self._spell(seconds / 2)]), found

    def _spell(self, seconds: float) -> _Spell:
        """All instances at once, each in a thread of its own, for `seconds` after a warm-up."""
        starts = zip(self._starts, self._times, strict=True)
        loops = [_Loop(self._device, start, times, seconds) for start, times in starts]
        for loop in loops:
            loop.thread.start()
        for loop in loops:
            loop.warm.wait()
        first = clock()
        for loop in loops:
            loop.thread.join()
        last = clock()
        for loop in loops:
            if loop.error is not None:
                raise loop.error
        return _Spell(
            fps=sum(loop.runs / loop.took_s for loop in loops),
            cpu_s=last.cpu_s - first.cpu_s,
            others=others(first, last),
            times=np.concatenate([loop.times[: loop.runs] for loop in loops]),
        )


@dataclass(frozen=True, slots=True)
class _Spell:
    """One stretch of inferring; `times` are ns, one an inference."""

    fps: float
    cpu_s: float
    others: float
    times: npt.NDArray[np.int64]


def _sum(spells: list[_Spell]) -> EngineRun:
    """Of spells that were equally long."""
    runs = sum(len(s.times) for s in spells)
    return EngineRun(
        fps=round(sum(s.fps for s in spells) / len(spells), 2),
        cpu_ms=round(sum(s.cpu_s for s in spells) / runs * 1e3, 3),
        others=max(s.others for s in spells),
        infer=quantiles(np.concatenate([s.times for s in spells])),
    )


def _after(queue: Callable[[], None], stream: Stream) -> Event:
    queue()
    return stream.record()


class _Loop:
    """One instance: infer, infer, infer. On a GPU the next one is queued before the last is waited for."""

    def __init__(
        self, device: Device, start: Callable[[], Event], times: npt.NDArray[np.int64], seconds: float
    ) -> None:
        self.times = times
        self.warm = threading.Event()
        self.runs = 0
        self.took_s = 0.0
        self.error: EdgedError | None = None
        self._device, self._start, self._seconds = device, start, seconds
        self.thread = threading.Thread(target=self._run, name="engine alone", daemon=True)

    def _run(self) -> None:
        try:
            with self._device.current():
                self._repeat(WARM_UP_S)
                self.warm.set()
                self.runs, self.took_s = self._repeat(self._seconds)
        except EdgedError as e:
            self.error = e
        finally:
            self.warm.set()

    def _repeat(self, seconds: float) -> tuple[int, float]:
        """Inferences done, and seconds that they took."""
        start, times, ahead = self._start, self.times, 1 if self._device.graphs else 0
        flying: deque[Event] = deque(start() for _ in range(ahead))
        begin = before = time.monotonic_ns()
        end, n = begin + round(seconds * 1e9), 0
        while (before < end or n < LEAST_FRAMES) and n < len(times):
            flying.append(start())
            flying.popleft().wait()
            now = time.monotonic_ns()
            times[n], before, n = now - before, now, n + 1
        for event in flying:
            event.wait()
        return n, (before - begin) / 1e9
