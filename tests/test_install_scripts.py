"""scripts/install and uninstall where they refuse; tests/system/test_install.py has what they do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def call(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [SCRIPTS / script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("script", ["install", "uninstall", "wheelhouse"])
def test_help_says_how_it_is_called(script: str) -> None:
    done = call(script, "--help")
    assert done.returncode == 0
    assert f"scripts/{script}" in done.stdout
    assert "set -euo" not in done.stdout


@pytest.mark.parametrize("script", ["install", "uninstall"])
def test_what_it_does_not_know_is_refused(script: str) -> None:
    done = call(script, "--fast")
    assert done.returncode == 1
    assert f"unknown argument '--fast'\n  remedy: scripts/{script} --help" in done.stderr


def test_an_option_needs_its_value() -> None:
    assert "--extras needs a value" in call("install", "--extras").stderr


@pytest.mark.skipif(os.getuid() == 0, reason="it is for others than root")
@pytest.mark.parametrize("script", ["install", "uninstall"])
def test_it_needs_root(script: str) -> None:
    done = call(script)
    assert done.returncode == 1
    assert "needs root\n  remedy: sudo" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_folder_without_edged_is_no_wheelhouse(tmp_path: Path) -> None:
    done = call("install", "--wheelhouse", tmp_path)
    assert done.returncode == 1
    assert f"there is no wheel of edged in {tmp_path}" in done.stderr
