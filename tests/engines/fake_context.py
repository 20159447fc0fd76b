"""Execution contexts of the fake TensorRT: the order of calls, and the work that is queued."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Mapping, Sequence
from ctypes import byref, c_int
from typing import Any

import numpy as np
import numpy.typing as npt

from edged.devices.cuda.driver import HOST_FUNCTION, driver
from tests.engines.fake_rules import RULES, RuleBroken, known

_NUMPY = {"FLOAT": "f4", "HALF": "f2", "UINT8": "u1", "INT64": "i8"}
Shape = tuple[int, ...]


class IProfiler:
    def __init__(self) -> None:
        self.made = True

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise NotImplementedError


class _Work:
    """Inferences that are on a stream now, by their activation memory: those that share it must take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.queued: list[tuple[int, int, int]] = []  # (context, activations, stream)
        self._running: list[int] = []

    def queue(self, context: int, memory: int, stream: int) -> None:
        with self._lock:
            for other, shared, where in self.queued:
                if where != stream and (other == context or (memory and shared == memory)):
                    what = "one context" if other == context else "contexts with the same memory"
                    raise RuleBroken(f"{what} on two streams at once")
            self.queued.append((context, memory, stream))

    def done(self, entry: tuple[int, int, int]) -> None:
        with self._lock:
            if entry in self.queued:
                self.queued.remove(entry)

    def begin(self, memory: int) -> None:
        with self._lock:
            if memory and memory in self._running:
                RULES.broken.append("activation memory of two inferences at once")
            self._running.append(memory)

    def end(self, memory: int) -> None:
        with self._lock:
            self._running.remove(memory)


_WORK = _Work()


def _compute(session: Any, views: Mapping[str, npt.NDArray[Any]]) -> None:
    outputs = [o.name for o in session.get_outputs()]
    found = session.run(outputs, {i.name: views[i.name] for i in session.get_inputs()})
    for name, value in zip(outputs, found, strict=True):
        np.copyto(views[name], value)


