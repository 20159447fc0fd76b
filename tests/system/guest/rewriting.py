"""Changes of the configuration without end, on a disk whose power fails: the real desk and store, and a runtime that
does at once what it is told. Every third change fails, and is undone.

What was sent and what was confirmed is kept beside it, so that whoever looks at the disk knows what may be on it.
"""

from __future__ import annotations

import itertools
import os
import queue
import shutil
import struct
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from edged.config.boot import boot
from edged.config.machine import inspect_machine
from edged.config.patch import merge
from edged.config.revisions import folder_of
from edged.config.schema import Config
from edged.desk import Desk
from edged.errors import ExitCode
from edged.health import Health
from edged.models.model import Model
from edged.steering import Busy

DATA, CARRIED = Path("/data"), Path("/tmp/checkout/tiny")
FILE, SENT, CONFIRMED = "edged.toml", "sent", "confirmed"
REVISIONS = folder_of(Path("state"), DATA / FILE)  # on the disk
CONFIG = """
[runtime]
state_dir = "state"
[pipelines.front]
source = {kind = "pattern", size = [64, 48], rate = 25}
model = "tiny"
sinks = ["log"]
[models.tiny]
path = "tiny"
[sinks.log]
kind = "jsonl"
path = "/tmp/results.jsonl"
"""
FAILS_EVERY = 3
_NUMBER = struct.Struct("<Q")


def fails(number: int) -> bool:
    return number % FAILS_EVERY == 0


def number_of(data: Mapping[str, Any]) -> int:
    """Which change made this configuration; 0: none."""
    return int(data["pipelines"]["front"].get("every", 0))


def changed(data: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Of another length than the one before."""
    path = f"/tmp/{'./' * (number * 7919 % 1500)}results.jsonl"
    patch = {"pipelines": {"front": {"every": number}}, "sinks": {"log": {"path": path}}}
    made: dict[str, Any] = merge(data, patch)
    return made


def applied(desk: Desk, data: Mapping[str, Any]) -> None:
    while True:
        try:
            desk.apply(data, base=None, by="a test").result()
            return
        except Busy:  # it tells of an outcome before it takes the next change
            time.sleep(0.001)


class Mark:
    """A number that is on the disk once `set` is done: one sector, written in its place."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
        self.set(0)

    def set(self, number: int) -> None:
        os.pwrite(self._fd, _NUMBER.pack(number), 0)

    @staticmethod
    def read(path: Path) -> int:
        (number,) = _NUMBER.unpack(path.read_bytes())
        return int(number)


class AtOnce:
    """A rollout.Runtime."""

    def __init__(self) -> None:
        self.told: queue.Queue[tuple[str, str]] = queue.Queue()
        self._health = Health("running", "", 0.0)

    def change(self, config: Config, models: Mapping[str, Model]) -> Future[tuple[str, ...]]:
        bad = fails(config.pipelines["front"].every)
        self._health = Health("faulted", "it is a third one", 0.0) if bad else Health("running", "", 0.0)
        done: Future[tuple[str, ...]] = Future()
        done.set_result(("front",))
        return done

    def healths(self) -> Mapping[str, Health]:
        return {"front": self._health}

    def stopping(self) -> bool:
        return False

    def event(self, state: str, reason: str) -> None:
        self.told.put((state, reason))

    def stop(self, why: str, code: ExitCode) -> None:
        raise AssertionError(why)


def main() -> None:
    DATA.mkdir()
    subprocess.run(["mount", "/dev/vdb", str(DATA)], check=True)
    shutil.copytree(CARRIED, DATA / "tiny")
    (DATA / FILE).write_text(CONFIG)
    sent, confirmed = Mark(DATA / SENT), Mark(DATA / CONFIRMED)
    os.sync()
    booted, runtime = boot(DATA / FILE), AtOnce()
    clock = map(float, itertools.count(0, 10))  # each look at a trial is ten seconds after the one before
    desk = Desk(
        runtime,
        booted,
        inspect_machine(booted.config).models,
        clock=lambda: next(clock),
        pause=lambda _: False,
    )
    desk.start()
    for number in itertools.count(1):
        sent.set(number)
        applied(desk, changed(booted.data, number))
        while (told := runtime.told.get()[0]) == "trial":
            pass
        assert told == ("undone" if fails(number) else "confirmed")
        if told == "confirmed":
            confirmed.set(number)


if __name__ == "__main__":
    main()
