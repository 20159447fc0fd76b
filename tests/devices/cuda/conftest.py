from __future__ import annotations

import pytest

from tests.devices.cuda.emulation import EmulatedDevice, Emulation


@pytest.fixture(scope="session")
def emulation(tmp_path_factory: pytest.TempPathFactory) -> Emulation:
    return Emulation(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="session")
def device(emulation: Emulation) -> EmulatedDevice:
    return EmulatedDevice(emulation)
