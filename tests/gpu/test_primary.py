"""The primary context by pycuda and by the driver: one contract. Needs pycuda for its half."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edged.devices.cuda.driver import driver
from edged.devices.cuda.memory import free_device_memory
from edged.devices.cuda.primary import DriverPrimary, Primary
from edged.devices.cuda.status import CudaError
from tests.devices.available import REAL_GPU

if not REAL_GPU:
    pytest.skip("no NVIDIA driver", allow_module_level=True)


@pytest.fixture(params=["pycuda", "driver"])
def primary(request: pytest.FixtureRequest) -> Iterator[Primary]:
    driver()
    if request.param == "pycuda":
        pytest.importorskip("pycuda.driver")
        from edged.devices.cuda._pycuda import PycudaPrimary

        made: Primary = PycudaPrimary(0)
    else:
        made = DriverPrimary(0)
    made.push()
    yield made
    made.pop()
    made.close()


def test_memory_comes_and_goes(primary: Primary) -> None:
    before = free_device_memory()
    block = primary.device_memory(256 << 20)
    assert before - free_device_memory() >= 256 << 20
    block.free()
    assert abs(before - free_device_memory()) < 16 << 20


def test_mapped_memory_is_seen_by_both(primary: Primary) -> None:
    block = primary.mapped_memory(4096)
    assert block.array is not None
    block.array[:] = 7
    driver().cuMemsetD8(block.address, 9, 2048)
    driver().cuCtxSynchronize()
    assert (block.array[:2048] == 9).all()
    assert (block.array[2048:] == 7).all()
    assert block.array.dtype == np.uint8
    block.free()


def test_too_much_is_an_error_with_its_code(primary: Primary) -> None:
    with pytest.raises(CudaError) as caught:
        primary.device_memory(1 << 45)
    assert caught.value.code == 2
