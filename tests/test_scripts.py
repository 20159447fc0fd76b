"""The scripts: their syntax, what they find and how they refuse. scripts/test itself is what runs this."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lowest import project

ROOT = Path(__file__).resolve().parents[1]
BASH = [
    p
    for folder in ("scripts", ".ci", "tests/system")
    for p in sorted((ROOT / folder).rglob("*"))
    if p.is_file() and p.read_bytes().startswith(b"#!/usr/bin/env bash")
]


def bash(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash with the functions of scripts/setup."""
    line = f"source {ROOT}/scripts/setup; {script}"
    env = {**os.environ, **environment}
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=env, check=False, timeout=60
    )


def test_the_scripts_are_here() -> None:
    assert {"setup", "test", "demo", "run", "build-image", "run-vm"} <= {p.name for p in BASH}


@pytest.mark.parametrize("script", BASH, ids=lambda p: p.name)
def test_a_script_can_be_run_stops_at_errors_and_is_clean(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", script], check=True)
    shellcheck = shutil.which("shellcheck")
    if shellcheck is not None:
        subprocess.run([shellcheck, "-x", script], check=True, cwd=ROOT)


def test_setup_supports_the_pythons_that_pyproject_declares() -> None:
    declared = {
        c.rpartition(" ")[2] for c in project()["classifiers"] if re.search(r":: Python :: 3\.\d+$", c)
    }
    assert set(bash('echo "$SUPPORTED"').stdout.split()) == declared


def test_find_pythons_lists_each_version_once_newest_first() -> None:
    lines = [line.split(" ", 1) for line in bash("find_pythons").stdout.splitlines()]
    versions = [tuple(map(int, version.split("."))) for version, _ in lines]
    assert versions
    assert versions == sorted(set(versions), reverse=True)
    for version, path in lines:
        said = subprocess.run([path, "-V"], capture_output=True, text=True, check=True).stdout
        assert said.startswith(f"Python {version}.")


def test_without_a_python_setup_says_what_to_do(tmp_path: Path) -> None:
    done = bash("SUPPORTED=2.7; apt_install() { :; }; need_pythons", HOME=str(tmp_path))
    assert done.returncode == 1
    assert "no usable Python: edged runs on 2.7" in done.stderr
    assert "remedy: install one of them" in done.stderr


def test_setup_refuses_arguments() -> None:
    done = subprocess.run([ROOT / "scripts" / "setup", "--fast"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "takes no arguments" in done.stderr


def test_help_of_test_says_how_it_is_called() -> None:
    done = subprocess.run([ROOT / "scripts" / "test", "--help"], capture_output=True, text=True, check=True)
    assert "scripts/test --soak" in done.stdout
    assert "set -euo" not in done.stdout


def test_licence_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert project()["license"] == "Apache-2.0"
