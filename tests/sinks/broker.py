"""A real mosquitto on a free loopback port, for one test."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.sinks.make import free_port


def mosquitto() -> str:
    """Where the broker is; skips the test when it is nowhere."""
    path = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if path is None:
        pytest.skip("mosquitto is absent: apt-get install mosquitto")
    return path


class Broker:
    """Configured by lines of mosquitto.conf; started again on the same port; ended by its process id."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._folder = folder
        self._config = folder / "mosquitto.conf"
        base = [f"listener {self.port} 127.0.0.1", f"user {getpass.getuser()}", "persistence false"]
        if not any(line.startswith("allow_anonymous") for line in lines):
            base.append("allow_anonymous true")
        self._config.write_text("\n".join([*base, *lines]) + "\n")
        self._path = mosquitto()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Broker:
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._path, "-v", "-c", str(self._config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        end = time.monotonic() + 10
        while time.monotonic() < end and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            except OSError:
                continue
            return self
        raise AssertionError(f"mosquitto did not start:\n{self.log()}")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        return (self._folder / "mosquitto.log").read_text(errors="replace")

    def __enter__(self) -> Broker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
