"""A process that has imported all that edged needs and becomes `edged run --quiet FILE` in a moment, again and again.

Each line of stdin is a FILE: a child runs it, its process id goes to stdout, and its status once it has ended. What is
left out of a real start is the second of imports.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys

from edged.cli.main import build_parser, main

LATE = (  # what edged itself imports on use only
    "cv2",
    "edged.control.server",
    "edged.engines.onnxruntime",
    "edged.sinks.jsonl",
    "edged.sources.pattern",
    "onnxruntime",
)
PR_SET_PDEATHSIG = 1


def become(file: str) -> int:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for fd, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY)):  # the zygote's own
        os.dup2(os.open(os.devnull, mode), fd)
    return main(["run", "--quiet", file])


if __name__ == "__main__":
    build_parser()
    for module in LATE:
        importlib.import_module(module)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os._exit(become(line.rstrip("\n")))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
