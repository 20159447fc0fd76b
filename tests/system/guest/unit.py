"""edged.service in the container or the machine: its files, what systemd and the journal say of it.

Jobs that use it have the standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.system.guest.report import Json

CARRIED = Path("/tmp/checkout")  # beside edged and tests: what run_in_… carried
EDGED = Path("/opt/edged/venv/bin/edged")
CONFIG = Path("/etc/edged/edged.toml")
MODEL = Path("/etc/edged/models/tiny")
STATE = Path("/var/lib/edged")
RESULTS = STATE / "results.jsonl"
DROP_IN = Path("/run/systemd/system/edged.service.d/test.conf")
PATTERN = '{kind = "pattern", size = [320, 240], rate = 20}'
LIMIT_S, CONFIRM_S = 60.0, 4.0
T = TypeVar("T")


def run(*command: str | Path, check: bool = True) -> str:
    """What it prints; its own words when it fails."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd="/"
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}")
    return done.stdout.strip()


def asked(*command: str) -> Any:
    """What an edged command answers of the daemon."""
    return json.loads(run(EDGED, *command, "--json"))


def status(*command: str | Path) -> int:
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False, cwd="/").returncode


def show(what: str, unit: str = "edged.service") -> str:
    """One property, as systemd knows it."""
    return run("systemctl", "show", "--property", what, "--value", unit)


def until(what: str, find: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """What `find` gives as soon as that is something; AssertionError with the unit's state and last lines."""
    end = time.monotonic() + limit_s
    while not (found := find()):
        if time.monotonic() > end:
            raise AssertionError(
                f"not within {limit_s:g} s: {what}\n{run('systemctl', 'status', 'edged', check=False)}"
            )
        time.sleep(0.05)
    return found


def text(engine: str = "onnxruntime", source: str = PATTERN) -> str:
    """A configuration with a model of one layer, and results to a file."""
    return (
        f'[device]\nid = "robot"\n[control]\nconfirm_s = {CONFIRM_S}\n'
        f'[pipelines.front]\nsource = {source}\nmodel = "tiny"\nsinks = ["log"]\n'
        f'[models.tiny]\npath = "{MODEL}"\nengine = "{engine}"\n'
        f'[sinks.log]\nkind = "jsonl"\npath = "{RESULTS}"\ndeliver = {{result = "queue"}}\n'
    )


def configure(engine: str = "onnxruntime", source: str = PATTERN) -> None:
    """Results begin anew, once edged starts anew."""
    RESULTS.unlink(missing_ok=True)
    CONFIG.write_text(text(engine, source))


def place_model() -> None:
    """The one that was carried in."""
    MODEL.parent.mkdir(mode=0o755, exist_ok=True)
    run("cp", "-rT", CARRIED / "tiny", MODEL)
    run("chmod", "-R", "a+rX", MODEL.parent)


def results() -> list[Json]:
    """All results so far, of whole lines."""
    if not RESULTS.exists():
        return []
    lines = [json.loads(line) for line in RESULTS.read_text().split("\n")[:-1]]
    return [line for line in lines if line["type"] == "result"]


def journal(*matches: str, since: str = "") -> list[Json]:
    """Entries of the unit's journal, oldest first; of one run with `since`, an invocation id."""
    matches += (f"_SYSTEMD_INVOCATION_ID={since}",) if since else ("_SYSTEMD_UNIT=edged.service",)
    lines = run("journalctl", "--boot", "--output", "json", "--no-pager", "--all", *matches).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def of_systemd() -> str:
    """What systemd itself has to say of the unit."""
    return run("journalctl", "--boot", "--no-pager", "--output", "cat", "UNIT=edged.service")


def drop_in(text: str) -> None:
    """More of [Service], until the machine stops; "": none."""
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text(f"[Service]\n{text}\n")
    run("systemctl", "daemon-reload")


def main_pid() -> int:
    return int(show("MainPID"))


def alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")
