"""A real `edged run` on this machine: its configuration, its process, and the client that steers it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.control.client import Client, Unreachable
from edged.steering import ConfigState
from tests.system import made
from tests.system.vm import ROOT, tail

EDGED = [sys.executable, "-c", "import sys; from edged.cli.main import main; sys.exit(main())"]
START_S, CONFIRM_S = 60.0, 20.0
RUNTIME = """
[device]
id = "robot"
[runtime]
state_dir = "state"
[control]
socket = "{folder}/control.sock"
confirm_s = {confirm_s}
"""


def config_file(folder: Path, text: str, confirm_s: float = 1.0) -> Path:
    """`text` names its models; the tiny one is at "tiny". A good trial is over in half of `confirm_s`."""
    made.tiny_model(folder)
    file = folder / "edged.toml"
    file.write_text(RUNTIME.format(folder=folder, confirm_s=confirm_s) + text)
    return file


def wait_until_ready(client: Client, log: Path) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            if client.ready().ok:
                return
        except Unreachable:
            pass
        assert time.monotonic() < end, f"not ready within {START_S:g} s\n{tail(log, 40)}"
        time.sleep(0.01)


def confirmed(client: Client, trial: ConfigState) -> ConfigState:
    """The same revision, confirmed; AssertionError when it is another one."""
    end = time.monotonic() + CONFIRM_S
    state = trial
    while state.state == "trial":
        assert time.monotonic() < end, f"revision {trial.revision} is a trial after {CONFIRM_S:g} s"
        time.sleep(0.02)
        state = client.config()
    assert state.revision == trial.revision, client.history()[0]
    return state


def change(client: Client, data: Mapping[str, Any]) -> ConfigState:
    """Make `data` the configuration, whatever it is now; confirmed."""
    return confirmed(client, client.put_config(data, "*"))


@dataclass(frozen=True, slots=True)
class Running:
    pid: int
    client: Client


@contextmanager
def running(file: Path) -> Iterator[Running]:
    """From ready until it has ended well."""
    log = file.parent / "log.txt"
    command = [*EDGED, "run", "--quiet", str(file)]
    with log.open("ab") as words, subprocess.Popen(command, cwd=ROOT, stderr=words) as child:
        try:
            client = Client(file.parent / "control.sock")
            wait_until_ready(client, log)
            yield Running(child.pid, client)
            child.terminate()
            assert child.wait(10) == 0, tail(log, 40)
        finally:
            if child.poll() is None:
                child.kill()
