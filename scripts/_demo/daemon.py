"""The daemon as a child process: its configuration, its start and its end."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edged.errors import EdgedError

EDGED = str(Path(sys.executable).with_name("edged"))
STOP_S = 8.0  # the daemon drains within 5 s of SIGTERM

LIVE = """\
[device]
id = "demo"

[pipelines.faces]
source = "camera"
model = "centerface"
sinks = ["bus"]

[sources.camera]
kind = "video"
{source}

[models.centerface]
path = "{model}"

[sinks.bus]
kind = "zmq"
bind = "{url}"
"""

STILL = """\
[device]
id = "demo"

[pipelines.faces]
source = "{picture}"
model = "centerface"
sinks = ["file"]

[models.centerface]
path = "{model}"

[sinks.file]
kind = "jsonl"
path = "{results}"
"""


def command(*arguments: str, cwd: Path) -> None:
    """Run `edged ...` to its end; EdgedError with what it printed when it fails."""
    print(f"    edged {' '.join(arguments)}", flush=True)
    done = subprocess.run([EDGED, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgedError(
            f"it failed with exit status {done.returncode}:\n{done.stdout}{done.stderr}".rstrip()
        )


def free_url(port: int = 5556) -> str:
    """An address for the sink: edged's own port, or any free one when another program has that."""
    for wanted in (port, 0):
        with socket.socket() as s:
            # as the sink will bind: a port that only lingers from the last run is free
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return f"tcp://127.0.0.1:{s.getsockname()[1]}"
    raise EdgedError("no free TCP port on 127.0.0.1", hint="end other programs that hold ports")


@contextmanager
def running(config: Path, seconds: float, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`edged run CONFIG --seconds N` with its output in `log`; ended when the block is left."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            [EDGED, "run", str(config), "--seconds", f"{seconds:g}"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            yield child
        finally:
            if child.poll() is None:
                child.terminate()
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
