"""What every peer shares, so that all do the same work: arguments, preprocessing, decoding, and the report.

Needs numpy and OpenCV only; runs in edged's environment and in a peer's own. YOLOX-nano 416: BGR 0..255,
letterbox to the top-left corner, raw rows on grids of strides 8, 16 and 32. The decode is the quick way to
write it (threshold first, then the few survivors), so that no peer loses time that its author would save.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

SIZE = 416
PERSON = 0
WARM_UP = 5  # inferences before the clock starts


@dataclass
class Tally:
    """Counts results and stamps the first frame decoded and the last result (seconds, monotonic)."""

    started: float = 0.0
    ended: float = 0.0
    frames: int = 0
    persons: int = 0
    detections: int = 0

    def decoded(self) -> None:
        """A frame was decoded; only the first counts."""
        self.started = self.started or time.perf_counter()

    def result(self, class_ids: npt.NDArray[Any]) -> None:
        self.frames += 1
        self.persons += int((class_ids == PERSON).sum())
        self.detections += len(class_ids)
        self.ended = time.perf_counter()


def parser(doc: str) -> argparse.ArgumentParser:
    """What scripts/bench/peers.py tells every peer."""
    out = argparse.ArgumentParser(description=doc)
    out.add_argument("--clip", required=True)
    out.add_argument("--model", required=True, help="YOLOX's ONNX file")
    out.add_argument("--frames", type=int, required=True)
    out.add_argument("--score", type=float, required=True)
    out.add_argument("--iou", type=float, required=True)
    return out


def open_session(model: str) -> Any:
    """ONNX Runtime with its default options, as most people open it; warmed up."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for _ in range(WARM_UP):
        session.run(None, {name: np.zeros((1, 3, SIZE, SIZE), np.float32)})
    return session


def letterbox(frame: U8) -> tuple[F32, float]:
    """float32 [1, 3, 416, 416] and the scale from source to model pixels."""
    height, width = frame.shape[:2]
    scale = min(SIZE / height, SIZE / width)
    small = cv2.resize(frame, (int(width * scale), int(height * scale)))
    canvas = np.full((SIZE, SIZE, 3), 114, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[np.newaxis], dtype=np.float32), scale


def grids() -> tuple[F32, F32]:
    """Cells [3549, 2] and strides [3549, 1] of the model's rows."""
    cells, strides = [], []
    for stride in (8, 16, 32):
        n = SIZE // stride
        y, x = np.mgrid[:n, :n]
        cells.append(np.stack([x, y], 2).reshape(-1, 2))
        strides.append(np.full((n * n, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


CELLS, STRIDES = grids()


def detections(rows: F32, scale: float, frame: U8, score: float, iou: float) -> tuple[F32, F32, I64]:
    """Rows [3549, 85] to boxes [n, 4] (x, y, w, h in source pixels, clipped), scores [n] and class ids [n]."""
    class_ids = rows[:, 5:].argmax(1)
    scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + class_ids]
    above = np.flatnonzero(scores >= score)
    scores, class_ids = scores[above], class_ids[above]
    centre = (rows[above, :2] + CELLS[above]) * STRIDES[above]
    half = np.exp(rows[above, 2:4]) * STRIDES[above] / 2
    corners = np.concatenate([centre - half, centre + half], 1) / np.float32(scale)
    kept = suppress(corners, scores, class_ids, iou)
    corners = corners[kept]
    height, width = frame.shape[:2]
    corners = corners.clip(0, np.array([width, height, width, height], np.float32))
    corners[:, 2:] -= corners[:, :2]
    return corners, scores[kept], class_ids[kept]


def suppress(boxes: F32, scores: F32, class_ids: I64, iou: float) -> list[int]:
    """Greedy suppression within each class, the usual numpy way; indices, best first."""
    shifted = boxes + (class_ids * 1e4).astype(np.float32)[:, None]  # classes cannot meet
    areas = (shifted[:, 2:] - shifted[:, :2]).prod(1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(shifted[best, :2], shifted[order, :2])
        high = np.minimum(shifted[best, 2:], shifted[order, 2:])
        both = (high - low).clip(0).prod(1)
        order = order[both <= iou * (areas[best] + areas[order] - both)]
    return kept


def report(tally: Tally, more: Mapping[str, Any] | None = None, **versions: str) -> None:
    """The peer's one line of JSON, last on stdout."""
    seconds = tally.ended - tally.started
    row = {
        "frames": tally.frames,
        "seconds": seconds,
        "fps": tally.frames / seconds if seconds > 0 else 0.0,
        "persons_per_frame": tally.persons / max(1, tally.frames),
        "detections_per_frame": tally.detections / max(1, tally.frames),
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__, **versions},
        **(more or {}),
    }
    print(json.dumps(row), flush=True)
