"""The control socket: what a dead daemon left is replaced, what a living one has is not."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edged.config.schema import ControlConfig
from edged.control.client import Client
from edged.control.events import EventLog
from edged.control.server import ControlServer
from edged.control.sockets import ControlError, Listening, inherited, listen, loopback, socket_path
from edged.errors import ExitCode
from tests.control.fake import IDENTITY, FakeSteering, Served, served
from tests.control.http import ask


def test_the_socket_is_for_its_user_and_group_and_gone_afterwards(tmp_path: Path) -> None:
    with served(tmp_path) as api:
        mode = api.path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o660
    assert not api.path.exists()


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    with served(tmp_path / "run" / "edged") as api:
        assert ask(api.path, "GET", "/v1/health/live").status == 200


def test_what_a_dead_daemon_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with served(tmp_path) as api:
        assert ask(api.path, "GET", "/v1/health/live").status == 200


def test_a_daemon_that_was_killed_leaves_one_behind_that_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    code = (
        "import os, sys, signal, pathlib; from edged.control.sockets import listen;"
        "s = listen(pathlib.Path(sys.argv[1]), 'x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, cwd=root)
    assert done.returncode == -9
    assert path.exists()
    listen(path, "x").close()


def test_a_second_daemon_is_told_that_there_is_one(tmp_path: Path) -> None:
    with served(tmp_path) as api:
        with pytest.raises(ControlError, match="another daemon listens at") as refused:
            Served(tmp_path)
        assert "systemctl stop edged" in refused.value.hint
        assert refused.value.exit_code is ExitCode.CONFIG
        assert ask(api.path, "GET", "/v1/health/live").status == 200


def test_who_may_read_the_folder_holds_up_nobody(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)  # as any user can
    try:
        with ThreadPoolExecutor(1) as threads:
            try:
                listening = threads.submit(listen, tmp_path / "control.sock", "x").result(timeout=5)
                threads.submit(listening.close).result(timeout=5)
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_start_at_once_one_listens(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    def start(_: int) -> Listening | None:
        try:
            return listen(path, "x")
        except ControlError:
            return None

    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            (winner,) = filter(None, threads.map(start, range(8)))
            assert list(tmp_path.iterdir()) == [path]
            winner.close()
            assert list(tmp_path.iterdir()) == []


def test_the_lock_is_for_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def look(path: Path) -> bool:
        seen.append(stat.S_IMODE((tmp_path / ".control.sock.lock").stat().st_mode))
        return False

    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "control.sock"))
    left.close()
    monkeypatch.setattr("edged.control.sockets.answers", look)
    listen(tmp_path / "control.sock", "x").close()
    assert seen == [0o600]


def test_a_daemon_with_a_full_backlog_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = []
        for _ in range(2):
            s = socket.socket(socket.AF_UNIX)
            s.setblocking(False)
            s.connect_ex(str(path))
            waiting.append(s)
        with pytest.raises(ControlError, match="another daemon"):
            listen(path, "x")
        for s in waiting:
            s.close()


def test_the_file_of_another_daemon_stays(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    first = listen(path, "x")
    path.unlink()
    second = listen(path, "x")
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_stays_and_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "control.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(ControlError, match="is no socket"):
        Served(tmp_path)
    assert path.is_symlink() or path.exists()


def test_a_path_that_the_kernel_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="longer than 107 bytes"):
        listen(tmp_path / ("x" * 120), "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(ControlError, match="cannot listen at"):
        listen(tmp_path / "file" / "control.sock", "x")


def test_where_the_socket_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert socket_path("") is None
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/edged:/run/other")
    assert socket_path("") == Path("/run/edged/control.sock")
    assert socket_path("/x/y") == Path("/x/y")


def test_without_a_path_nobody_is_listened_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    caplog.set_level("INFO")
    with ControlServer(FakeSteering(), EventLog(), ControlConfig(), IDENTITY):
        assert "no control socket: control.socket is not set" in caplog.text


def test_a_socket_that_systemd_hands_over_is_served_and_its_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "systemd.sock"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen()
        fd = os.dup(made.fileno())
        api = Served(tmp_path, listen_fds=[fd])
        with api.server:
            assert Client(path).status().device == "robot-7"
            assert not api.path.exists()
    assert path.exists()


def test_what_systemd_hands_over_must_be_a_unix_socket_that_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as idle, socket.socket() as tcp, open(os.devnull) as file:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        for fd in (idle.fileno(), tcp.fileno(), file.fileno()):
            with pytest.raises(ControlError, match="no Unix socket that listens"):
                inherited(fd)
            os.fstat(fd)  # still open: it is systemd's


def test_a_port_that_is_taken_is_named_and_nothing_stays_open(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ControlError, match=f"port {port} of 127.0.0.1"):
            loopback(port)
        with pytest.raises(ControlError):
            Served(tmp_path, health_port=port)
    assert not (tmp_path / "control.sock").exists()


def test_stopping_twice_and_without_a_start(tmp_path: Path) -> None:
    api = Served(tmp_path)
    api.server.stop()
    api.server.stop()
    assert not api.path.exists()
