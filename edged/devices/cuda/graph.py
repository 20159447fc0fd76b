"""Work of a stream that was captured once and is launched whole."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref, c_size_t, c_void_p
from typing import TYPE_CHECKING

from edged.devices.cuda.driver import driver

if TYPE_CHECKING:
    from edged.devices.cuda.stream import CudaEvent, CudaStream


class CudaGraph:
    """An instantiated graph of one stream. Made by CudaStream.capture; used by that stream's thread.

    `calls`: keys of the host calls in it, which live as long as it does. `events` are recorded inside.
    """

    def __init__(
        self,
        stream: CudaStream,
        template: c_void_p,
        calls: Sequence[int],
        events: Sequence[CudaEvent],
        *,
        timed: bool = True,
    ) -> None:
        self._driver, self._stream = driver(), stream
        self._calls, self._events, self._timed = tuple(calls), tuple(events), timed
        self._launch = self._driver.quick("cuGraphLaunch")
        self._exec: c_void_p | None = c_void_p()
        count = c_size_t()
        self._driver.cuGraphGetNodes(template, None, byref(count))
        self.nodes = count.value
        self._driver.cuGraphInstantiate(byref(self._exec), template, 0)
        # now, and not in the first frame
        self._driver.cuGraphUpload(self._exec, stream.handle)

    @property
    def ready(self) -> CudaEvent | None:
        """The last event that was recorded inside; None where this driver does not time such."""
        return self._events[-1] if self._events and self._timed else None

    def launch(self) -> None:
        if self._exec is None:
            raise RuntimeError("a graph was launched after close")
        self._stream.before_launch(bool(self._calls))
        status = self._launch(self._exec, self._stream.handle)
        if status:
            self._driver.fail("cuGraphLaunch", status)

    def close(self) -> None:
        """The stream must be done with it. Idempotent."""
        handle, self._exec = self._exec, None
        if handle is None:
            return
        self._driver.cuGraphExecDestroy(handle)
        self._stream.forget_calls(self._calls)
        for event in self._events:
            event.close()
