"""The ground truth of the accuracy tests: YOLOX through OpenCV and ONNX Runtime, written to be read, not to be fast.

Nothing of edged is used here. The steps are those of the YOLOX paper's own demo: letterbox to the top-left
corner with grey 114, no normalization, centre = (value + cell) * stride, size = exp(value) * stride,
score = objectness * best class, greedy suppression within each class. One thing differs: boxes go back by
the scale of the picture as it was resized, in whole pixels. The demo divides by the scale before that
rounding, which is off by up to 1.5 pixels in 640 and costs 0.003 of mAP50-95 on 48 photographs; on a clip of
768x576 both are the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

# ONNX Runtime opens an upload cache when it is imported: neither network nor descriptors in tests
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

SIZE = 416
STRIDES = (8, 16, 32)
PAD = 114


@dataclass(frozen=True)
class Found:
    """Detections of one picture, best first.

    boxes float [n, 4] = x, y, w, h in source pixels, clipped to the picture; scores float [n]; class_ids int [n].
    """

    boxes: F64
    scores: F64
    class_ids: I64


def read_frames(path: Path, every: int = 1) -> Iterator[U8]:
    """Every n-th frame of a clip: uint8 [h, w, 3], BGR, the caller's own."""
    capture = cv2.VideoCapture(str(path))
    try:
        index = 0
        while True:
            ok, frame = capture.read()
            if not ok:
                return
            if index % every == 0:
                yield frame
            index += 1
    finally:
        capture.release()


def letterbox(frame: U8) -> tuple[npt.NDArray[np.float32], tuple[float, float]]:
    """The model's input, float32 [1, 3, 416, 416], and the scales x, y from source to model pixels."""
    height, width = frame.shape[:2]
    scale = min(SIZE / height, SIZE / width)
    small = cv2.resize(frame, (int(width * scale), int(height * scale)), interpolation=cv2.INTER_LINEAR)
    canvas = np.full((SIZE, SIZE, 3), PAD, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    tensor = canvas.transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    return tensor, (small.shape[1] / width, small.shape[0] / height)


def decode(rows: npt.NDArray[np.float32]) -> tuple[F64, F64, I64]:
    """All rows [3549, 85] to boxes (x1, y1, x2, y2 in model pixels), scores and classes."""
    raw = rows.astype(np.float64)
    boxes = np.empty((len(raw), 4))
    row = 0
    for stride in STRIDES:
        cells = SIZE // stride
        for y in range(cells):
            for x in range(cells):
                cx, cy = (raw[row, 0] + x) * stride, (raw[row, 1] + y) * stride
                w, h = np.exp(raw[row, 2]) * stride, np.exp(raw[row, 3]) * stride
                boxes[row] = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
                row += 1
    assert row == len(raw), f"{len(raw)} rows, the grids have {row}"
    class_ids = raw[:, 5:].argmax(axis=1)
    return boxes, raw[:, 4] * raw[:, 5:].max(axis=1), class_ids


def overlap(a: F64, b: F64) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))


def suppress(boxes: F64, scores: F64, class_ids: I64, iou: float) -> list[int]:
    """Indices that greedy suppression keeps, best first; only boxes of one class suppress each other."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if all(class_ids[k] != class_ids[i] or overlap(boxes[k], boxes[i]) <= iou for k in kept):
            kept.append(int(i))
    return kept


class Reference:
    """A YOLOX model file behind the plainest loop. `score` and `iou` are the thresholds."""

    def __init__(self, onnx: Path, score: float = 0.3, iou: float = 0.45) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # more would wait for each other in loops, on cores that others need
        self._session: Any = onnxruntime.InferenceSession(
            str(onnx), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self.score, self.iou = score, iou

    def detect(self, frame: U8) -> Found:
        tensor, (scale_x, scale_y) = letterbox(frame)
        (output,) = self._session.run(None, {self._input: tensor})
        boxes, scores, class_ids = decode(output[0])
        above = scores >= self.score
        boxes, scores, class_ids = boxes[above], scores[above], class_ids[above]
        kept = suppress(boxes, scores, class_ids, self.iou)
        height, width = frame.shape[:2]
        corners = boxes[kept] / (scale_x, scale_y, scale_x, scale_y)
        corners[:, 0::2] = corners[:, 0::2].clip(0, width)
        corners[:, 1::2] = corners[:, 1::2].clip(0, height)
        corners[:, 2:] -= corners[:, :2]
        return Found(corners, scores[kept], class_ids[kept])
