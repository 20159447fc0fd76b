"""The control API under load beside a real pipeline at 10 frames a second, which must not notice.

Two hundred clients ask for everything there is, pictures too, one reads no events, one sends garbage.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edged.config.schema import ControlConfig
from edged.control.events import EventLog
from edged.control.server import ControlServer
from edged.daemon import Daemon
from edged.looks import Look
from edged.metrics import Quantiles, Snapshot
from tests.control.fake import FakeSteering
from tests.control.http import connect
from tests.test_daemon import World

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

RATE, SECONDS = 10.0, 30.0
CLIENTS, EVERY_S = 200, 1.0

# in a process of its own, so that the daemon's interpreter is not slowed by who asks: SOCKET CLIENTS EVERY SECONDS
LOAD = """
import json, sys, threading, time
from collections import Counter
from pathlib import Path
from tests.control.http import ask
path, clients, every, seconds = Path(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:])
targets = ("/v1/status", "/metrics", "/v1/config", "/v1/health/ready", "/v1/events?follow=false",
           "/v1/pipelines/cam/snapshot.jpg")
end, seen = time.monotonic() + seconds, Counter()
def asks(i):
    time.sleep(every * i / clients)
    while time.monotonic() < end:
        seen[ask(path, "GET", targets[i % len(targets)]).status] += 1
        time.sleep(every)
threads = [threading.Thread(target=asks, args=(i,)) for i in range(clients)]
for t in threads: t.start()
for t in threads: t.join()
print(json.dumps(seen))
"""


class Real(FakeSteering):
    """What is observed is a real daemon's."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__()
        self._daemon = daemon

    def snapshot(self) -> Snapshot:
        return self._daemon.snapshot()

    def look(self, name: str) -> Look:
        return self._daemon.look(name)


@contextmanager
def running(folder: Path) -> Iterator[tuple[Daemon, Path]]:
    """A daemon with a live pipeline `cam`, and its control socket."""
    world = World(folder)
    world.model()
    world.pattern("cam", rate=RATE)
    world.sink()
    world.pipeline("cam", "cam")
    log = EventLog()
    daemon = world.daemon()
    path = folder / "control.sock"
    control = ControlConfig(socket=str(path), group="no-such-group")
    main = threading.Thread(target=daemon.run, kwargs={"signals": False})
    with ControlServer(Real(daemon), log, control, daemon.identity):
        main.start()
        try:
            yield daemon, path
        finally:
            daemon.stop()
            main.join()


def measured(daemon: Daemon, seconds: float) -> tuple[float, Quantiles]:
    """The share of frames that were dropped in so many seconds, and the age since the start."""
    before = daemon.snapshot().pipelines["cam"]
    time.sleep(seconds)
    after = daemon.snapshot().pipelines["cam"]
    assert after.offered - before.offered > 0.8 * RATE * seconds
    return (after.dropped - before.dropped) / (after.offered - before.offered), after.stages["age"]


def test_a_pipeline_does_not_notice_two_hundred_clients(tmp_path: Path) -> None:
    (tmp_path / "calm").mkdir()
    with running(tmp_path / "calm") as (daemon, _):
        _, calm = measured(daemon, SECONDS)
    (tmp_path / "busy").mkdir()
    with running(tmp_path / "busy") as (daemon, path), connect(path) as lazy, connect(path) as rude:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        rude.sendall(b"\x16\x03\x01" * 1000)
        words = [str(path), str(CLIENTS), str(EVERY_S), str(SECONDS)]
        load = subprocess.Popen(
            [sys.executable, "-c", LOAD, *words],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        dropped, busy = measured(daemon, SECONDS)
        said, _ = load.communicate(timeout=60)
    print(f"alone: {calm}; with clients: {busy}, dropped {dropped:.2%}, answers {said}")
    assert load.returncode == 0
    assert set(json.loads(said)) == {"200"}
    assert dropped < 0.01
    assert busy.p99_ms - calm.p99_ms < 1000 / RATE
