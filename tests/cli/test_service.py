"""The daemon of `edged run` and systemd: a real daemon, and a stand-in that takes what systemd would be told."""

from __future__ import annotations

import signal
import sys
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edged.cli._service import Service
from edged.config.load import loads
from edged.daemon import Daemon
from edged.errors import ExitCode
from tests import onnx_models

CONFIG = """
[pipelines.front]
source = {{kind = "pattern", size = [32, 24], rate = 100}}
model = "tiny"
sinks = ["log"]
[models.tiny]
path = "{folder}"
engine = "onnxruntime"
[sinks.log]
kind = "jsonl"
path = "{folder}/results.jsonl"
"""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that systemd is told."""
    lines: list[str] = []
    daemon = SimpleNamespace(notify=lambda text: lines.extend(text.splitlines()))
    monkeypatch.setitem(sys.modules, "systemd", SimpleNamespace(daemon=daemon))
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setattr("edged.daemon.has_terminal", lambda: False)  # where pytest runs at one
    return lines


def test_a_reload_is_told_until_it_is_done_with_the_next_that_waited_for_it(
    told: list[str], tmp_path: Path
) -> None:
    onnx_models.model_toml(tmp_path, onnx_models.relu(tmp_path / "m.onnx"), size=(6, 4))
    reloads: list[Future[Any]] = []

    def reload() -> Future[Any]:
        reloads.append(Future())
        return reloads[-1]

    service, steps = Service(), iter(range(1000))

    def tick(daemon: Daemon) -> None:
        service.tick(daemon, reload)
        if "READY=1" not in told:
            return
        match next(steps):
            case 0:
                signal.raise_signal(signal.SIGHUP)
            case 2:
                signal.raise_signal(signal.SIGHUP)  # in the midst of the first
            case 4:
                assert len(reloads) == 1
                reloads[0].set_result(None)
            case 6:
                assert len(reloads) == 2
                reloads[1].set_result(None)
            case 8:
                daemon.stop()

    daemon = Daemon(loads(CONFIG.format(folder=tmp_path)), on_tick=tick)
    assert daemon.run() is ExitCode.OK
    service.tick(daemon, reload)
    said = [line for line in told if line.partition("=")[0] in ("READY", "RELOADING", "STOPPING")]
    assert said == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
