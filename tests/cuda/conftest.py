"""The stand-in driver, and a device on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edged.devices.cuda.device import CudaDevice
from tests.cuda.standin import Standin, standin, standin_device


@pytest.fixture
def driver() -> Iterator[Standin]:
    with standin() as made:
        yield made


@pytest.fixture
def device(driver: Standin) -> Iterator[CudaDevice]:
    """Current in the test's thread."""
    made = standin_device()
    with made.current():
        yield made
    made.close()
