"""Shows what the machine said, also when all is well: its tables are results. What several jobs need is made once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.system import made
from tests.system.vm import OUT, image, run_in_container

BEGAN = time.time()
INSTALL_LIMIT_S = 300


@pytest.fixture(scope="session")
def wheelhouse() -> Path:
    return made.wheelhouse()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def installing(
    wheelhouse: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What came of installing and uninstalling, again and again; see `installed`."""
    folder = tmp_path_factory.mktemp("installing")
    carry = [wheelhouse, tiny_model]
    result: dict[str, Any] = run_in_container(
        "installing", folder, INSTALL_LIMIT_S, carry, keep=image() / "installed"
    )
    return result


@pytest.fixture(scope="session")
def installed(installing: dict[str, Any]) -> Path:
    """A layer for run_in_container: edged installed by its script, enabled, configured as guest/unit.py does it."""
    failed = {case: found["error"] for case, found in installing.items() if found["error"]}
    assert not failed, failed
    return image() / "installed"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for path in sorted(OUT.glob("*/stdout.log")):
        if path.stat().st_mtime >= BEGAN:
            terminalreporter.section(f"{path.parent.name}: {path.parent}")
            terminalreporter.write_line(path.read_text())
