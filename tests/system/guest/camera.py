"""The cameras of the capture job, and how a case opens one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from edged.errors import SourceError
from edged.frames import Frame
from edged.memory import Region, Slots
from edged.sources._v4l2_options import V4l2Options
from edged.sources.v4l2 import V4l2Source
from tests.system.guest import vivid

SINGLE, MULTI, HDMI, CONTIGUOUS = (f"/dev/video{n}" for n in range(4))
KINDS = (
    vivid.Kind(),
    vivid.Kind(multiplanar=True),
    vivid.Kind(input=vivid.HDMI),
    vivid.Kind(contiguous=True),
)
FORMATS = ("YUYV", "UYVY", "NV12", "RGB24", "BGR24", "GREY")  # of those that edged reads; vivid has no MJPG
SIZES = ((320, 180), (640, 360), (640, 480), (1280, 720))


@contextmanager
def started(device: str, count: int = 6, **options: Any) -> Iterator[tuple[V4l2Source, Slots]]:
    """A streaming source; nothing may be left of it at the end."""
    source = V4l2Source("test", msgspec.convert({"device": device, **options}, V4l2Options))
    spec = source.open()
    slots = Slots.of(Region("test", Slots.wants(count, spec.nbytes)), count)
    try:
        source.start(slots)
        yield source, slots
    finally:
        source.close()
    assert slots.in_use == 0, slots.in_use


def refused(device: str, **options: Any) -> SourceError:
    """What `open` says, or `start`."""
    try:
        with started(device, **options):
            pass
    except SourceError as e:
        return e
    raise AssertionError(f"{device} took {options}")


def read(source: V4l2Source) -> Frame:
    frame = source.read(5.0)
    assert frame is not None, "no picture in 5 s"
    return frame
