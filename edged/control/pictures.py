"""What a pipeline sees, as a JPEG: its next frame, with what its model found drawn in. In a thread of its own.

The frame's lease is held for as long as its pixels are copied, while the model works on it anyway.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from edged.control.problems import HttpError
from edged.devices.cpu_convert import opencv
from edged.devices.cpu_views import shown
from edged.frames import U8, FrameSpec
from edged.looks import Look
from edged.messages import Detection, Result
from edged.tensors import ImageInput
from edged.views import WHOLE, View

MEDIA_TYPE = "image/jpeg"
QUALITY = 85
# BGR; neighbours differ, and none is dark
COLOURS = ((80, 220, 80), (255, 180, 60), (80, 160, 255), (220, 120, 255), (60, 230, 230), (255, 255, 120))
GREY = (200, 200, 200)


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A JPEG file and what it is of: captured_at in ns UTC, age_ms when it was made."""

    jpeg: bytes
    captured_at: int
    age_ms: float
    frame_seq: int
    result_seq: int


def take(look: Look, *, boxes: bool, patience_s: float) -> Picture:
    """Waits for the frame and its result; may take seconds. HttpError 504 when none comes, MissingPackage (OpenCV)."""
    opencv()
    frame = look.frame(patience_s)
    if frame is None:
        raise _nothing("picture", patience_s)
    try:
        spec, planes, captured_ns = frame.spec, [p.copy() for p in frame.planes], frame.captured_mono_ns
    finally:
        frame.release()
    result = look.result(patience_s)
    if result is None:
        raise _nothing("result", patience_s)
    picture = _as_seen(spec, planes, look.view if result.dewarped else WHOLE)
    if boxes:
        picture = draw(picture, result)
    return Picture(
        jpeg=_encoded(picture),
        captured_at=result.captured_at,
        age_ms=round((time.monotonic_ns() - captured_ns) / 1e6, 1),
        frame_seq=result.frame_seq,
        result_seq=result.seq,
    )


def _nothing(what: str, patience_s: float) -> HttpError:
    hint = "edged status says how the pipeline, its source and its model are"
    return HttpError(504, f"no {what} came within {patience_s:g} s", hint=hint)


def _as_seen(spec: FrameSpec, planes: Sequence[U8], view: View) -> U8:
    """[h, w, 3] BGR in the pixels that the pipeline's results are in."""
    size = (spec.width, spec.height) if view.lens is None else view.lens.size
    conversion = shown(spec, ImageInput("", size, "BGR", "stretch"), view).conversion
    scratch = {name: np.empty(shape, np.uint8) for name, shape in conversion.scratch.items()}
    picture = conversion.build(scratch.__getitem__)(planes)
    if conversion.channels == 1:
        return np.repeat(picture[..., None], 3, axis=2)
    return np.ascontiguousarray(picture[..., ::-1] if conversion.swapped else picture)


def draw(picture: U8, result: Result) -> U8:
    """Boxes, points, labels, the region that the model sees and why a picture is not to be believed, drawn in."""
    cv2 = opencv()
    thick = max(1, round(picture.shape[0] / 400))
    if result.roi is not None:
        x, y, w, h = result.roi
        cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), GREY, thick)
    for d in result.detections or ():
        _draw_one(cv2, picture, d, thick)
    lines = [f"{c.label} {c.score:.2f}" for c in result.classes or ()]
    if not result.valid:
        lines.insert(0, f"not valid: {result.invalid_reason}")
    for i, line in enumerate(lines):
        _write(cv2, picture, line, (8, 24 * thick * (i + 1)), GREY, thick)
    return picture


def _draw_one(cv2: Any, picture: U8, d: Detection, thick: int) -> None:
    colour = COLOURS[(d.class_id if d.track_id is None else d.track_id) % len(COLOURS)]
    x, y, w, h = (round(v) for v in d.box)
    cv2.rectangle(picture, (x, y), (x + w, y + h), colour, thick)
    for px, py in d.keypoints or ():
        cv2.circle(picture, (round(px), round(py)), 2 * thick, colour, -1)
    track = "" if d.track_id is None else f" #{d.track_id}"
    _write(
        cv2, picture, f"{d.label} {d.score:.2f}{track}", (x, max(y - 4 * thick, 12 * thick)), colour, thick
    )


def _write(
    cv2: Any, picture: U8, text: str, at: tuple[int, int], colour: tuple[int, ...], thick: int
) -> None:
    """Dark letters on a ground of their own; `at`: their lower left. OpenCV's are ASCII: others are '?'."""
    font, scale, (x, y) = cv2.FONT_HERSHEY_SIMPLEX, 0.45 * thick, at
    text = text.encode("ascii", "replace").decode()
    (width, height), below = cv2.getTextSize(text, font, scale, thick)
    cv2.rectangle(picture, (x, y - height), (x + width, y + below), colour, -1)
    cv2.putText(picture, text, at, font, scale, (0, 0, 0), thick, cv2.LINE_AA)


def _encoded(picture: U8) -> bytes:
    cv2 = opencv()
    try:
        good, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    except cv2.error as e:  # a JPEG has 65535 pixels a side at most
        good, data = False, e.err
    if not good:
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        raise HttpError(500, f"a picture of {size} cannot be made a JPEG: {data}")
    return bytes(data)
