"""Runs one of the guest's modules in the virtual machine and brings its result back."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
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
    """result.json of tests.system.guest.<module>. A machine that fails or hangs fails the test with its last words."""
    if not (image() / "stamp").is_file():
        pytest.skip(f"no virtual machine in {image()}: scripts/test --system builds it")
    script, out = folder / "job.sh", folder / "out"
    said = " ".join(f"{k}={v}" for k, v in environment.items())
    script.write_text(JOB.format(module=f"tests.system.guest.{module}", environment=said))
    command = [str(HERE / "run-vm"), "-o", str(out), "-t", str(limit_s), "-b", str(BOOT_S)]
    for path in (ROOT / "edged", ROOT / "tests"):
        command += ["-i", str(path)]
    try:
        done = subprocess.run(
            [*command, str(script)],
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s + BOOT_S + 60,  # run-vm has a limit of its own; this is for its own failure
        )
        status, words = done.returncode, done.stderr
    except subprocess.TimeoutExpired:
        status, words = 125, "run-vm itself hangs"
    print(_tail(out / "stdout.log", 400))
    result = out / "result.json"
    if status == 0 and result.is_file():
        return json.loads(result.read_text())
    reason = {124: f"its job took longer than {limit_s} s", 125: "the machine did not finish"}.get(status, "")
    parts = [f"the virtual machine failed: status {status} {reason}", words]
    for name in ("stdout.log", "stderr.log", "console.log", "dmesg.txt"):
        parts.append(f"--- the end of {name}\n{_tail(out / name, 40)}")
    pytest.fail("\n".join(parts), pytrace=False)


def _tail(path: Path, lines: int) -> str:
    if not path.is_file():
        return "(absent)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
