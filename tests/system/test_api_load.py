"""The control API of `edged run` under load beside a pipeline at 10 frames a second, which must not notice.

Two hundred clients ask for everything there is, pictures too, one reads no events, one sends garbage.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edged.control.client import Client
from edged.metrics import Quantiles
from tests.control.http import connect
from tests.system.daemon import config_file, running
from tests.system.vm import ROOT

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

RATE, CALM_S, SECONDS = 10.0, 15.0, 30.0
CLIENTS, EVERY_S = 200, 1.0

# in a process of its own, so that many threads ask at once: SOCKET CLIENTS EVERY SECONDS
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


CONFIG = """
[pipelines.cam]
source = {kind = "pattern", size = [640, 480], rate = 10}
model = "tiny"
sinks = ["log"]
[models.tiny]
path = "tiny"
options = {threads = 1}
[sinks.log]
kind = "jsonl"
path = "results.jsonl"
"""


def measured(client: Client, seconds: float) -> tuple[float, Quantiles]:
    """The share of frames that were dropped in so many seconds, and the age since the start."""
    before = client.status().snapshot.pipelines["cam"]
    time.sleep(seconds)
    after = client.status().snapshot.pipelines["cam"]
    assert after.inferred - before.inferred > 0.95 * RATE * seconds
    return (after.dropped - before.dropped) / (after.offered - before.offered), after.stages["age"]


def test_a_pipeline_does_not_notice_two_hundred_clients(tmp_path: Path) -> None:
    file, path = config_file(tmp_path, CONFIG), tmp_path / "control.sock"
    with running(file) as daemon:
        _, calm = measured(daemon.client, CALM_S)
    with running(file) as daemon, connect(path) as lazy, connect(path) as rude:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        rude.sendall(b"\x16\x03\x01" * 1000)
        words = [str(path), str(CLIENTS), str(EVERY_S), str(SECONDS)]
        load = subprocess.Popen(
            [sys.executable, "-c", LOAD, *words],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        dropped, busy = measured(daemon.client, SECONDS)
        said, _ = load.communicate(timeout=60)
    print(f"alone: {calm}; with clients: {busy}, dropped {dropped:.2%}, answers {said}")
    assert load.returncode == 0
    assert set(json.loads(said)) == {"200"}
    assert dropped < 0.01
    assert busy.p99_ms - calm.p99_ms < 1000 / RATE
