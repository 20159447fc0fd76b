"""Runs one of the guest's modules in the virtual machine and brings its result back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUT = (
    ROOT / "build" / "vm-out"
)  # a folder for each job: result.json, its words, the machine's console and journal
BOOT_S = 180  # for starting and stopping the machine, on a slow one
# Copied to the machine's own disk: the shared folder is slow. The image has what edged depends on.
JOB = """\
set -eu
cp -r /job/in /tmp/checkout
cd /tmp/checkout
{environment} exec python3 -X faulthandler -m {module}
"""


def image() -> Path:
    return Path(os.environ.get("IMG_DIR") or ROOT / "build" / "vm-image")


def run_in_vm(module: str, folder: Path, limit_s: int, **environment: str) -> Any:
    """Give back result.json of tests.system.guest.<module>.

    A machine that fails, crashes or hangs fails the test with the end of all that it said.
    """
    if not (image() / "stamp").is_file():
        pytest.skip(f"no virtual machine in {image()}: scripts/test --system builds it")
    script, out = folder / "job.sh", OUT / module
    said = " ".join(f"{k}={v}" for k, v in environment.items())
    script.write_text(JOB.format(module=f"tests.system.guest.{module}", environment=said))
    command = [str(HERE / "run-vm"), "-o", str(out), "-t", str(limit_s), "-b", str(BOOT_S)]
    for path in (ROOT / "edged", ROOT / "tests"):
        command += ["-i", str(path)]
    status, words = _run([*command, str(script)], limit_s + BOOT_S + 60)
    result = out / "result.json"
    if status == 0 and result.is_file():
        return json.loads(result.read_text())
    reason = {124: f"its job took longer than {limit_s} s", 125: "the machine did not finish"}.get(status, "")
    parts = [f"the virtual machine failed: status {status} {reason}", words]
    for name in ("stdout.log", "stderr.log", "console.log", "dmesg.txt"):
        parts.append(f"--- the end of {name}\n{_tail(out / name, 40)}")
    pytest.fail("\n".join(parts), pytrace=False)


def _run(command: list[str], limit_s: float) -> tuple[int, str]:
    """Status and words of run-vm, which has limits of its own; whatever happens here, the machine does not stay."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as child:
        try:
            _, words = child.communicate(timeout=limit_s)
            return child.returncode, words
        except subprocess.TimeoutExpired:
            return 125, "run-vm itself hangs"
        finally:
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGTERM)
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)


def _tail(path: Path, lines: int) -> str:
    if not path.is_file():
        return "(absent)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
