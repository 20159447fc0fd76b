"""The desk beside the real daemon: changes that are confirmed and undone, and a process that is killed in a trial."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from edged.config.boot import boot
from edged.config.machine import inspect_machine
from edged.config.patch import merge
from edged.config.schema import Config
from edged.daemon import Daemon
from edged.desk import Desk
from edged.errors import ExitCode
from edged.health import Health
from edged.models.model import Model
from tests.bench.make import config_file

WAIT_S = 60.0
STATE = '[runtime]\nstate_dir = "state"\n[control]\nconfirm_s = 20.0\n'


class Beside:
    """A daemon and its desk, and what `edged run` puts between the two. `ready` is set once changes are taken."""

    def __init__(self, file: Path) -> None:
        self.booted = boot(file)
        self.ready = threading.Event()
        self.daemon = Daemon(self.booted.config, on_tick=lambda d: None if d.ready() else self.ready.set())
        self.events: queue.Queue[tuple[str, str]] = queue.Queue()
        self.desk = Desk(self, self.booted, inspect_machine(self.booted.config).models)

    def try_it(self, patch: dict[str, Any]) -> list[tuple[str, str]]:
        """A change; what is told of it until it is settled."""
        self.desk.apply(merge(self.desk.config().data, patch), base=None, by="a test").result(WAIT_S)
        return [self.events.get(timeout=WAIT_S) for _ in range(2)]

    def change(self, config: Config, models: Mapping[str, Model]) -> Future[tuple[str, ...]]:
        return self.daemon.change(config, models)

    def healths(self) -> Mapping[str, Health]:
        return self.daemon.healths()

    def stopping(self) -> bool:
        return self.daemon.stopping

    def event(self, state: str, reason: str) -> None:
        print(state, reason, flush=True)
        self.events.put((state, reason))

    def stop(self, why: str, code: ExitCode) -> None:
        self.daemon.stop(why)


def run(file: str) -> None:
    """A process: each line of stdin is the next value of `every`."""
    it = Beside(Path(file))

    def changes() -> None:
        it.desk.start()
        print("every", it.booted.data["pipelines"]["front"].get("every"), flush=True)
        it.ready.wait(WAIT_S)
        for line in sys.stdin:
            it.try_it({"pipelines": {"front": {"every": int(line)}}})

    threading.Thread(target=changes, daemon=True).start()
    sys.exit(it.daemon.run())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return config_file(tmp_path, STATE)


def test_a_change_is_confirmed_and_a_bad_one_undone(file: Path) -> None:
    it = Beside(file)
    told: list[tuple[str, str]] = []

    def changes() -> None:
        it.desk.start()
        try:
            assert it.ready.wait(WAIT_S)
            rear = {**it.booted.data["pipelines"]["front"], "every": 2}
            told.extend(it.try_it({"pipelines": {"rear": rear}}))
            bad = {"source": "/dev/video99", "model": "tiny", "sinks": ["cloud"]}
            told.extend(it.try_it({"pipelines": {"bad": bad}}))
        finally:
            it.desk.close()
            it.daemon.stop()

    thread = threading.Thread(target=changes)
    thread.start()
    assert it.daemon.run(signals=False) is ExitCode.OK
    thread.join()
    assert [state for state, _ in told] == ["trial", "confirmed", "trial", "undone"]
    assert "touches rear:" in told[0][1]
    assert "pipeline bad: faulted: source 'bad' fails at /dev/video99" in told[3][1]
    assert set(it.daemon.healths()) == {"front", "rear"}
    assert it.desk.config().revision == 2


def start(file: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )


def read_until(process: subprocess.Popen[str], word: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(word):
            return lines
    raise AssertionError(f"it ended without {word}: {lines}")


def test_a_process_that_is_killed_in_a_trial(file: Path) -> None:
    with start(file) as p:
        assert p.stdin is not None
        p.stdin.write("2\n3\n")
        p.stdin.flush()
        read_until(p, "confirmed revision 2")
        read_until(p, "trial revision 3")
        p.kill()
    with start(file) as p:
        undone, runs = read_until(p, "every")
        p.kill()
    assert undone == "undone revision 3: the process ended before it was confirmed\n"
    assert runs == "every 2\n"


if __name__ == "__main__":
    run(sys.argv[1])
