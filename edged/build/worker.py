"""The builder's process: `python -m edged.build.worker FOLDER PARENT [TIMING]`. FOLDER holds request.json and takes the
plan; TIMING has the caches of earlier builds.

It lowers itself below all that serves, and dies with the process that started it. Events go to the pipe that was its
standard output; what libraries print goes to standard error, which is the log.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from edged.build.events import Done, Event, Failed, Stage
from edged.build.inspection import Inspected, inspect
from edged.build.network import Building, check_capabilities, failure, is_weakly_typed
from edged.build.onnx_graph import prepare
from edged.build.request import Request
from edged.engines.tensorrt_library import Library, library
from edged.errors import EdgedError, EngineError
from edged.models.durable import remedy

REQUEST, PLAN, CACHE = "request.json", "model.plan", "timing.cache"
_NICE = 19
_OOM_SCORE = 1000  # the kernel's first choice when memory is short
_PR_SET_PDEATHSIG = 1
_IDLE = 3 << 13  # ioprio_set: class idle
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}


def main(folder: Path, parent: int, timing: Path | None = None) -> int:
    tell = _teller()
    _die_with(parent)
    _give_way()
    # what TensorRT says goes to the log, for the one who reads how the process died
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("edged").setLevel(logging.DEBUG)
    try:
        request = msgspec.json.decode((folder / REQUEST).read_bytes(), type=Request)
        tell(_work(folder, request, timing, tell))
    except EdgedError as e:
        tell(Failed(e.message, e.hint, int(e.exit_code)))
    except OSError as e:
        if e.errno is None:  # a library's own: a defect, and the log has where
            raise
        name = e.filename if isinstance(e.filename, str) else str(folder)  # a write knows no name
        where = os.fsencode(name).decode(errors="replace")
        failed = f"the builder cannot go on: {where}: {e.strerror}"
        tell(Failed(failed, remedy(e), int(EngineError.exit_code)))
    except MemoryError:
        short = failure("out of memory: the builder could not get more")
        tell(Failed(short.message, short.hint, int(short.exit_code)))
    return 0


def _work(folder: Path, request: Request, timing: Path | None, tell: Callable[[Event], None]) -> Done:
    found = library(request.engine, build=True)
    gpu, capabilities = _target(found, request)
    half = request.precision != "fp32" and not is_weakly_typed(found, request)
    prepared = prepare(request, half, lambda name: tell(Stage(name)))
    tell(Stage("parse"))
    building = Building(found, request, tell)
    network = building.parse(prepared.model.SerializeToString())
    tell(Stage("build"))
    before = None if timing is None else timing / cache_name(request.engine, found.version, gpu)
    built = building.build(network, before.read_bytes() if before is not None and before.is_file() else b"")
    plan = folder / PLAN
    for file, data in ((plan, built.plan), (folder / CACHE, building.timing_cache())):
        with file.open("xb") as f:
            f.write(data)
    tell(Stage("inspect"))
    seen = _inspected(found, plan, request)
    return Done(
        version=found.version,
        gpu=gpu,
        capabilities=capabilities,
        activation_bytes=seen.activation_bytes,
        weight_bytes=seen.weight_bytes,
        layers=seen.layers or built.layers,
        layers_of="engine" if seen.layers else "network",
        notes=prepared.notes,
    )


def cache_name(engine: str, version: str, gpu: str | None) -> str:
    """Of the timing cache: what was timed by one version and on one kind of GPU is worth nothing to another."""
    return f"{engine}_{version}_{re.sub('[^A-Za-z0-9]+', '-', gpu or 'none')}.cache"


def _target(found: Library, request: Request) -> tuple[str | None, tuple[str, ...]]:
    """The GPU's name and the capabilities that the plan is for. BuildError where TensorRT finds no GPU."""
    if request.engine == "tensorrt-rtx":
        check_capabilities(found, request)
        return None, request.capabilities
    from edged.build.gpu import gpu_at_hand

    gpu = gpu_at_hand()
    return gpu.name, (gpu.capability,)


def _inspected(found: Library, plan: Path, request: Request) -> Inspected:
    """Nothing is known of a plan for other GPUs than the one at hand."""
    return Inspected() if request.engine == "tensorrt-rtx" else inspect(found, plan)


def _teller() -> Callable[[Event], None]:
    """Take standard output for events, and give libraries the log in its place."""
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    lock = threading.Lock()

    def tell(event: Event) -> None:
        line = msgspec.json.encode(event) + b"\n"
        with lock:  # TensorRT's threads report, too
            pipe.write(line)

    return tell


def _die_with(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before this was asked for
        raise SystemExit(1)


def _give_way() -> None:
    """CPU: only what others leave. Disk: the same, where the scheduler knows it. Memory: die first."""
    os.nice(_NICE)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _IDLE)
    try:
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    except OSError as e:
        print(f"oom_score_adj stays: {e}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:])))
