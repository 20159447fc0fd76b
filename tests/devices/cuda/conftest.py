from __future__ import annotations

import pytest

from tests.devices.cuda.emulation import EmulatedDevice, Emulation


@pytest.fixture(scope="session")
def emulation() -> Emulation:
    return Emulation()


@pytest.fixture(scope="session")
def device(emulation: Emulation) -> EmulatedDevice:
    return EmulatedDevice(emulation)
