"""scripts/install, uninstall and wheelhouse: without a network, in a container that lacks every Python package."""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.conftest import INSTALL_LIMIT_S
from tests.system.guest.installing import CASES
from tests.system.vm import CONTAINER_S

pytestmark = [pytest.mark.system, pytest.mark.timeout(INSTALL_LIMIT_S + CONTAINER_S + 120)]


@pytest.mark.parametrize("case", [case.__name__ for case in CASES])
def test_installing(installing: dict[str, Any], case: str) -> None:
    assert not installing[case]["error"], installing[case]["error"]
