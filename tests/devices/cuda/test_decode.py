"""kernels/decode_yolo.cu and CudaDecode, run by a CPU, against the parsers' own decode."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edged.devices.cuda.decode import FILE, CudaDecode
from edged.errors import ModelError
from edged.frames import Geometry, Memory
from edged.memory import Want
from edged.tensors import TensorSpec
from tests.devices.cuda.emulation import Emulation
from tests.devices.cuda.heads import HEADS, SIZE, assert_same, outputs, parser_of
from tests.devices.cuda.mapped import GpuLike


@pytest.fixture(scope="session", autouse=True)
def _prepared(emulation: Emulation) -> None:
    emulation.prepare(FILE, [{"HEAD": h, "HALF": f} for h, f in itertools.product(range(4), (0, 1))])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("parser", "options", "shape"), HEADS)
def test_survivors_are_the_parsers_candidates(
    device: GpuLike, parser: str, options: Any, shape: tuple[int, int], dtype: Any
) -> None:
    batch = 3
    for threshold in (0.3, 0.0, 0.999):
        p = parser_of(parser, options, threshold)
        spec = TensorSpec("out", (batch, *shape), np.dtype(dtype))
        decode = CudaDecode("model", spec, p.head(), device.functions)
        region = device.region("runner", [*decode.wants(), Want.tensor(spec, memory=Memory.MAPPED)])
        decode.bind(region)
        view, stream = region.tensor(spec), device.stream()
        for seed, ticket in enumerate((0, 1, 0)):
            for i in range(batch):
                view.host()[i] = outputs(parser, options, shape, dtype, seed * batch + i)
            decode.launch(view, stream, ticket)
            stream.synchronize()
            for i in range(batch):
                want = p.decode({"out": view.host()[i]})
                got = p.narrow(decode.collect(i, ticket))
                assert_same(got, want)
                g = Geometry.fit(SIZE, SIZE, "stretch")
                a, b = p.finish(got, g), p.finish(want, g)
                assert a.class_ids.tolist() == b.class_ids.tolist()
                if threshold == 0.3:
                    assert len(want.scores)
                    assert want.rejected
        stream.close()
        region.close()


def test_a_small_buffer_keeps_what_it_holds_and_counts_the_rest(device: GpuLike) -> None:
    p = parser_of("yolov5", {}, 0.2)
    spec = TensorSpec("out", (1, 378, 7), np.dtype(np.float32))
    decode = CudaDecode("model", spec, p.head(), device.functions, tickets=1, capacity=5)
    region = device.region("runner", [*decode.wants(), Want.tensor(spec, memory=Memory.MAPPED)])
    decode.bind(region)
    view, stream = region.tensor(spec), device.stream()
    view.host()[:] = 0.5
    decode.launch(view, stream)
    stream.synchronize()
    c = decode.collect(0)
    assert (len(c.scores), c.rejected) == (5, 373)
    stream.close()
    region.close()


def test_outputs_that_no_kernel_reads_are_refused(device: GpuLike) -> None:
    head = parser_of("yolov5", {}, 0.2).head()
    with pytest.raises(ModelError, match="float16"):
        CudaDecode("m", TensorSpec("out", (1, 378, 7), np.dtype(np.float64)), head, device.functions)
    with pytest.raises(ModelError, match="float16"):
        CudaDecode("m", TensorSpec("out", (1, 3, 378, 7), np.dtype(np.float32)), head, device.functions)
