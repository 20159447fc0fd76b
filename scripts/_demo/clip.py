"""Photographs side by side, and a hand-held camera that moves over them: a clip for machines without a camera."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edged.errors import EdgedError

SIZE = (640, 480)
FPS = 30
HEIGHT = 720  # of the wall of photographs, in pixels

# Where the camera looks: seconds, centre and width of the view in heights of the wall. The end is the beginning.
PATH = (
    (0.0, 0.97, 0.50, 1.32),
    (2.0, 0.46, 0.29, 0.74),
    (3.5, 1.42, 0.42, 0.78),
    (5.0, 0.97, 0.50, 1.32),
    (7.0, 2.60, 0.50, 1.20),
    (8.5, 4.05, 0.50, 1.30),
    (10.0, 2.30, 0.50, 1.32),
    (12.0, 0.97, 0.50, 1.32),
)

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


def wall(photographs: Sequence[Path]) -> Picture:
    """The photographs side by side, each HEIGHT high; BGR uint8 [HEIGHT, W, 3]."""
    row = []
    for file in photographs:
        picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if picture is None:
            raise EdgedError(f"{file} is no picture that OpenCV can read", hint="delete it and start again")
        width = round(picture.shape[1] * HEIGHT / picture.shape[0])
        row.append(cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_CUBIC))
    return np.hstack(row)


def views() -> Floats:
    """Centre x, centre y and width of the view in heights of the wall, for every frame; float64 [n, 3].

    Between two points of PATH the camera starts and stops gently; over all lies the sway of a hand.
    """
    frames = np.arange(round(PATH[-1][0] * FPS)) / FPS
    out = np.empty((len(frames), 3))
    for (t0, *a), (t1, *b) in pairwise(PATH):
        here = (frames >= t0) & (frames < t1)
        part = (frames[here] - t0) / (t1 - t0)
        part = part * part * (3 - 2 * part)
        out[here] = np.array(a) + part[:, None] * (np.array(b) - np.array(a))
    # whole periods in the clip, so that its end meets its beginning
    turn = 2 * np.pi * frames / PATH[-1][0]
    out[:, 0] += 0.006 * np.sin(5 * turn) + 0.003 * np.sin(17 * turn)
    out[:, 1] += 0.005 * np.sin(7 * turn + 1) + 0.002 * np.sin(19 * turn)
    return out


def frame(scene: Picture, view: Floats) -> Picture:
    """What the camera sees; BGR uint8 [480, 640, 3]."""
    w, h = SIZE
    scale = w / (view[2] * HEIGHT)
    x, y = view[:2] * HEIGHT
    to_frame = np.array([[scale, 0, w / 2 - x * scale], [0, scale, h / 2 - y * scale]])
    return np.asarray(
        cv2.warpAffine(scene, to_frame, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def make(photographs: Sequence[Path], file: Path, path: Floats) -> int:
    """Write the clip along `path` (MJPEG in AVI, which every OpenCV writes and reads); how many frames it has."""
    scene = wall(photographs)
    part = file.with_name(f".part.{file.name}")
    writer: Any = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"MJPG"), FPS, SIZE)
    if not writer.isOpened():
        raise EdgedError(f"OpenCV cannot write {part}", hint="check the folder's rights and free space")
    try:
        for view in path:
            writer.write(frame(scene, view))
    finally:
        writer.release()
    part.replace(file)
    return len(path)


def read_frame(file: Path, index: int) -> Picture:
    """Frame `index` of a clip, counted from 0. Reads from the beginning: seeking is not exact in every format."""
    capture: Any = cv2.VideoCapture(str(file))
    try:
        picture = None
        for _ in range(index + 1):
            ok, picture = capture.read()
            if not ok:
                raise EdgedError(f"{file} has no frame {index}", hint="delete it and start again")
        return np.asarray(picture, np.uint8)
    finally:
        capture.release()
