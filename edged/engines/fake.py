"""An engine without a model: outputs are computed by a function. Keeps the contract strictly, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edged.engines.binding import call_on, check_views
from edged.errors import EdgedError, EngineError
from edged.interfaces import Execution, Stream
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
    EngineError, as with a real engine.
    """

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        compute: Compute = zeros,
        file_hash: str = "0" * 64,
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.file_hash = file_hash
        self.compute = compute
        self.closed = False
        self.runs = 0

    def wants(self) -> Sequence[Want]:
        return ()

    def bind(self, views: Mapping[str, TensorView], region: Region) -> FakeExecution:
        if self.closed:
            raise EngineError("engine 'fake' is closed", hint="bind before close")
        check_views("engine 'fake'", (*self.inputs, *self.outputs), views)
        return FakeExecution(self, {name: view.host() for name, view in views.items()})

    def warm_up(self, execution: Execution, stream: Stream) -> None:
        execution.enqueue(stream)
        stream.synchronize()

    def close(self) -> None:
        self.closed = True


class FakeExecution:
    """Made by FakeEngine.bind."""

    def __init__(self, engine: FakeEngine, arrays: Arrays) -> None:
        self._engine: FakeEngine | None = engine
        self._arrays = arrays

    def enqueue(self, stream: Stream) -> None:
        engine = self._engine
        if engine is None or engine.closed:
            raise EngineError("engine 'fake': enqueue after close", hint="bind a new execution")
        call_on(stream, lambda: self._run(engine))

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
