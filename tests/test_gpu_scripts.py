"""scripts/bench/gpu.py and preprocess_gpu.py where there is no GPU: what they measure with is sound."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from _gpu import nets, preprocess, rig
from _gpu.preprocess_peers import PEERS, Job, Launch
from edged.daemon import Daemon
from edged.devices.cuda.device import CudaDevice
from edged.frames import FrameSpec, PixelFormat
from tests.cuda.standin import standin, standin_device

FRAMES, WARM = 4000, 1000


def test_a_frame_leaves_nothing_behind_in_the_daemon_or_in_what_measures_it(tmp_path: Path) -> None:
    model = nets.make_all(tmp_path, None, ["empty"])["empty"]
    blocks: list[int] = []

    def mark(daemon: Daemon) -> None:
        blocks.append(sys.getallocatedblocks())

    found = rig.Run(
        rig.configuration(model, "cpu"),
        spec=FrameSpec(64, 48, PixelFormat.NV12),
        frames=FRAMES,
        warm=WARM,
        at_frames={WARM: mark, WARM + FRAMES - 1: mark},
    ).go()
    assert found["frames"] == FRAMES
    assert 0 < found["age_p50_ms"] <= found["age_p99_ms"]
    assert blocks[1] - blocks[0] < FRAMES / 5, "an object a frame would be FRAMES"


def copier(job: Job) -> Launch:
    """Another library that does nothing at all."""
    return lambda i: None


def test_other_libraries_are_told_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(*_: object) -> CudaDevice:
        return standin_device()

    monkeypatch.setattr(preprocess, "POOL_BYTES", 0)
    monkeypatch.setattr(preprocess, "COPY_BYTES", 1 << 16)
    monkeypatch.setattr(preprocess, "LAUNCHES", 1)
    monkeypatch.setattr(preprocess, "ROUNDS", 1)
    monkeypatch.setattr(preprocess, "PEERS", (*PEERS, ("numpy", "nothing", copier)))
    for library in ("cvcuda", "torch"):
        monkeypatch.setitem(sys.modules, library, None)
    with standin():
        found = preprocess.measure(1, 64, small)
    assert [(c["memory"], c["dtype"]) for c in found["cases"]] == [
        (m, d) for m in ("mapped", "device") for d in ("float16", "float32")
    ]
    *others, nothing = found["peers"]
    assert len(others) == len(PEERS)
    assert all("import of" in p["absent"] for p in others)
    assert nothing["agrees"] is False
    assert nothing["version"] == np.__version__
    assert nothing["ms"] >= 0
