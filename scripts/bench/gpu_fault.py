"""A daemon whose GPU meets a kernel that writes to a wild address: `python scripts/bench/gpu_fault.py MODEL_DIRECTORY`.

Prints the moment (time.monotonic()) at which the kernel was launched; should end with status 11 within a second.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from _gpu import rig  # noqa: E402
from edged.devices.cuda.driver import Function, Module  # noqa: E402
from edged.devices.cuda.nvrtc import find  # noqa: E402
from edged.devices.cuda.probe import describe  # noqa: E402

SOURCE = 'extern "C" __global__ void crash() { *(volatile int*)16 = 1; }'


def main() -> int:
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    crash: list[Function] = []

    def load(daemon: Any) -> None:
        image = find().compile(SOURCE, "crash.cu", describe(0).arch)
        crash.append(Module(image.code).function("crash"))

    def launch(daemon: Any) -> None:
        (runner,) = daemon.runners.values()
        print(time.monotonic(), flush=True)
        crash[0].launch((1, 1, 1), (1, 1, 1), (), runner._stream.handle)

    config = rig.configuration(Path(sys.argv[1]), "cuda", options='conv_search = "heuristic"')
    rig.Run(config, rate=100.0, seconds=20.0, warm=10, at_frames={20: load, 60: launch}).go()
    return 0


if __name__ == "__main__":
    sys.exit(main())
