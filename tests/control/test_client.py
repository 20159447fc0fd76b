"""The client: typed answers, and errors that say what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edged.control.client import DEFAULT_SOCKET, Client, Refused, Unreachable, find_socket
from edged.errors import ConfigError, ExitCode
from tests.control.fake import DATA, SECRET, Served


def test_where_the_daemon_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGED_SOCKET", raising=False)
    assert find_socket(None) == Path(DEFAULT_SOCKET)
    monkeypatch.setenv("EDGED_SOCKET", "/x/y.sock")
    assert find_socket(None) == Path("/x/y.sock")
    assert find_socket("/a.sock") == Path("/a.sock")


def test_answers_are_typed(api: Served) -> None:
    assert api.client.status().snapshot.pipelines["front"].inferred == 100
    assert api.client.ready().ok
    state = api.client.config()
    assert SECRET not in str(state)
    assert api.client.put_config({**state.data, "device": {"id": "robot-8"}}, state.etag).revision == 2
    assert api.client.revert(None).revision == 3
    assert [r.revision for r in api.client.history()] == [3, 2, 1]
    assert api.client.pipeline("front", "pause") == "paused"
    assert "edged_frames_total" in api.client.text("/metrics")


def test_readiness_is_an_answer_also_when_it_is_not(api: Served) -> None:
    api.steering.not_ready = "model faces loads"
    assert api.client.ready().reason == "model faces loads"


def test_a_refusal_has_the_hint(api: Served) -> None:
    with pytest.raises(Refused, match="no pipeline 'a/b c'") as refused:
        api.client.pipeline("a/b c", "pause")
    assert refused.value.hint == "there is: front"
    assert refused.value.exit_code is ExitCode.REFUSED
    assert refused.value.document.status == 404


def test_problems_of_a_configuration_are_a_config_error(api: Served) -> None:
    wrong = {**DATA, "pipelines": {"front": {"source": "front", "model": "faces", "evry": 2}}}
    with pytest.raises(ConfigError) as refused:
        api.client.put_config(wrong, "*")
    assert [p.path for p in refused.value.problems] == ["pipelines.front.evry"]


@pytest.mark.parametrize("left_behind", [False, True])
def test_no_daemon(tmp_path: Path, left_behind: bool) -> None:
    path = tmp_path / "control.sock"
    if left_behind:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    with pytest.raises(Unreachable) as missing:
        Client(path).status()
    assert str(path) in missing.value.message
    assert "systemctl start edged" in missing.value.hint
    assert missing.value.exit_code is ExitCode.UNREACHABLE


@pytest.mark.parametrize(
    "says",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=range(4),
)
def test_something_else_that_listens_there(tmp_path: Path, says: bytes) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def answer() -> None:
            sock, _ = other.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(says)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unreachable, match=r"does not (answer|understand)"):
            Client(path).status()
        thread.join()


def test_an_error_that_is_no_document_is_shown_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def answer() -> None:
            sock, _ = other.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nsorry")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Refused, match="502 Bad Gateway: sorry"):
            Client(path).status()
        thread.join()


def test_a_daemon_that_ends_in_the_middle_of_a_stream(api: Served) -> None:
    stream = api.client.events()
    next(stream)
    api.server.stop()
    assert len(list(stream)) == 1  # its End
    with pytest.raises(Unreachable):
        api.client.status()


def test_the_client_loads_no_server() -> None:
    """A command on a small machine starts in a moment."""
    code = (
        "import sys, edged.control.client, edged.cli.main as m; m.build_parser();"
        "print(sorted({'aiohttp', 'prometheus_client', 'cv2', 'onnxruntime'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=os.environ
    )
    assert done.stdout.strip() == "[]"
