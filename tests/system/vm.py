"""Runs one of the guest's modules in the virtual machine or a container of the same tree; brings its result back.

The container takes seconds and has this machine's kernel; cameras are in the virtual machine only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# a folder for each job: result.json, its words, the console and the journal
OUT = ROOT / "build" / "vm-out"
BOOT_S = 180  # for starting and stopping the machine, on a slow one
CONTAINER_S = 60  # the same of a container
# Copied to the machine's own disk: the shared folder is slow. The image has what edged depends on.
JOB = """\
set -eu
cp -r /job/in /tmp/checkout
cd /tmp/checkout
{environment} exec python3 -X faulthandler -m {module}
"""


def image() -> Path:
    return Path(os.environ.get("IMG_DIR") or ROOT / "build" / "vm-image")


def run_in_vm(module: str, folder: Path, limit_s: int, carry: Sequence[Path] = (), **environment: str) -> Any:
    """Give back result.json of tests.system.guest.<module>. It finds what else is carried beside the checkout.

    A machine that fails, crashes or hangs fails the test with the end of all that it said.
    """
    command = [str(HERE / "run-vm"), "-b", str(BOOT_S)]
    return _job(command, module, folder, limit_s, carry, environment, BOOT_S)


def run_in_container(
    module: str,
    folder: Path,
    limit_s: int,
    carry: Sequence[Path] = (),
    layers: Sequence[Path] = (),
    keep: Path | None = None,
    bare: bool = True,
    **environment: str,
) -> Any:
    """The same with systemd-nspawn, on top of what earlier runs kept in `layers`; keep this run's changes in `keep`.

    `bare`: the tree's own Python packages are away: what runs there has what was installed there. Skips without root.
    """
    if os.getuid() != 0:
        pytest.skip("containers need root: run scripts/test --system as root")
    command = [str(HERE / "run-container"), "-b", str(CONTAINER_S)]
    if bare:
        command += ["-e", _packages()]
    for layer in layers:
        command += ["-l", str(layer)]
    if keep is not None:
        command += ["-k", str(keep)]
    return _job(command, module, folder, limit_s, carry, environment, CONTAINER_S)


def _packages() -> str:
    """Where build-image put Python packages, as a path in the tree."""
    (found,) = (image() / "tree" / "usr/local/lib").glob("python3.*/dist-packages")
    return f"/{found.relative_to(image() / 'tree')}"


def _job(
    command: list[str],
    module: str,
    folder: Path,
    limit_s: int,
    carry: Sequence[Path],
    environment: Mapping[str, str],
    boot_s: int,
) -> Any:
    out = OUT / module
    command += ["-o", str(out), "-t", str(limit_s), *job_arguments(module, folder, carry, environment)]
    status, words = _run(command, limit_s + boot_s + 60)
    result = out / "result.json"
    if status == 0 and result.is_file():
        return json.loads(result.read_text())
    reason = {124: f"its job took longer than {limit_s} s", 125: "it did not finish"}.get(status, "")
    parts = [f"{Path(command[0]).name} {module} failed: status {status} {reason}", words]
    for name in ("stdout.log", "stderr.log", "console.log", "dmesg.txt"):
        parts.append(f"--- the end of {name}\n{tail(out / name, 40)}")
    pytest.fail("\n".join(parts), pytrace=False)


def job_arguments(
    module: str, folder: Path, carry: Sequence[Path], environment: Mapping[str, str]
) -> list[str]:
    """What run-vm and run-container carry and run; `folder` is for the script. Skips without an image."""
    if not (image() / "stamp").is_file():
        pytest.skip(f"no virtual machine in {image()}: scripts/test --system builds it")
    script = folder / "job.sh"
    said = " ".join(f"{k}={v}" for k, v in environment.items())
    script.write_text(JOB.format(module=f"tests.system.guest.{module}", environment=said))
    carried = [word for path in (ROOT / "edged", ROOT / "tests", *carry) for word in ("-i", str(path))]
    return [*carried, str(script)]


def _run(command: list[str], limit_s: float) -> tuple[int, str]:
    """Status and words of a command with limits of its own; whatever happens here, what it started does not stay."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as child:
        try:
            _, words = child.communicate(timeout=limit_s)
            return child.returncode, words
        except subprocess.TimeoutExpired:
            return 125, f"{command[0]} itself hangs"
        finally:
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGTERM)
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)


def tail(path: Path, lines: int) -> str:
    if not path.is_file():
        return "(absent)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
