"""An engine without a model: outputs are computed by a function. Keeps the contract strictly, for tests.

On a GPU the function runs on the host all the same, between a copy of the inputs and one of the outputs; all
of it is work of the stream and can be captured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edged.engines.binding import call_on, check_views
from edged.errors import EdgedError, EngineError
from edged.frames import Memory
from edged.interfaces import Device, Execution, Stream
from edged.memory import Region, Want
from edged.tensors import TensorSpec, TensorView

Arrays = Mapping[str, npt.NDArray[Any]]
Compute = Callable[[Arrays], Arrays]


def zeros(inputs: Arrays) -> Arrays:
    """The default script: all outputs zero."""
    return {}


class FakeEngine:
    """`compute(inputs)` gives the outputs by name; those left out are zero. It runs on the stream.

    What `compute` raises reaches whoever waits for the stream: an EdgedError as it is, anything else as an
    EngineError, as with a real engine. `eager`: why it refuses to be captured.
    """

    facts: Mapping[str, str] = {"engine": "fake"}

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        compute: Compute = zeros,
        file_hash: str = "0" * 64,
        device: Device | None = None,
        eager: str = "",
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.file_hash = file_hash
        self.compute = compute
        self.eager = eager
        self.closed = False
        self.runs = 0
        self._memory = Memory.HOST if device is None else device.tensor_memory

    @property
    def _mirrors(self) -> bool:
        return self._memory is Memory.DEVICE

    def wants(self) -> Sequence[Want]:
        """Where the host sees what the GPU has: one set for all executions, which never run at once."""
        if not self._mirrors:
            return ()
        return [Want.tensor(t, f"fake.{t.name}", Memory.MAPPED) for t in (*self.inputs, *self.outputs)]

    def bind(self, views: Mapping[str, TensorView], region: Region) -> FakeExecution:
        if self.closed:
            raise EngineError("engine 'fake' is closed", hint="bind before close")
        tensors = (*self.inputs, *self.outputs)
        check_views("engine 'fake'", tensors, views, self._memory)
        mirrors = {t.name: region.tensor(t, f"fake.{t.name}") for t in tensors} if self._mirrors else {}
        return FakeExecution(self, dict(views), mirrors)

    def warm_up(self, execution: Execution, stream: Stream) -> None:
        execution.enqueue(stream)
        stream.synchronize()

    def close(self) -> None:
        self.closed = True


class FakeExecution:
    """Made by FakeEngine.bind. `mirrors`: what the host sees of the views, where it cannot see them themselves."""

    def __init__(
        self, engine: FakeEngine, views: Mapping[str, TensorView], mirrors: Mapping[str, TensorView]
    ) -> None:
        self._engine: FakeEngine | None = engine
        self._views, self._mirrors = views, mirrors
        self._arrays = {name: view.host() for name, view in (mirrors or views).items()}

    def enqueue(self, stream: Stream) -> None:
        engine = self._engine
        if engine is None or engine.closed:
            raise EngineError("engine 'fake': enqueue after close", hint="bind a new execution")
        for t in engine.inputs if self._mirrors else ():
            stream.copy(self._mirrors[t.name], self._views[t.name])
        call_on(stream, lambda: self._run(engine))
        for t in engine.outputs if self._mirrors else ():
            stream.copy(self._views[t.name], self._mirrors[t.name])

    def _run(self, engine: FakeEngine) -> None:
        try:
            found = engine.compute({t.name: self._arrays[t.name] for t in engine.inputs})
            for t in engine.outputs:
                np.copyto(self._arrays[t.name], found.get(t.name, np.zeros(1, t.dtype)), casting="same_kind")
        except EdgedError:
            raise
        except Exception as e:
            raise EngineError(f"engine 'fake': {e}", hint="see the script of this fake") from e
        engine.runs += 1

    def close(self) -> None:
        self._engine = None
