"""The zero-copy rungs on the kernel's own driver, for a device that is the CPU under another name.

The driver's side is real: its buffers as slots, their export, what it wrote over the sentinel, and their end. The GPU's
side is not: "registering" gives the host's address, "importing" maps the dmabuf.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from edged.devices.cpu import CpuDevice
from edged.devices.cpu_stream import CpuStream
from edged.frames import U8, Memory
from edged.interfaces import Shared
from edged.memory import Region, Slots, Want
from edged.sources._v4l2_options import V4l2Options
from edged.sources.v4l2 import V4l2Source
from edged.tensors import TensorView
from tests.system.guest.camera import read

RUNGS = ("mmap-register", "userptr-register", "userptr-hostalloc", "dmabuf")
FRAMES = 6


class _Stream(CpuStream):
    def copy(self, target: TensorView, source: TensorView) -> None:
        self.call(lambda: ctypes.memmove(target.address, source.address, target.spec.nbytes))


@dataclass(frozen=True)
class _Mapped:
    pages: mmap.mmap
    view: U8

    @property
    def address(self) -> int:
        return int(self.view.ctypes.data)

    def close(self) -> None:
        """Unmapped when the last reference goes."""


class Pretended(CpuDevice):
    """Says of host memory that it is mapped."""

    name = "pretended"
    frame_memory = Memory.MAPPED

    def region(self, owner: str, wants: Sequence[Want]) -> Region:
        made = super().region(owner, [replace(w, memory=Memory.HOST) for w in wants])
        kinds = {w.name: w.memory for w in wants}
        made._pieces = {n: replace(p, memory=kinds[n]) for n, p in made._pieces.items()}
        return made

    def stream(self, priority: int = 0, name: str = "") -> CpuStream:
        return _Stream(name or "pretended")

    def share_dmabuf(self, fd: int, nbytes: int) -> Shared:
        pages = mmap.mmap(fd, nbytes)
        return _Mapped(pages, np.frombuffer(pages, np.uint8))


def rung(device: str, name: str, fmt: str) -> str:
    """Two rounds: pictures where the device reads them, one kept beyond `close`, all given back."""
    target = Pretended()
    options = {"device": device, "size": [320, 180], "format": fmt, "memory": name}
    source = V4l2Source("test", msgspec.convert(options, V4l2Options))
    said = ""
    for _ in range(2):
        source.attach(target, FRAMES)
        spec = source.open()
        memory = source.slot_memory
        wants = Slots.wants(FRAMES, spec.nbytes, memory) if memory is not None else []
        region = target.region("test", wants)
        source.start(Slots.of(region, len(wants)))
        said = source.facts["memory"]
        addresses = set()
        for _ in range(3 * FRAMES):
            frame = read(source)
            addresses.add(frame.device_address)
            seen = np.ctypeslib.as_array((ctypes.c_ubyte * spec.nbytes).from_address(frame.device_address))
            planes = spec.views(seen)
            assert all((a == b).all() for a, b in zip(planes, frame.planes, strict=True))
            assert frame.copied == 0
            frame.release()
        assert len(addresses) > 1, addresses
        kept = read(source)
        before = kept.planes[0].copy()
        source.close()
        assert (kept.planes[0] == before).all()
        kept.release()
        source.close()
        region.close()
    assert target.budget.held == 0
    return said


def best(device: str) -> str:
    """What `auto` comes to, and why not what is before it."""
    target = Pretended()
    options = {"device": device, "size": [320, 180]}
    source = V4l2Source("test", msgspec.convert(options, V4l2Options))
    source.attach(target, FRAMES)
    try:
        source.open()
        rung = source._ladder.rung
        assert rung is not None
        refused = {k[3:]: v for k, v in source.facts.items() if k.startswith("no ")}
        return f"{rung.name}; refused: {refused}"
    finally:
        source.close()
