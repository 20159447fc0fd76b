"""edged run, as a real process: signals, limits, what it prints and its exit status."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edged.cli._steered import Steered
from edged.cli.main import main
from edged.control.server import ControlServer
from edged.daemon import Daemon
from edged.errors import ExitCode
from tests import onnx_models

EDGED = str(Path(sys.executable).with_name("edged"))
IN_TIME_S = 5.0

CONFIG = """
[device]
id = "robot-7"
[pipelines.front]
source = "cam"
model = "m"
sinks = ["log"]
[sources.cam]
kind = "pattern"
size = [16, 8]
{source}
[models.m]
path = "m"
{model}
[sinks.log]
{sink}
[runtime]
{runtime}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m").mkdir()
    onnx_models.model_toml(tmp_path / "m", onnx_models.relu(tmp_path / "m" / "m.onnx"), size=(6, 4))
    return tmp_path


def write(
    folder: Path, *, source: str = "", model: str = "", sink: str = 'kind = "jsonl"', runtime: str = ""
) -> Path:
    path = folder / "edged.toml"
    path.write_text(CONFIG.format(source=source, model=model, sink=sink, runtime=runtime))
    return path


def noted(method: Any, done: list[str]) -> Any:
    def called(it: Any) -> None:
        done.append(method.__name__)
        method(it)

    return called


