"""A machine whose power fails again and again: what is on its disk at each of those moments.

The disk has no cache of its own (run-vm -d), so that a copy of its image, made while the machine stands still, is what
a hard kill at that moment would leave. The machine goes on after each, and is killed for good at the end: hundreds of
cuts cost one start. A copy is brought up as the kernel would: its journal is replayed, and what e2fsck must mend beyond
that is a failure.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.vm import BOOT_S, HERE, OUT, job_arguments, tail

SBIN = f"{os.environ['PATH']}:/usr/sbin:/sbin"
PAUSE_S = 0.4  # at most, between two cuts


class Monitor:
    """QEMU's monitor (QMP), for one thread."""

    def __init__(self, path: Path, child: subprocess.Popen[str]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        while self._socket.connect_ex(str(path)) != 0:
            assert child.poll() is None, "the machine has ended"
            time.sleep(0.05)
        self._lines = self._socket.makefile("r")
        self._lines.readline()  # its greeting
        self.ask("qmp_capabilities")

    def ask(self, command: str) -> Any:
        self._socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "event" not in answer:
                assert "return" in answer, answer
                return answer["return"]

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@contextmanager
def _machine(module: str, folder: Path, disk: Path, carry: Sequence[Path], limit_s: int) -> Iterator[Monitor]:
    """One that runs the guest's module until it is killed."""
    place = folder / "monitor"
    command = [str(HERE / "run-vm"), "-d", str(disk), "-m", str(place), "-b", str(BOOT_S), "-t", str(limit_s)]
    command += ["-o", str(OUT / module), *job_arguments(module, folder, carry, {})]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True, start_new_session=True) as child:
        try:
            monitor = Monitor(place, child)
            yield monitor
            monitor.ask("quit")  # at once, without a word to the machine; run-vm tidies up
            monitor.close()
            child.wait(60)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)


def formatted(path: Path, megabytes: int) -> Path:
    """A disk with an empty ext4."""
    with path.open("wb") as f:
        f.truncate(megabytes << 20)
    _tool("mke2fs", "-q", "-t", "ext4", "-m", "0", str(path))
    return path


def brought_up(disk: Path, to: Path) -> Path:
    """The files on a disk whose power failed."""
    _tool("e2fsck", "-E", "journal_only", "-y", str(disk))
    _tool("e2fsck", "-f", "-p", str(disk))  # what a start does: it mends orphans, and refuses more
    to.mkdir()
    _tool("debugfs", "-R", f"rdump / {to}", str(disk))
    return to


def _tool(*command: str) -> None:
    done = subprocess.run(
        command, env={**os.environ, "PATH": SBIN}, capture_output=True, text=True, check=False
    )
    mended = command[0] == "e2fsck" and done.returncode == 1
    assert done.returncode == 0 or mended, (
        f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
    )


def power_cuts(
    module: str, folder: Path, *, file: str, times: int, limit_s: int, carry: Sequence[Path] = ()
) -> Iterator[Path]:
    """The files of /dev/vdb after each of `times` cuts at random moments, once there is a `file` on it.

    The guest's module formats nothing, mounts /dev/vdb and writes for ever.
    """
    disk, copy, found = folder / "disk.img", folder / "cut.img", folder / "found"
    chance, end = random.Random(times), time.monotonic() + limit_s + BOOT_S
    formatted(disk, 64)
    with _machine(module, folder, disk, carry, limit_s) as monitor:
        left = times
        while left:
            time.sleep(chance.random() * PAUSE_S)
            monitor.ask("stop")
            shutil.copyfile(disk, copy)
            monitor.ask("cont")
            shutil.rmtree(found, ignore_errors=True)
            brought_up(copy, found)
            if (found / file).exists() or left < times:
                left -= 1
                yield found
            elif time.monotonic() > end:
                out = OUT / module
                pytest.fail(f"no {file} on the disk\n{tail(out / 'console.log', 40)}", pytrace=False)