class IExecutionContext:
    def __init__(self, engine: Any) -> None:
        self.engine = engine
        engine.contexts += 1
        self.profiler: Any = None
        self._profile, self._profile_stream = 0, 0
        self._shapes: dict[str, Shape] = {}
        self._outputs: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self._memory = 0
        self._aux: list[int] = []
        self._ran = False  # eagerly, with these shapes
        self._calls: list[Any] = []  # C functions: graphs call them again

    def __del__(self) -> None:
        self.engine.contexts -= 1

    @property
    def _inputs(self) -> list[str]:
        return [i.name for i in self.engine.session.get_inputs()]

    def _refuse(self, said: str) -> bool:
        error = self.engine.runtime.logger.log
        error(1, f"IExecutionContext: Error Code 3: API Usage Error ({said})")
        return False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if profile_index >= self.engine.num_optimization_profiles:
            return self._refuse(f"profile {profile_index} is not there")
        if not stream_handle:
            raise RuleBroken("a change of profile on the default stream")
        self._profile, self._profile_stream = profile_index, stream_handle
        self._shapes.clear()
        self._outputs.clear()
        self._ran = False
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if not isinstance(shape, tuple | list):
            raise TypeError(f"incompatible function arguments: shape {shape!r}")
        if self._profile_stream and driver().unchecked("cuStreamQuery")(self._profile_stream):
            raise RuleBroken("shapes before the change of profile is over")
        declared = self.engine.get_tensor_shape(name)
        if len(declared) != len(shape) or any(d not in (-1, s) for d, s in zip(declared, shape, strict=True)):
            return self._refuse(f"'{name}' cannot be {shape}")
        if -1 in declared:
            low, _, high = self.engine.get_tensor_profile_shape(name, self._profile)
            if not all(a <= s <= b for a, s, b in zip(low, shape, high, strict=True)):
                return self._refuse(
                    f"Static dimension mismatch: '{name}' {shape} is outside of profile {self._profile}"
                )
        if self._shapes.get(name) != tuple(shape):
            self._shapes[name], self._ran = tuple(shape), False
            self._outputs.clear()
        return True

    def infer_shapes(self) -> list[str]:
        missing = [n for n in self._inputs if n not in self._shapes and -1 in self.engine.get_tensor_shape(n)]
        if not missing:
            self._outputs = self._infer()
        return missing

    def _infer(self) -> dict[str, Shape]:
        """Of outputs; -1 where the shape follows the values, as TensorRT says it."""
        found = []
        for fill in (0, 1):
            feeds = {n: np.full(self.get_tensor_shape(n), fill, self._dtype(n)) for n in self._inputs}
            found.append([np.shape(o) for o in self.engine.session.run(None, feeds)])
        names = [o.name for o in self.engine.session.get_outputs()]
        both = zip(names, *found, strict=True)
        return {n: tuple(x if x == y else -1 for x, y in zip(a, b, strict=True)) for n, a, b in both}

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        if name in self._inputs:
            return self._shapes.get(name) or tuple(self.engine.get_tensor_shape(name))
        return self._outputs.get(name) or tuple(self.engine.get_tensor_shape(name))

    def set_device_memory(self, memory: int, size: int) -> None:
        if size < self.engine.device_memory_size_v2:
            raise RuleBroken(
                f"{size} bytes of activation memory, {self.engine.device_memory_size_v2} are needed"
            )
        if memory % 256 or not known(memory, size):
            raise RuleBroken("activation memory that is no aligned memory of the GPU")
        self._memory = memory

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self.engine.declared:
            return self._refuse(f"there is no tensor '{name}'")
        shape = self.get_tensor_shape(name)
        if -1 in shape:
            raise RuleBroken(f"the address of '{name}' before its shape")
        if memory % 256 or not known(memory, math.prod(shape) * self._dtype(name).itemsize):
            raise RuleBroken(f"'{name}' is bound to what is no aligned memory of the GPU")
        self._addresses[name] = memory
        return True

    def set_aux_streams(self, aux_streams: list[int]) -> None:
        if 0 in aux_streams or len(set(aux_streams)) != len(aux_streams):
            raise RuleBroken("auxiliary streams must differ, and none may be the default stream")
        self._aux = list(aux_streams)

    def _dtype(self, name: str) -> np.dtype[Any]:
        return np.dtype(_NUMPY[self.engine.get_tensor_dtype(name).name])

    def execute_async_v3(self, stream_handle: int) -> bool:
        if not stream_handle:
            raise RuleBroken("work on the default stream")
        if stream_handle in self._aux:
            raise RuleBroken("the main stream is one of the auxiliary ones")
        missing = [n for n in self.engine.declared if n not in self._addresses]
        if missing or any(-1 in self.get_tensor_shape(n) for n in self.engine.declared):
            return self._refuse(f"no address or shape is set for {', '.join(missing) or 'a tensor'}")
        if self.engine.device_memory_size_v2 and not self._memory:
            raise RuleBroken("no activation memory was set")
        if RULES.refuses:
            RULES.refuses = False
            return self._refuse("it was told to")
        RULES.own_streams += max(0, self.engine.num_aux_streams - len(self._aux))
        capturing = c_int()
        driver().cuStreamIsCapturing(stream_handle, byref(capturing))
        if capturing.value and not self._ran:
            raise RuleBroken("captured before an eager run with these shapes")
        if RULES.asks:
            size, RULES.asks = RULES.asks, 0
            if capturing.value:
                raise RuleBroken("an allocation while capturing")
            if not self._ask(size):
                return self._refuse("OutOfMemory: a scratch buffer could not be allocated")
        self._queue(stream_handle, eager=not capturing.value)
        return True

    def _ask(self, size: int) -> bool:
        allocator = self.engine.runtime.gpu_allocator
        address = allocator.allocate_async(size, 256, 0, 0)
        return bool(address and allocator.deallocate_async(address, 0))

    def _queue(self, stream: int, *, eager: bool) -> None:
        entry = (id(self), self._memory, stream)
        views = {n: self._array(n, at) for n, at in self._addresses.items()}
        if eager:
            _WORK.queue(*entry)
            RULES.eager_runs += 1
            self._ran = True
        memory, session = self._memory, self.engine.session  # not self: nothing may keep a context alive

        def run(_: int | None) -> None:
            _WORK.begin(memory)
            try:
                _compute(session, views)
            except Exception as e:  # it is called by C
                RULES.broken.append(f"the computation failed: {e}")
            finally:
                _WORK.end(memory)
                _WORK.done(entry)

        self._calls.append(HOST_FUNCTION(run))
        driver().cuLaunchHostFunc(stream, self._calls[-1], None)
        if self.profiler is not None:  # enqueue_emits_profile: it waits, and reports
            driver().cuStreamSynchronize(stream)
            self.profiler.report_layer_time("all", 0.25)

    def _array(self, name: str, address: int) -> npt.NDArray[Any]:
        dtype, shape = self._dtype(name), self.get_tensor_shape(name)
        nbytes = math.prod(shape) * dtype.itemsize
        return np.frombuffer((ctypes.c_ubyte * nbytes).from_address(address), dtype).reshape(shape)
