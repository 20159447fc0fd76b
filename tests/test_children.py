"""A process of its own imports what edged imports, and nothing that lies in the folder where edged was called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edged import children
from edged.doctor.child import ask

PACKAGE = Path(children.__file__).parent


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with files that shadow modules."""
    folder = tmp_path / "downloads"
    (folder / "edged").mkdir(parents=True)
    for name in ("runpy", "json", "base64", "statistics", "onnxruntime", "edged/__init__"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name} of the current folder ran')")
    monkeypatch.chdir(folder)
    return folder


def test_a_file_of_the_current_folder_is_not_run(downloads: Path) -> None:
    (downloads / "a.json").write_text("[1]")
    done = subprocess.run(
        children.command("json.tool", "a.json"),
        env=children.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["[", "1", "]"]


def test_nor_where_a_trial_asks(downloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trial.py").write_text(
        "import base64, json, statistics, sys, edged\n"
        "print(json.dumps({'edged': edged.__file__, 'name': __name__, 'argv': sys.argv[1:]}))"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert ask("trial", "a", "b", timeout_s=30.0) == {
        "edged": str(PACKAGE / "__init__.py"),
        "name": "__main__",
        "argv": ["a", "b"],
    }


def test_a_module_that_is_not_there_is_named() -> None:
    done = subprocess.run(children.command("no.such"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No module named 'no'" in done.stderr


def test_nothing_starts_python_in_another_way() -> None:
    """`python -m` and `python -c` import from the current folder."""
    files = [f for f in PACKAGE.rglob("*.py") if "sys.executable" in f.read_text()]
    assert [f.name for f in files] == ["children.py"], sys.executable
