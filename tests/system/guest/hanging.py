"""An engine that hangs when it is told to, as another package would add it. Test only: it is in no installation.

/var/lib/edged/hang says how: "engine" (its runner waits for it), "interpreter" (every thread of the process waits).
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from pathlib import Path

from edged.engines.binding import call_on
from edged.engines.onnxruntime import OnnxRuntimeEngine
from edged.interfaces import Execution, Stream
from edged.memory import Region
from edged.tensors import TensorView

TOLD = Path("/var/lib/edged/hang")


def hang() -> None:
    how = TOLD.read_text() if TOLD.exists() else ""
    if how == "interpreter":
        ctypes.PyDLL(None).sleep(1000)  # a call that does not let go of the GIL
    while how and TOLD.exists():
        time.sleep(0.05)


class HangingExecution:
    def __init__(self, inner: Execution) -> None:
        self._inner = inner

    def enqueue(self, stream: Stream) -> None:
        call_on(stream, hang)
        self._inner.enqueue(stream)

    def close(self) -> None:
        self._inner.close()


class HangingEngine(OnnxRuntimeEngine):
    def bind(self, views: Mapping[str, TensorView], region: Region) -> Execution:  # type: ignore[override]
        return HangingExecution(super().bind(views, region))
