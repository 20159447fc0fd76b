"""A daemon on the stand-in driver whose GPU is lost while it runs: `python -m tests.cuda.doomed FOLDER FRAMES`.

Prints the time at which the fault was injected. With FRAMES = "ok" it ends by itself and prints its snapshot.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edged.assembly import Makers
from edged.config.load import loads
from edged.config.schema import ModelConfig
from edged.daemon import Daemon, Limits
from edged.devices import choose
from edged.devices.cuda import device as device_module
from edged.devices.cuda.probe import Finding
from edged.engines.fake import FakeEngine
from edged.interfaces import Device, Engine, Stream
from edged.messages import Result
from edged.models.model import Model
from edged.models.plans import PlanStore
from edged.pipeline import Job
from edged.tensors import TensorSpec
from tests import onnx_models
from tests.cuda.standin import StandinFunctions, _emulation, standin

F32 = np.dtype(np.float32)
X, Y = TensorSpec("x", (1, 3, 4, 6), F32), TensorSpec("y", (1, 3, 4, 6), F32)


def engine(model: Model, config: ModelConfig, device: Device, stream: Stream, plans: PlanStore) -> Engine:
    return FakeEngine([X], [Y], lambda a: {"y": np.maximum(a["x"], 0)}, device=device)


def main(folder: Path, fault_at: int | None) -> int:
    made = onnx_models.relu(folder / "m.onnx")
    onnx_models.model_toml(folder, made, size=(6, 4), top='version = "2"')
    config = loads(
        f"""
        runtime.device = "cuda"
        [models.m]
        path = "{folder}"
        [pipelines.p]
        source = {{kind = "pattern", size = [64, 48], rate = 200, format = "NV12"}}
        model = "m"
        sinks = ["log"]
        [sinks.log]
        kind = "jsonl"
        path = "{folder}/out.jsonl"
        """,
        base=folder,
    )
    with standin() as driver:
        daemon = Daemon(config, Limits(frames=50), makers=Makers(engine=engine))

        def inject(job: Job, result: Result) -> None:
            if result.seq == fault_at:
                print(time.monotonic(), flush=True)
                driver.stick(700)

        daemon.pipelines["p"].on_result = inject
        code = daemon.run()
        print(msgspec.json.encode(daemon.snapshot()).decode())
        return int(code)


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    patched: Any = device_module
    patched.Kernels = lambda *_: StandinFunctions(_emulation())
    choosing: Any = choose
    choosing.choose_device.__defaults__ = (lambda: Finding(("Stand-in 0", "Stand-in 1")),)
    sys.exit(main(Path(sys.argv[1]), None if sys.argv[2] == "ok" else int(sys.argv[2])))
