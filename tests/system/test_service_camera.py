"""edged.service with a camera of the kernel's own (vivid), in the virtual machine: guest/service_camera.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system import made
from tests.system.guest.service_camera import CASES
from tests.system.vm import BOOT_S, run_in_vm

LIMIT_S = 240

pytestmark = [pytest.mark.system, pytest.mark.timeout(LIMIT_S + BOOT_S + 120)]


@pytest.fixture(scope="module")
def found(wheelhouse: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("service_camera")
    carry = [made.without_dependencies(wheelhouse, folder), tiny_model]
    result: dict[str, Any] = run_in_vm("service_camera", folder, LIMIT_S, carry)
    return result


@pytest.mark.parametrize("case", [case.__name__ for case in CASES])
def test_with_a_camera(found: dict[str, Any], case: str) -> None:
    assert not found[case]["error"], found[case]["error"]
