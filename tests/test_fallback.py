"""A daemon whose engine cannot be had: it runs the other one only if that was said, and says so where people look."""

from __future__ import annotations

from pathlib import Path

from edged.config.load import loads
from edged.config.schema import Config
from edged.daemon import Daemon, Limits
from edged.errors import ExitCode
from edged.messages import Event
from tests import onnx_models


def config(folder: Path, more: str) -> Config:
    made = onnx_models.relu(folder / "m.onnx")
    onnx_models.model_toml(folder, made, size=(6, 4))
    text = f"""
        runtime = {{device = "cpu", state_dir = "state"}}
        [models.m]
        path = "."
        engine = "tensorrt"
        {more}
        [pipelines.p]
        source = {{kind = "pattern", size = [64, 48], rate = 100}}
        model = "m"
    """
    return loads(text, base=folder)


def test_a_fallback_runs_degraded_and_is_an_event(tmp_path: Path) -> None:
    events: list[Event] = []
    daemon = Daemon(config(tmp_path, 'fallback = "onnxruntime"'), Limits(seconds=1), on_event=events.append)
    assert daemon.run() == ExitCode.OK
    told = [e for e in events if e.unit == "pipeline p" and e.state == "degraded"]
    assert told[0].reason.startswith(
        "onnxruntime instead of tensorrt: model tiny: engine 'tensorrt' cannot run on the"
    )
    assert daemon.snapshot().models["m"].facts["limited"] == told[0].reason


def test_without_one_the_engine_is_an_error(tmp_path: Path) -> None:
    assert Daemon(config(tmp_path, ""), Limits(seconds=1)).run() == ExitCode.ENGINE
