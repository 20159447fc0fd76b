"""Prometheus's own promtool, from Debian, reads the metrics of `edged run` and of all that a daemon may have to say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.control.fake import served
from tests.control.http import ask
from tests.system.daemon import config_file, running
from tests.system.vm import image

pytestmark = pytest.mark.system

CONFIG = """
[pipelines.front]
source = {kind = "pattern", size = [64, 48], rate = 20}
model = "tiny"
sinks = ["log"]
[models.tiny]
path = "tiny"
[sinks.log]
kind = "jsonl"
path = "results.jsonl"
"""


def check(metrics: bytes) -> None:
    promtool = image() / "promtool"
    if not promtool.is_file():
        pytest.skip(f"{promtool} is absent: scripts/test --system builds it")
    done = subprocess.run([promtool, "check", "metrics"], input=metrics, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_it_has_nothing_to_say_of_a_running_daemon(tmp_path: Path) -> None:
    with running(config_file(tmp_path, CONFIG)) as daemon:
        text = daemon.client.text("/metrics")
    assert 'pipeline="front"' in text
    check(text.encode())


def test_nor_of_every_metric_that_there_is(tmp_path: Path) -> None:
    """Of a stand-in that has sensors, pressure, faults and sync groups, too."""
    with served(tmp_path) as api:
        check(ask(api.path, "GET", "/metrics").body)
