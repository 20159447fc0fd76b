"""Who may change things: as the kernel says who asks."""

from __future__ import annotations

import grp
import json
import os
import pwd
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edged.control import rights
from edged.control.rights import Peer, may_change
from tests.control.fake import DATA, Served, served
from tests.control.http import ask

NOBODY = pwd.getpwnam("nobody")

# what a process of another user gets: `python -c THIS SOCKET UID GID [GID...]`
STRANGER = """
import encodings.latin_1, json, os, sys  # what the other user may not read is imported before
from pathlib import Path
path, uid, *gids = sys.argv[1:]
from tests.control.http import ask
os.setgroups([int(g) for g in gids[1:]])
os.setgid(int(gids[0]))
os.setuid(int(uid))
asked = [("GET", "/v1/status", None), ("POST", "/v1/pipelines/front/pause", None),
         ("PUT", "/v1/config", json.loads(os.environ["DATA"])), ("POST", "/v1/config/revert", {})]
answers = [ask(Path(path), *a, {"If-Match": "*"}) for a in asked]
print(json.dumps([[a.status, a.json.get("hint")] for a in answers]))
"""


def stranger(path: Path, uid: int, *gids: int) -> list[list[object]]:
    """Statuses and hints; the process has only these groups."""
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(path), str(uid), *map(str, gids)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "DATA": json.dumps(DATA)},
    )
    answers: list[list[object]] = json.loads(done.stdout)
    return answers


def test_the_peer_is_who_connected() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert Peer.of(one) == Peer(os.getpid(), os.getuid(), os.getgid())
    assert str(Peer(1, 0, 0)) == "uid 0 (root)"
    assert str(Peer(1, 3_999_999, 0)) == "uid 3999999"


def test_root_and_the_daemons_own_user_may() -> None:
    assert may_change(Peer(1, 0, 12345), "nobody-has-it")
    assert may_change(Peer(1, os.geteuid(), 12345), "nobody-has-it")
    assert not may_change(Peer(1, 3_999_999, 3_999_999), "nobody-has-it")


def test_members_of_the_group_may_by_their_primary_and_their_other_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = grp.getgrgid(NOBODY.pw_gid)
    assert may_change(Peer(1, 3_999_999, group.gr_gid), group.gr_name)
    asked = []

    def groups(name: str, gid: int) -> list[int]:
        asked.append((name, gid))
        return [gid, 77_777]

    monkeypatch.setattr(os, "getgrouplist", groups)
    monkeypatch.setattr(rights, "group_id", lambda name: 77_777)
    assert may_change(Peer(1, NOBODY.pw_uid, NOBODY.pw_gid), "edged")
    assert asked == [("nobody", NOBODY.pw_gid)]


def test_a_user_database_that_hangs_holds_up_no_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, asked = threading.Event(), threading.Semaphore(0)

    def name(uid: int) -> str:
        asked.release()
        assert hangs.wait(10)
        return "somebody"

    monkeypatch.setattr(rights, "_name", name)
    with served(tmp_path) as api, ThreadPoolExecutor(3) as threads:
        try:
            pause = "/v1/pipelines/front/pause"
            changes = [threads.submit(ask, api.path, "POST", pause) for _ in range(3)]
            assert all(asked.acquire(timeout=5) for _ in changes)
            for path in ("/v1/health/live", "/v1/status", "/metrics"):
                assert ask(api.path, "GET", path).status == 200
            assert not any(c.done() for c in changes)
        finally:
            hangs.set()
        assert [c.result(5).status for c in changes] == [200] * 3


def test_a_user_database_that_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(rights, "_name", lambda uid: str(hangs.wait(10)))
    monkeypatch.setattr("edged.control.server.ADMIT_S", 0.05)
    with served(tmp_path) as api:
        assert ask(api.path, "POST", "/v1/pipelines/front/pause").status == 504
        assert api.steering.verbs == []
        hangs.set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_stranger_may_read_and_change_nothing(tmp_path: Path) -> None:
    _open_to_all(tmp_path)
    with served(tmp_path, group="no-such-group") as api:
        api.path.chmod(0o666)
        read, *changes = stranger(api.path, NOBODY.pw_uid, NOBODY.pw_gid)
        assert read[0] == 200
        assert [status for status, _ in changes] == [403, 403, 403]
        assert all("usermod -aG no-such-group" in str(hint) for _, hint in changes)
        assert api.steering.verbs == []
        assert api.steering.config().revision == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_member_of_the_group_may_do_both(tmp_path: Path) -> None:
    _open_to_all(tmp_path)
    group = grp.getgrgid(NOBODY.pw_gid)
    with served(tmp_path, group=group.gr_name) as api:
        assert api.path.stat().st_gid == group.gr_gid
        assert [s for s, _ in stranger(api.path, 3_999_999, group.gr_gid)] == [200, 200, 200, 200]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_who_is_not_in_the_group_cannot_open_the_socket(tmp_path: Path) -> None:
    _open_to_all(tmp_path)
    with served(tmp_path) as api:
        with pytest.raises(subprocess.CalledProcessError) as refused:
            stranger(api.path, NOBODY.pw_uid, NOBODY.pw_gid)
        assert "PermissionError" in refused.value.stderr


def _open_to_all(folder: Path) -> None:
    """Pytest's folders are root's alone."""
    for part in (folder, *folder.parents):
        if part.stat().st_uid == os.geteuid() and part.is_relative_to("/tmp") and part != Path("/tmp"):
            part.chmod(0o755)


def test_nobody_may_over_tcp(tmp_path: Path) -> None:
    """The loopback port has health and metrics alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Served(tmp_path, health_port=port)
    with made.server:

        def get(method: str, target: str) -> int:
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                return int(sock.recv(65536).split()[1])

        assert [get("GET", t) for t in ("/v1/health/live", "/v1/health/ready", "/metrics")] == [200, 200, 200]
        assert [get("GET", t) for t in ("/v1/status", "/v1/config", "/openapi.json")] == [404, 404, 404]
        assert get("POST", "/v1/pipelines/front/pause") == 404
        assert ask(made.path, "GET", "/v1/status").status == 200
