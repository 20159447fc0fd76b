"""One picture with what the model saw in it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from _demo.clip import Picture
from edged.errors import EdgedError
from edged.messages import Result

BOX = (80, 220, 80)  # BGR
POINT = (60, 60, 250)
INK = (20, 20, 20)


def annotate(picture: Picture, result: Result) -> Picture:
    """A copy with boxes, scores and landmarks, and a line below that says what it is; BGR uint8.

    EdgedError when the result is in other pixels than the picture's.
    """
    height, width = picture.shape[:2]
    if result.dewarped or result.frame != (width, height):
        w, h = result.frame
        what = "a dewarped view" if result.dewarped else "a picture"
        raise EdgedError(
            f"the result is in pixels of {what} of {w}x{h}, which are not those of this picture of {width}x{height}",
            hint="draw it on a picture of the pipeline's own, without dewarp",
        )
    out = picture.copy()
    for d in result.detections or []:
        x, y, w, h = (round(v) for v in d.box)
        cv2.rectangle(out, (x, y), (x + w, y + h), BOX, 2, cv2.LINE_AA)
        for px, py in d.keypoints or []:
            cv2.circle(out, (round(px), round(py)), 3, POINT, -1, cv2.LINE_AA)
        text = f"{d.label} {d.score:.2f}"
        (tw, th), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        top = max(y - th - 8, 0)
        cv2.rectangle(out, (x - 1, top), (x + tw + 7, top + th + 8), BOX, -1)
        cv2.putText(out, text, (x + 3, top + th + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    foot = np.full((28, out.shape[1], 3), 245, np.uint8)
    said = f"edged: {result.model.name}, frame {result.frame_seq}, {result.age_ms:.1f} ms after capture"
    cv2.putText(foot, said, (8, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    return np.vstack([out, foot])


def write(picture: Picture, file: Path) -> None:
    if not cv2.imwrite(str(file), picture):
        raise EdgedError(f"cannot write {file}", hint="check the folder's rights and free space")


def from_camera(device: str, file: Path) -> Picture:
    """One picture of a camera, also as `file`. The first ten are left out: exposure is still settling."""
    capture = cv2.VideoCapture(device)
    try:
        pictures = [capture.read() for _ in range(11)]
    finally:
        capture.release()
    ok, picture = pictures[-1]
    if not ok:
        raise EdgedError(f"{device} gives no picture", hint="check that no other program uses it")
    picture = np.asarray(picture, np.uint8)
    write(picture, file)
    return picture
