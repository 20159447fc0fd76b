"""A CPU stream: one worker thread that runs queued calls in order, as a CUDA stream would.

So a runner parses frame k on its own thread while the engine runs frame k + 1, on every device.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from edged.errors import DeviceError
from edged.interfaces import Event, Graph
from edged.tensors import TensorView

# far above what a runner queues (a few calls a frame, two frames); reaching it means that nobody waits
MAX_QUEUED = 64

_log = logging.getLogger(__name__)


class CpuEvent:
    """A point in a CpuStream. Made by `CpuStream.record`; waited on by the stream's owner."""

    __slots__ = ("_error", "_gate", "at_ns", "done")

    def __init__(self) -> None:
        self.done = False
        self.at_ns = 0  # CLOCK_MONOTONIC, once done
        self._error: BaseException | None = None
        self._gate = threading.Lock()  # a bare lock wakes its waiter faster than threading.Event
        self._gate.acquire()

    def wait(self, timeout_s: float | None = None) -> bool:
        """True once all work before it is done; False on timeout. Raises what that work raised, once."""
        if not self.done:
            if not self._gate.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s)):
                return False
            self._gate.release()
        error, self._error = self._error, None
        if error is not None:
            raise error
        return True

    def finish(self, error: BaseException | None) -> None:
        """Called once, by the stream's thread."""
        self.at_ns = time.monotonic_ns()
        self._error = error
        self.done = True
        self._gate.release()


class CpuStream:
    """Runs calls in order on a thread of its own. Used by one thread, its owner's, which closes it.

    After a call has raised, the calls behind it are skipped up to the next event; that event raises the
    error in whoever waits, and the work behind the event runs again.
    """

    handle = 0

    def __init__(self, name: str) -> None:
        self.name = name
        self._queue: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | CpuEvent | None]
        self._queue = queue.SimpleQueue()
        self.closed = False
        # a daemon: an owner that forgot to close it must not keep the process from ending
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, fn: Callable[..., object], *args: Any) -> None:
        """Queue `fn(*args)`; returns at once. DeviceError when closed or when MAX_QUEUED are waiting."""
        self._put((fn, args))

    def record(self) -> CpuEvent:
        """An event behind all work queued so far."""
        event = CpuEvent()
        self._put(event)
        return event

    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Time between two events of this stream that have both been waited for."""
        return (cast(CpuEvent, end).at_ns - cast(CpuEvent, start).at_ns) / 1e6

    def copy(self, target: TensorView, source: TensorView) -> None:
        """Queue a copy between two tensors of one size."""
        self.call(np.copyto, target.host(), source.host())

    def capture(self, work: Callable[[], None]) -> Graph:
        """DeviceError: a thread runs calls, and a list of them would save nothing."""
        raise DeviceError(
            f"stream {self.name}: a CPU has no graphs", hint="none is needed: work runs eagerly"
        )

    def synchronize(self) -> None:
        """Wait for all work queued so far; raises what it raised and no event has taken."""
        self.record().wait()

    def close(self) -> None:
        """See `end`."""
        self.end()

    def end(self) -> None:
        """Skip the work that has not begun, and join the thread. Idempotent.

        Events behind skipped work are finished with a DeviceError.
        """
        if not self.closed:
            self.closed = True
            self._queue.put(None)
        self._thread.join()

    def _put(self, item: tuple[Callable[..., object], tuple[Any, ...]] | CpuEvent) -> None:
        if self.closed:
            raise DeviceError(
                f"stream {self.name} is closed", hint="a defect in edged: work was queued too late"
            )
        if self._queue.qsize() >= MAX_QUEUED:
            raise DeviceError(
                f"stream {self.name}: {MAX_QUEUED} pieces of work are waiting",
                hint="a defect in edged: the stream's owner queues work without waiting for its events",
            )
        self._queue.put(item)

    def _run(self) -> None:
        error: BaseException | None = None
        skipped = DeviceError(
            f"stream {self.name} was closed before its work ran",
            hint="none is needed: it is stopping, and the frame is lost",
        )
        while (item := self._queue.get()) is not None:
            if isinstance(item, CpuEvent):
                item.finish(error)
                error = None
            elif error is None:
                if self.closed:
                    error = skipped
                else:
                    try:
                        item[0](*item[1])
                    except BaseException as e:  # kept for the owner, whose event raises it
                        error = e
            item = None  # an idle stream holds no frame
        if error is not None and error is not skipped:
            _log.error("stream %s: closed with an error that no event took", self.name, exc_info=error)
