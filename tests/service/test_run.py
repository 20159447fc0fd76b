"""`edged run` as systemd starts it: a real process and a real notification socket; systemd-python is a stand-in."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.errors import ExitCode
from tests import onnx_models

RUN = (
    sys.executable,
    "-c",
    "import sys; from edged.cli.main import main; sys.exit(main())",
    "run",
    "--quiet",
)
STAND_IN = """\
import os, socket

def notify(lines):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(lines.encode(), os.environ["NOTIFY_SOCKET"])
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(tmp_path / "notify"))
        found.settimeout(30)
        yield found


def start(folder: Path, *paths: Path) -> subprocess.Popen[str]:
    file = onnx_models.relu(folder / "model.onnx")
    onnx_models.model_toml(folder, file, size=(6, 4))
    (folder / "edged.toml").write_text(
        '[pipelines.front]\nsource = {kind = "pattern", size = [32, 24], rate = 30}\nmodel = "tiny"\n'
        f'sinks = ["log"]\n[models.tiny]\npath = "{folder}"\nengine = "onnxruntime"\n'
        f'[sinks.log]\nkind = "jsonl"\npath = "{folder}/results.jsonl"\n'
    )
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": str(folder / "notify"),
        "WATCHDOG_USEC": "1000000",
        "PYTHONPATH": ":".join(map(str, (*paths, Path(__file__).parents[2]))),
    }
    return subprocess.Popen(
        [*RUN, str(folder / "edged.toml")],
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_tells_from_loading_to_its_end(manager: socket.socket, tmp_path: Path) -> None:
    package = tmp_path / "python" / "systemd"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "daemon.py").write_text(STAND_IN)
    child = start(tmp_path, package.parent)
    try:
        heard: list[str] = []
        while "READY=1" not in heard or heard.count("WATCHDOG=1") < 3:
            heard += manager.recv(4096).decode().splitlines()
        child.send_signal(signal.SIGHUP)  # at no terminal: to reload, not to end
        while "RELOADING=1" not in heard:
            heard += manager.recv(4096).decode().splitlines()
        child.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in heard:
            heard += manager.recv(4096).decode().splitlines()
        assert child.wait(30) == ExitCode.OK
    finally:
        child.kill()
        child.communicate()
    assert heard[0].startswith("EXTEND_TIMEOUT_USEC=")
    assert [line for line in heard if line in ("READY=1", "RELOADING=1")] == [
        "READY=1",
        "RELOADING=1",
        "READY=1",
    ]
    assert "STATUS=1 of 1 pipelines running" in heard


def test_without_the_package_it_refuses_and_says_so(manager: socket.socket, tmp_path: Path) -> None:
    if not _absent("systemd.daemon"):
        pytest.skip("systemd-python is installed here")
    child = start(tmp_path)
    _, said = child.communicate(timeout=60)
    assert child.returncode == ExitCode.CONFIG
    assert "Type=notify" in said
    assert "edged[systemd]" in said


def _absent(module: str) -> bool:
    done = subprocess.run([sys.executable, "-c", f"import {module}"], stderr=subprocess.DEVNULL, check=False)
    return done.returncode != 0
