"""scripts/install and uninstall where they refuse or fail; tests/system/test_install.py has what they do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


# What stands for the commands of the system. $TREE is where all lies: each systemctl is a line of $TREE/calls, and the
# first command with what $TREE/fails says fails.
FAIL = 'case $* in *"$(cat "$TREE/fails")"*) echo nothing at all >"$TREE/fails" && exit 1 ;; esac\n'
STUBS = {
    "id": "echo 0",
    "systemctl": 'echo "$*" >>"$TREE/calls"\n' + FAIL + "case $* in show*) echo inactive ;; esac",
    "systemd-sysusers": "",
    "systemd-tmpfiles": "",
    "install": FAIL + 'exec /usr/bin/install "$@"',
    # a Python that makes environments whose Python and edged do nothing, and has email for systemd-python
    "python": """"$REAL" "${@/systemd.daemon/email}" || exit
[[ $* == *" -m venv "* ]] || exit 0
bin=${@: -1}/bin
rm -r "$bin" && mkdir "$bin" && cp "$TREE/bin/nothing" "$bin/edged" && cp "$TREE/bin/nothing" "$bin/python"
""",
    "nothing": "",
}


class Tree:
    """The scripts with a system of their own, in a folder;"""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opt, self.units = folder / "opt", folder / "local/lib/systemd/system"
        self.root = folder / "checkout"
        (self.root / "wheels").mkdir(parents=True)
        for name in ("edged-1-py3-none-any.whl", "pip-1-py3-none-any.whl"):
            (self.root / "wheels" / name).touch()
        shutil.copy(SCRIPTS.parent / "README.md", self.root)
        for name in ("configs", "systemd"):
            shutil.copytree(SCRIPTS.parent / name, self.root / name)
        places = {"/opt/edged": "opt", "/usr/local": "local", "/etc/edged": "etc", "/run/systemd": "run"}
        for name in ("install", "_service.sh", "setup"):
            text = (SCRIPTS / name).read_text()
            for there, here in places.items():
                text = text.replace(there, str(folder / here))
            self._script(self.root / "scripts" / name, text)
        (folder / "run/system").mkdir(parents=True)
        (folder / "local/bin").mkdir(parents=True)
        for name, text in STUBS.items():
            self._script(folder / "bin" / name, f"#!/usr/bin/env bash\n{text}\n")
        self.fail("nothing at all")

    def _script(self, file: Path, text: str) -> None:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def fail(self, what: str) -> None:
        (self.folder / "fails").write_text(what)

    def install(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "TREE": str(self.folder),
            "REAL": sys.executable,
        }
        command = [
            str(self.root / "scripts/install"),
            "--python",
            str(self.folder / "bin/python"),
            *arguments,
        ]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment,
            cwd=cwd or self.folder,
        )

    @property
    def installed(self) -> tuple[str, ...]:
        """The environment in use, and the units as they are."""
        units = sorted(self.units.iterdir()) if self.units.exists() else []
        venv = os.readlink(self.opt / "venv") if os.path.lexists(self.opt / "venv") else ""
        return (venv, *(u.read_text() for u in units))

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_root_imports_nothing_from_the_folder_it_is_called_in(tree: Tree, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    trap = f"open({str(tmp_path / 'caught')!r}, 'a').write(__name__)\n"
    for name in ("email", "ensurepip", "venv", "sys", "os", "pip", "runpy", "types"):
        (folder / f"{name}.py").write_text(trap)
    done = tree.install("--wheelhouse", "../checkout", "--extras", "", cwd=folder)
    assert not (tmp_path / "caught").exists()
    assert done.returncode == 0, done.stderr
    assert tree.installed[0] == "venvs/1"


# of a destination, or of systemctl
HALFWAY = ("system/edged.socket", "system/edged.service", "sysusers.d/edged.conf", "daemon-reload")


@pytest.mark.parametrize("what", [*HALFWAY, "enable"])
def test_a_first_installation_that_fails_halfway_leaves_nothing(tree: Tree, what: str) -> None:
    tree.fail(what)
    assert tree.install().returncode != 0
    assert tree.installed == ("",)
    assert not any((tree.opt / "venvs").iterdir())
    assert not any((tree.folder / "local/bin").iterdir())
    assert tree.install().returncode == 0
    assert "--quiet enable edged.service edged.socket" in tree.calls[-3:]


@pytest.mark.parametrize("what", HALFWAY)
def test_an_update_that_fails_halfway_leaves_the_installation_of_before(tree: Tree, what: str) -> None:
    assert tree.install().returncode == 0
    before = tree.installed
    for unit in (tree.root / "systemd").iterdir():
        unit.write_text(unit.read_text() + "# new\n")
    tree.fail(what)
    assert tree.install("--force").returncode != 0
    assert tree.installed == before
    assert tree.calls[-1] == "daemon-reload"
    assert tree.install("--force").returncode == 0
    assert tree.installed[0] != before[0]
    assert all(text.endswith("# new\n") for text in tree.installed[1:])