def test_the_desk_is_closed_when_the_daemon_ends_by_a_defect(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def run(daemon: Daemon) -> ExitCode:
        raise KeyError("stranger")

    monkeypatch.setattr(Daemon, "run", run)
    for cls, method in ((Steered, "close"), (ControlServer, "stop")):
        monkeypatch.setattr(cls, method, noted(getattr(cls, method), done))
    config = write(folder, runtime='[control]\nsocket = "c.sock"')
    with pytest.raises(KeyError):
        main(["run", str(config), "--quiet"])
    assert done == ["close", "stop"]


@contextmanager
def started(config: Path, *arguments: str, stderr: Any = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """`edged run`, killed at the end if it still runs."""
    child = subprocess.Popen(
        [EDGED, "run", str(config), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    with child:  # waits for its end, so one that hangs must be killed before
        try:
            yield child
        finally:
            child.kill()


def messages(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def read_until(child: subprocess.Popen[str], **wanted: Any) -> list[dict[str, Any]]:
    """Messages on stdout up to the first that has these values."""
    assert child.stdout is not None
    seen: list[dict[str, Any]] = []
    for line in child.stdout:
        seen.append(json.loads(line))
        if wanted.items() <= seen[-1].items():
            return seen
    raise AssertionError(f"it ended before {wanted}: {child.communicate()[1]}")


def finish(child: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], str, float]:
    """The rest of stdout as messages, stderr, and how long it took to end; killed after 30 s.

    Not `communicate`: it reads below the text layer, which may hold lines that came with those read before.
    """
    assert child.stdout is not None
    assert child.stderr is not None
    begin = time.monotonic()
    guard = threading.Timer(30, child.kill)
    guard.start()
    try:
        out, err = child.stdout.read(), child.stderr.read()
        child.wait()
    finally:
        guard.cancel()
        guard.join()
    return messages(out.splitlines()), err, time.monotonic() - begin


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_with_every_result_published_and_exact_accounts(
    folder: Path, number: signal.Signals
) -> None:
    with started(write(folder, source="rate = 200"), "--json") as child:
        seen = read_until(child, type="result", seq=20)
        child.send_signal(number)
        rest, err, took_s = finish(child)
    assert child.returncode == ExitCode.OK
    assert took_s < IN_TIME_S
    *lines, summary = seen + rest
    results = [m for m in lines if m["type"] == "result"]
    assert [r.get("seq", 0) for r in results] == list(range(len(results)))
    front = summary["pipelines"]["front"]
    assert front["inferred"] == len(results)
    assert front["offered"] == front["inferred"] + front["dropped"] + front["failed"]
    assert sum(r.get("dropped", 0) for r in results) == front["dropped"]
    others = [m for m in lines if m["type"] != "result"]
    assert (others[-1]["type"], others[-1]["state"]) == ("state", "offline")
    assert err == "edged: ended: signal (exit status 0)\n"


def endless(path: Path) -> Path:
    """A model that is busy inside the library for hours: a loop of 2 to the 40 rounds."""
    value = onnx_models.value
    dims = (1, 3, 4, 6)
    body = helper.make_graph(
        [helper.make_node("Relu", ["v"], ["v_out"]), helper.make_node("Identity", ["go"], ["go_out"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            value("v", dims),
        ],
        [helper.make_tensor_value_info("go_out", TensorProto.BOOL, ()), value("v_out", dims)],
    )
    rounds = numpy_helper.from_array(np.array(1 << 40, np.int64), "rounds")
    yes = numpy_helper.from_array(np.array(True), "yes")
    node = helper.make_node("Loop", ["rounds", "yes", "x"], ["y"], body=body)
    graph = onnx_models.graph([node], [value("x", dims)], [value("y", dims)], [rounds, yes])
    return onnx_models.write(path, graph)


@pytest.fixture
def hanging(folder: Path) -> Path:
    onnx_models.model_toml(folder / "m", endless(folder / "m" / "m.onnx"), size=(6, 4))
    return write(folder)


def test_an_engine_that_hangs_does_not_outlive_a_signal_and_is_named(hanging: Path) -> None:
    with started(hanging) as child:
        read_until(child, unit="source cam", state="running")  # and so the model was let go
        child.terminate()
        rest, err, took_s = finish(child)
    assert child.returncode == ExitCode.DRAIN_TIMEOUT
    assert took_s < IN_TIME_S
    assert "edged: model m did not stop in time\n" in err
    assert "Traceback" not in err
    assert rest[-1] == {**rest[-1], "type": "state", "state": "offline"}, "sinks had their orderly end"


def test_a_second_signal_ends_at_once_even_if_an_engine_hangs(hanging: Path) -> None:
    with started(hanging) as child:
        read_until(child, unit="source cam", state="running")
        child.terminate()
        read_until(child, unit="source cam", state="ended")  # it is draining
        child.send_signal(signal.SIGINT)  # a second one of either kind
        took_s = finish(child)[2]
    assert child.returncode == -signal.SIGINT
    assert took_s < 2


def test_frames_are_exactly_as_many_as_asked_for(folder: Path) -> None:
    config = write(folder, sink='kind = "jsonl"\npath = "out.jsonl"')
    with started(config, "--frames", "7", "--json") as child:
        (summary,), err, _ = finish(child)
    assert (child.returncode, err) == (ExitCode.OK, "")
    lines = messages((folder / "out.jsonl").read_text().splitlines())
    assert [m.get("seq", 0) for m in lines if m["type"] == "result"] == list(range(7))
    front = summary["pipelines"]["front"]
    assert (front["inferred"], front["state"], front["dropped"], front["failed"]) == (7, "stopped", 0, 0)
    assert set(front["stages"]) == {"wait", "preprocess", "engine", "infer", "parse", "age", "host"}
    assert summary["sinks"]["log"]["published"] == len(lines)
    assert summary["regions"]["source cam"]["slots"] == 4
    assert summary["errors"] == []


def test_seconds_end_it_and_the_summary_is_a_table_on_stderr(folder: Path) -> None:
    config = write(folder, sink='kind = "jsonl"\npath = "out.jsonl"')
    with started(config, "--seconds", "0.3") as child:
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (ExitCode.OK, "")
    assert "pipeline" in err
    assert "age p99" in err
    assert re.search(r"front +│ +\d+ ", err)


def test_quiet_says_nothing_when_all_is_well(folder: Path) -> None:
    config = write(folder, sink='kind = "jsonl"\npath = "out.jsonl"')
    with started(config, "--frames", "3", "--quiet") as child:
        assert child.communicate(timeout=30) == ("", "")
    assert child.returncode == ExitCode.OK


def test_one_line_of_live_status_on_a_terminal(folder: Path) -> None:
    config = write(folder, source="rate = 30", sink='kind = "jsonl"\npath = "out.jsonl"')
    ours, theirs = pty.openpty()
    try:
        with started(config, stderr=theirs) as child:
            shown = ""
            end = time.monotonic() + 30
            while not re.search(r"front: running [1-9][\d.]* fps, age p99 \d+ ms, dropped \d+", shown):
                assert time.monotonic() < end, shown
                if select.select([ours], [], [], 0.5)[0]:
                    shown += os.read(ours, 4096).decode()
            child.terminate()
            while child.poll() is None:
                if select.select([ours], [], [], 0.1)[0]:
                    shown += os.read(ours, 4096).decode()
            while select.select([ours], [], [], 0)[0]:
                shown += os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert child.returncode == ExitCode.OK
    assert "\r\x1b[Kpipeline front: running\r\n" in shown, "a change has a line of its own"
    assert "\r\x1b[Kedged: ended: signal (exit status 0)" in shown
    status = [part for part in re.split(r"\r\x1b\[K|\r\n", shown) if part.startswith("front: ")]
    assert all(len(part) < 80 for part in status), "a status may not run into a second line"


def test_a_reader_that_leaves_is_no_traceback(folder: Path) -> None:
    config = write(folder, sink='kind = "jsonl"\npath = "out.jsonl"')
    with started(config, "--frames", "3", "--json") as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.stderr is not None
        assert child.stderr.read() == ""
    assert child.returncode == ExitCode.OK


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"runtime": 'memory_budget = "10 KiB"'}, ExitCode.MEMORY, "runtime.memory_budget is 10.0 KiB"),
        ({"sink": 'kind = "jsonl"\npath = "m"'}, ExitCode.SINK, "sink 'log': cannot write"),
        ({"source": "frames = 0"}, ExitCode.CONFIG, "sources.cam.frames"),
        (
            {"sink": 'kind = "zmq"\nbind = "tcp://127.0.0.1:{port}"'},
            ExitCode.SINK,
            "stop the program that holds it",
        ),
    ],
)
def test_what_refuses_the_start_has_its_own_exit_status(
    folder: Path, change: dict[str, str], code: ExitCode, says: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        config = write(folder, **{k: v.replace("{port}", port) for k, v in change.items()})
        with started(config, "--quiet") as child:
            out, err = child.communicate(timeout=30)
    assert child.returncode == code
    assert says in err
    assert "Traceback" not in err
    assert all(m["type"] != "result" for m in messages(out.splitlines()))


@pytest.mark.parametrize(
    "arguments", [[], ["--frames", "0"], ["--frames", "x"], ["--seconds", "-1"], ["--seconds", "inf"],
                  ["--frames", "1", "--seconds", "1"]],
)  # fmt: skip
def test_a_wrong_command_line_is_a_usage_error(
    folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = [str(write(folder))] if arguments else []
    with pytest.raises(SystemExit) as ended:
        main(["run", *file, *arguments])
    assert ended.value.code == ExitCode.USAGE
    assert "usage: edged run" in capsys.readouterr().err
