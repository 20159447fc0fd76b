"""Sources deliver into mapped slots of a real GPU, and the GPU reads what they wrote."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edged.devices.cuda.device import CudaDevice
from edged.frames import Memory
from edged.memory import Slots, Want
from edged.sources.pattern import PatternOptions, PatternSource
from edged.tensors import TensorSpec, TensorView
from tests.devices.available import REAL_GPU, opened

if not REAL_GPU:
    pytest.skip("no NVIDIA driver", allow_module_level=True)


@pytest.fixture
def device() -> Iterator[CudaDevice]:
    with opened("cuda") as made:
        assert isinstance(made, CudaDevice)
        yield made


def test_the_gpu_reads_what_a_source_wrote(device: CudaDevice) -> None:
    source = PatternSource("p", PatternOptions(size=(64, 48), frames=3, rate=None))
    spec = source.open()
    whole = TensorSpec("copy", (spec.nbytes,), np.dtype(np.uint8))
    region = device.region(
        "source", [*Slots.wants(2, spec.nbytes, Memory.MAPPED), Want.tensor(whole, memory=Memory.MAPPED)]
    )
    slots, target, stream = Slots.of(region, 2), region.tensor(whole), device.stream()
    source.start(slots)
    for _ in range(3):
        frame = source.read(5)
        assert frame is not None
        assert frame.memory is Memory.MAPPED
        stream.copy(target, TensorView(whole, frame.device_address, Memory.MAPPED, None))
        stream.synchronize()
        assert (target.host() == slots.buffers[frame.lease.index]).all()  # type: ignore[attr-defined]
        frame.release()
    source.close()
    stream.close()
    region.close()
