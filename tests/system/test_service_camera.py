"""edged.service with a camera of the kernel's own (vivid), in the virtual machine: guest/service_camera.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system import made
from tests.system.guest import installing_beside, service_camera
from tests.system.vm import BOOT_S, CONTAINER_S, image, run_in_container, run_in_vm

INSTALL_LIMIT_S, LIMIT_S = 120, 180

pytestmark = [pytest.mark.system, pytest.mark.timeout(INSTALL_LIMIT_S + CONTAINER_S + LIMIT_S + BOOT_S + 120)]


@pytest.fixture(scope="module")
def beside(wheelhouse: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Leaves a layer; see `found`."""
    folder = tmp_path_factory.mktemp("beside")
    carry = [made.without_dependencies(wheelhouse, folder), tiny_model]
    result: dict[str, Any] = run_in_container(
        "installing_beside", folder, INSTALL_LIMIT_S, carry, keep=image() / "beside", bare=False
    )
    return result


@pytest.fixture(scope="module")
def found(beside: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("service_camera")
    carry = [made.packed(image() / "beside", folder)]
    result: dict[str, Any] = run_in_vm("service_camera", folder, LIMIT_S, carry)
    return result


@pytest.mark.parametrize("case", [case.__name__ for case in installing_beside.CASES])
def test_beside_the_systems_packages(beside: dict[str, Any], case: str) -> None:
    assert not beside[case]["error"], beside[case]["error"]


@pytest.mark.parametrize("case", [case.__name__ for case in service_camera.CASES])
def test_with_a_camera(found: dict[str, Any], case: str) -> None:
    assert not found[case]["error"], found[case]["error"]
