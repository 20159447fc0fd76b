"""edged.service under a real systemd, as scripts/install leaves it: see guest/serving.py for what each case does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import INSTALL_LIMIT_S
from tests.system.guest.serving import CASES
from tests.system.vm import CONTAINER_S, run_in_container

LIMIT_S = 240

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(INSTALL_LIMIT_S + LIMIT_S + 2 * CONTAINER_S + 120),
]


@pytest.fixture(scope="module")
def serving(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("serving")
    result: dict[str, Any] = run_in_container("serving", folder, LIMIT_S, layers=[installed])
    return result


@pytest.mark.parametrize("case", [case.__name__ for case in CASES])
def test_serving(serving: dict[str, Any], case: str) -> None:
    assert not serving[case]["error"], serving[case]["error"]
