"""A source on a fake camera."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from edged.errors import SourceError
from edged.frames import Frame
from edged.memory import Slots
from edged.sources._v4l2_options import V4l2Options
from edged.sources.v4l2 import V4l2Source
from edged.sources.v4l2_fake import FakeCamera, FakeKernel
from tests.sources.make import slots

DEVICE = "/dev/video0"


def source(camera: FakeCamera, **options: Any) -> V4l2Source:
    """Options as a configuration has them."""
    made = msgspec.convert({"device": DEVICE, **options}, V4l2Options)
    return V4l2Source("front", made, FakeKernel({DEVICE: camera}))


class Rig:
    """A started source; closes it, and checks that nothing is left."""

    def __init__(self, camera: FakeCamera, count: int = 4, **options: Any) -> None:
        self.camera = camera
        self.source = source(camera, **options)
        self.slots: Slots | None = None
        self.count = count

    def start(self) -> Slots:
        self.spec = self.source.open()
        self.slots = slots(self.spec, self.count)
        self.source.start(self.slots)
        return self.slots

    def __enter__(self) -> Rig:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()
        assert self.camera.fds == set()
        assert self.slots is not None
        assert self.slots.in_use == 0

    def read(self) -> Frame:
        frame = self.source.read(2.0)
        assert frame is not None
        return frame

    def numbers(self, count: int) -> list[int]:
        """`seq` of the next frames, each given back at once."""
        out = []
        for _ in range(count):
            frame = self.read()
            out.append(frame.seq)
            frame.release()
        return out

    def fault(self, limit_s: float = 2.0) -> SourceError:
        """Read on until it fails."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            try:
                frame = self.source.read(0.05)
            except SourceError as e:
                return e
            if frame is not None:
                frame.release()
        raise AssertionError(f"no fault in {limit_s} s")
