"""Starts the builder's process, listens to it, and says why it ended. Killed with whatever ends the caller."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edged import children
from edged.build.cap import Cap, make_cap
from edged.build.events import Done, Event, Failed
from edged.build.network import failure
from edged.build.request import BuildError, Request
from edged.build.worker import REQUEST
from edged.config.quantities import format_size
from edged.errors import ExitCode
from edged.models.durable import remedy

LOG = "log"
_LOOK_S = 0.25
_LAST_LINES = 15
_decoder = msgspec.json.Decoder(Event)


def run_worker(
    request: Request,
    folder: Path,
    on_event: Callable[[Event], None],
    cap: Cap | None = None,
    timing: Path | None = None,
) -> Done:
    """Build in a process of its own, in `folder`; the plan and the timing cache are there afterwards.

    `timing`: the folder of timing caches that the builder may begin with. `on_event` is called in this thread. The
    process is killed and waited for however this ends, Ctrl-C included; it also dies with this one. BuildError tells
    the builder's own reason, or how it died and what it logged last.
    """
    cap = cap or make_cap(request.memory)
    try:
        process = _started(request, folder, cap, timing)
        try:
            cap.enter(process.pid)
            last, over = _listen(process, on_event, cap)
            status = process.wait()
            if isinstance(last, Done) and status == 0:
                return last
            raise _reason(
                request,
                last,
                status,
                over or (status == -signal.SIGKILL and cap.killed()),
                _tail(folder / LOG),
            )
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    finally:
        cap.close()


def _started(request: Request, folder: Path, cap: Cap, timing: Path | None) -> subprocess.Popen[bytes]:
    words = (str(folder), str(os.getpid()), *(() if timing is None else (str(timing),)))
    try:
        with (folder / REQUEST).open("xb") as f:
            f.write(msgspec.json.encode(request))
        with (folder / LOG).open("xb") as log:
            return subprocess.Popen(
                cap.command(children.command("edged.build.worker", *words)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us alone
                env=children.environment(),
            )
    except UnicodeEncodeError as e:  # no configuration could name it, either
        raise BuildError(f"{request.model}: a path of the build is not UTF-8", hint="rename it") from e
    except OSError as e:
        raise BuildError(
            f"{request.model}: the builder cannot start in {folder}: {e.strerror or e}", hint=remedy(e)
        ) from e


def _listen(
    process: subprocess.Popen[bytes], on_event: Callable[[Event], None], cap: Cap
) -> tuple[Event | None, bool]:
    """The last event, and whether the process had to be killed for its memory."""
    last: Event | None = None
    over = False
    for line in _lines(process):
        if line is not None:
            last = _decoder.decode(line)
            on_event(last)
        elif not over and cap.exceeded(process.pid):
            over = True
            process.kill()
    return last, over


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes | None]:
    """Lines as they come; None whenever a while has passed. Ends with the pipe; half a line is dropped."""
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(_LOOK_S):
                yield None
                continue
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
            yield None


def _tail(log: Path) -> str:
    """The last lines of the builder's log."""
    lines = log.read_bytes().decode(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])


def _reason(request: Request, last: Event | None, status: int, short: bool, log: str) -> BuildError:
    """Why there is no plan."""
    if isinstance(last, Failed):
        told = BuildError(last.message, hint=last.hint)
        told.exit_code = ExitCode(last.exit_code)
        return told
    said = f"; it said last:\n{log}" if log else ""
    if short:
        cap = f", more than its cap of {format_size(request.memory)}" if request.memory else ""
        return BuildError(
            f"{request.model}: out of memory: the builder was killed because it took too much{cap}{said}",
            hint="give it more (--memory), stop what else runs, or build smaller: --workspace, shapes, "
            "optimization level",
        )
    if status == -signal.SIGKILL:
        return BuildError(f"{request.model}: the builder was killed from outside{said}", hint="build again")
    if status < 0:
        return BuildError(
            f"{request.model}: the builder crashed ({signal.Signals(-status).name}){said}",
            hint="try --no-simplify, another --precision, or a smaller graph; if it crashes still, report it",
        )
    if "bad_alloc" in log or "MemoryError" in log:
        return failure(f"{request.model}: out of memory: the builder could not get more{said}")
    return BuildError(
        f"{request.model}: the builder ended with status {status}{said}",
        hint="this is a defect: please report it",
    )
