"""Shows what the machine said, also when all is well: its tables are results."""

from __future__ import annotations

import time

import pytest

from tests.system.vm import OUT

BEGAN = time.time()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for path in sorted(OUT.glob("*/stdout.log")):
        if path.stat().st_mtime >= BEGAN:
            terminalreporter.section(f"{path.parent.name}: {path.parent}")
            terminalreporter.write_line(path.read_text())
