"""The V4L2 source against a real kernel driver, without faults. vivid offers no MJPG, so that stays with the fake."""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.guest.capture import cases
from tests.system.vm import BOOT_S, run_in_vm

LIMIT_S = 300

pytestmark = [pytest.mark.system, pytest.mark.timeout(LIMIT_S + BOOT_S + 120)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result: dict[str, Any] = run_in_vm("capture", tmp_path_factory.mktemp("capture"), LIMIT_S)
    return result


@pytest.mark.parametrize("case", cases())
def test_capture(found: dict[str, Any], case: str) -> None:
    assert not found[case]["error"], found[case]["error"]
