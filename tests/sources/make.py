"""Pictures, clips and slots for tests of sources."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edged.frames import U8, FrameSpec
from edged.interfaces import Source
from edged.memory import Region, Slots

CLIP_SIZE = (64, 48)


def slots(spec: FrameSpec, count: int = 2) -> Slots:
    return Slots.of(Region("test", Slots.wants(count, spec.nbytes)), count)


def started(source: Source, count: int = 2) -> Slots:
    """Open and start; the slots."""
    made = slots(source.open(), count)
    source.start(made)
    return made


def picture(n: int, size: tuple[int, int] = CLIP_SIZE) -> U8:
    """BGR; smooth, so that it survives JPEG; its mean grey level is about 10 * (n % 20) + 20."""
    w, h = size
    out = np.empty((h, w, 3), np.uint8)
    out[...] = np.linspace(0, 39, w, dtype=np.uint8)[None, :, None] + 10 * (n % 20)
    return out


def write_pictures(folder: Path, sizes: list[tuple[int, int]], suffix: str = ".png") -> list[Path]:
    folder.mkdir(exist_ok=True)
    files = []
    for n, size in enumerate(sizes):
        files.append(folder / f"{n:03}{suffix}")
        assert cv2.imwrite(str(files[-1]), picture(n, size))
    return files


def write_clip(path: Path, frames: int = 10, rate: float = 100.0, codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, CLIP_SIZE)
    assert writer.isOpened()
    for n in range(frames):
        writer.write(picture(n))
    writer.release()
    return path
