"""The scripted engine: what its script gives and what it raises. The rest is in contract/test_engine.py."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edged.devices.cpu_stream import CpuStream
from edged.engines.fake import Arrays, FakeEngine
from edged.errors import EngineError, ModelError
from edged.memory import Region, Want
from edged.tensors import TensorSpec

X = TensorSpec("x", (1, 2), np.dtype(np.float32))
Y = TensorSpec("y", (1, 3), np.dtype(np.float32))


@pytest.fixture
def stream() -> Iterator[CpuStream]:
    s = CpuStream("test")
    yield s
    s.close()


def _bound(engine: FakeEngine) -> tuple[Region, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    region = Region("test", [Want.tensor(X), Want.tensor(Y)])
    return region, region.tensor(Y).host()


def test_outputs_that_the_script_leaves_out_are_zero(stream: CpuStream) -> None:
    engine = FakeEngine([X], [Y])
    region, y = _bound(engine)
    y[:] = 7
    execution = engine.bind({t.name: region.tensor(t) for t in (X, Y)}, region)
    execution.enqueue(stream)
    stream.synchronize()
    assert not y.any()
    assert engine.runs == 1
    region.close()


@pytest.mark.parametrize(
    ("raised", "seen"),
    [(ModelError("as it is"), ModelError), (ZeroDivisionError("no base"), EngineError)],
    ids=["own", "foreign"],
)
def test_what_the_script_raises_reaches_whoever_waits(
    stream: CpuStream, raised: Exception, seen: type[Exception]
) -> None:
    def script(inputs: Arrays) -> Arrays:
        raise raised

    engine = FakeEngine([X], [Y], script)
    region, _ = _bound(engine)
    execution = engine.bind({t.name: region.tensor(t) for t in (X, Y)}, region)
    execution.enqueue(stream)
    with pytest.raises(seen, match=str(raised)):
        stream.record().wait(10)
    assert engine.runs == 0
    region.close()
