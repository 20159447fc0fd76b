from __future__ import annotations

import shutil

import pytest

from tests.devices.cuda.emulation import EmulatedDevice, Emulation


@pytest.fixture(scope="session")
def emulation(tmp_path_factory: pytest.TempPathFactory) -> Emulation:
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile the kernels with")
    return Emulation(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="session")
def device(emulation: Emulation) -> EmulatedDevice:
    return EmulatedDevice(emulation)
