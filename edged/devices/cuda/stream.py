"""A CUDA stream as edged uses it: priorities, events from a ring, calls of the host, capture.

Nothing is allocated on the way of a frame: events are reused in turn, and Python's calls are numbers in a table.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from ctypes import byref, c_float, c_int, c_void_p
from typing import Any, cast

from edged.devices.cuda.driver import HOST_FUNCTION, driver
from edged.devices.cuda.graph import CudaGraph
from edged.devices.cuda.status import NOT_READY, CudaError, FatalCudaError
from edged.errors import DeviceError
from edged.interfaces import Event
from edged.tensors import TensorView

RING = 64  # events; a runner holds three a job at work
POLL_S = 0.0001  # between two looks at an event that is waited for with a limit
NON_BLOCKING, BLOCKING_SYNC, EXTERNAL, THREAD_LOCAL = 1, 1, 1, 1


class CudaEvent:
    """A point in a stream; see interfaces.Event. Whoever waits sleeps in the driver, without the GIL."""

    __slots__ = ("_driver", "_query", "_synchronize", "error", "handle")

    def __init__(self) -> None:
        self._driver = driver()
        self.handle: int | None = None
        self.error: BaseException | None = None
        handle = c_void_p()
        self._driver.cuEventCreate(byref(handle), BLOCKING_SYNC)
        self.handle = handle.value
        self._synchronize = self._driver.cuEventSynchronize
        self._query = self._driver.quick("cuEventQuery")

    def wait(self, timeout_s: float | None = None) -> bool:
        """True once all work before it is done; False on timeout. Raises what that work raised, once."""
        if timeout_s is None:
            self._synchronize(self.handle)
        elif not self._wait(timeout_s):
            return False
        error = self.error
        if error is not None:
            self.error = None
            raise error
        return True

    def _wait(self, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while True:
            status = self._query(self.handle)
            if not status:
                return True
            if status != NOT_READY:
                self._driver.fail("cuEventQuery", status)
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, POLL_S))

    def close(self) -> None:
        handle, self.handle = self.handle, None
        if handle is not None:
            self._driver.cuEventDestroy(handle)


class CudaStream:
    """Work in order on a GPU. Used by one thread, its owner's, in the device's context.

    After a call of the host has raised, those behind it are skipped up to the next event, which raises the error in
    whoever waits; work of the GPU itself is never skipped. What the GPU reports is raised by any later call.
    """

    def __init__(self, name: str, priority: int = 0) -> None:
        self.name = name
        self._driver = driver()
        low, high = c_int(), c_int()
        self._driver.cuCtxGetStreamPriorityRange(byref(low), byref(high))
        handle = c_void_p()
        # in CUDA the lowest number is served first; ours counts upwards, as in [models.X] priority
        self.priority = max(high.value, min(low.value, -priority))
        self._driver.cuStreamCreateWithPriority(byref(handle), NON_BLOCKING, self.priority)
        self.handle = handle.value or 0
        self.closed = self._ending = False
        self._ring: list[CudaEvent] = []
        self._next = 0
        self._record = self._driver.quick("cuEventRecord")
        self._copy = self._driver.quick("cuMemcpyAsync")
        self._elapsed, self._ms = self._driver.quick("cuEventElapsedTime"), c_float()
        # calls of the host by number; the C function must live as long as the stream
        self._calls: dict[int, tuple[Callable[..., object], tuple[Any, ...], bool]] = {}
        self._numbers = itertools.count(1)
        self._call = HOST_FUNCTION(self._run)
        self._error: BaseException | None = None
        self._called = False  # since the last event
        self._captured: tuple[list[int], list[CudaEvent]] | None = None  # while capturing
        self._times_inside: bool | None = (
            None  # whether events inside graphs tell times here; None: not tried yet
        )
        try:
            self._ring = [CudaEvent() for _ in range(RING)]
        except BaseException:
            self.close()
            raise

    def record(self) -> CudaEvent:
        """An event behind all work so far. It is recorded anew after RING others: wait for it before."""
        self._check()
        if self._captured is not None:
            return self._record_inside(self._captured[1])
        event = self._ring[self._next]
        self._next = (self._next + 1) % RING
        event.error = None
        if self._called:
            self._called = False
            self._enqueue(self._pass_error, (event,))
        status = self._record(event.handle, self.handle)
        if status:
            self._driver.fail("cuEventRecord", status)
        return event

    def _record_inside(self, events: list[CudaEvent]) -> CudaEvent:
        """One that belongs to the graph that is being captured, and is recorded by each launch of it."""
        event = CudaEvent()
        events.append(event)
        if self._times_inside is not False:
            self._driver.cuEventRecordWithFlags(event.handle, self.handle, EXTERNAL)
        return event

    def _try_times(self) -> bool:
        """Whether this driver times events inside a graph against others: some refuse."""
        self._times_inside = True  # for the graph below
        try:
            graph = self.capture(lambda: cast(None, self.record()))
            try:
                start = self.record()
                graph.launch()
                self.synchronize()
                assert graph.ready is not None
                return graph.ready.wait() and self.elapsed_ms(start, graph.ready) >= 0
            finally:
                graph.close()
        except FatalCudaError:
            raise
        except CudaError:
            return False

    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Time on the GPU between two events of this stream that have both been waited for."""
        ms = self._ms
        status = self._elapsed(byref(ms), cast(CudaEvent, start).handle, cast(CudaEvent, end).handle)
        if status:
            self._driver.fail("cuEventElapsedTime", status)
        return ms.value

    def copy(self, target: TensorView, source: TensorView) -> None:
        """Queue a copy by the GPU; both are device or mapped memory."""
        self._check()
        if target.spec.nbytes != source.spec.nbytes:
            raise ValueError(f"{source.spec} cannot be copied to {target.spec}")
        status = self._copy(target.address, source.address, source.spec.nbytes, self.handle)
        if status:
            self._driver.fail("cuMemcpyAsync", status)

    def call(self, fn: Callable[..., object], *args: Any) -> None:
        """Queue `fn(*args)` on the host, in the stream's order; it may not call CUDA. Costs tens of microseconds."""
        self._check()
        self._called = True
        self._enqueue(fn, args)

    def _enqueue(self, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        number = next(self._numbers)
        self._calls[number] = (fn, args, self._captured is None)
        if self._captured is not None:
            self._captured[0].append(number)
        self._driver.cuLaunchHostFunc(self.handle, self._call, number)

    def _run(self, number: int | None) -> None:
        """On a thread of the driver's."""
        assert number is not None
        fn, args, once = self._calls[number]
        if once:
            del self._calls[number]
        if fn == self._pass_error:
            fn(*args)
        elif self._error is None:
            try:
                if self._ending:
                    raise DeviceError(
                        f"stream {self.name} was closed before its work ran",
                        hint="none is needed: it is stopping, and the frame is lost",
                    )
                fn(*args)
            except BaseException as e:  # kept for the owner, whose event raises it
                self._error = e

    def _pass_error(self, event: CudaEvent) -> None:
        event.error, self._error = self._error, None

    def capture(self, work: Callable[[], None]) -> CudaGraph:
        """Record what `work` queues, in this thread alone. Raises what kept it from that; then nothing was queued."""
        self._check()
        if self._times_inside is None:
            self._times_inside = self._try_times()
        calls: list[int] = []
        events: list[CudaEvent] = []
        template = c_void_p()
        called = self._called
        self._driver.cuStreamBeginCapture(self.handle, THREAD_LOCAL)
        self._captured = (calls, events)
        try:
            try:
                work()
            finally:
                self._captured, self._called = None, called
                status = self._driver.unchecked("cuStreamEndCapture")(self.handle, byref(template))
            if status:
                self._driver.fail("cuStreamEndCapture", status)
            return CudaGraph(self, template, calls, events, timed=bool(self._times_inside))
        except BaseException:
            self.forget_calls(calls)
            for event in events:
                event.close()
            raise
        finally:
            if template:
                self._driver.cuGraphDestroy(template)

    def before_launch(self, calls: bool) -> None:
        """Of a graph; `calls`: whether it calls the host."""
        self._check()
        self._called = self._called or calls

    def forget_calls(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._calls.pop(number, None)

    def synchronize(self) -> None:
        """Wait for all work so far; raises what it raised and no event has taken."""
        self.record().wait()

    def end(self) -> None:
        """Skip calls of the host that have not begun, and wait for all work. Idempotent."""
        if not self._ending:
            self._ending = True
            self._driver.cuStreamSynchronize(self.handle)

    def close(self) -> None:
        """End, and destroy the stream and its events. Idempotent."""
        if self.closed:
            return
        self.end()
        self.closed = True
        for event in self._ring:
            event.close()
        self._driver.cuStreamDestroy(self.handle)

    def _check(self) -> None:
        if self._ending:
            raise DeviceError(
                f"stream {self.name} is closed", hint="a defect in edged: work was queued too late"
            )
