"""The same pictures through two devices, and whether they find the same."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from _gpu.rig import configuration
from edged.daemon import Daemon
from edged.messages import Detection, Result
from edged.pipeline import Job

IOU, SCORE = 0.98, 0.02
THRESHOLD = 0.3  # of the model directories that rig.py makes


def detections(model: Path, pictures: Path, device: str) -> list[list[Detection]]:
    """By picture, in the folder's order."""
    source = f'{{kind = "images", path = "{pictures}"}}'
    daemon = Daemon(configuration(model, device, source=source))
    found: list[list[Detection]] = []

    def keep(job: Job, result: Result) -> None:
        found.append(list(result.detections or ()))

    for pipeline in daemon.pipelines.values():
        pipeline.on_result = keep
    daemon.run(signals=threading.current_thread() is threading.main_thread())
    if daemon.errors:
        raise daemon.errors[0]
    return found


def iou(a: Detection, b: Detection) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.box, b.box
    w = min(ax + aw, bx + bw) - max(ax, bx)
    h = min(ay + ah, by + bh) - max(ay, by)
    inside = max(w, 0.0) * max(h, 0.0)
    return inside / (aw * ah + bw * bh - inside)


def compare(a: list[list[Detection]], b: list[list[Detection]]) -> dict[str, Any]:
    """Each detection with the best of the other device, of its class. `worst_*` over the pairs, with the worst one."""
    pairs, worst_iou, worst_score = 0, 1.0, 0.0
    alone: list[dict[str, Any]] = []
    worst: dict[str, Any] = {}
    for n, (xs, ys) in enumerate(zip(a, b, strict=True)):
        left = list(ys)
        for x in xs:
            same = [y for y in left if y.class_id == x.class_id]
            best = max(same, key=lambda y: iou(x, y), default=None)
            if best is None or iou(x, best) < 0.5:
                alone.append({"picture": n, "on": "cpu", "score": x.score, "label": x.class_id})
                continue
            left.remove(best)
            pairs += 1
            if iou(x, best) < worst_iou:
                worst = {"picture": n, "cpu": [x.score, *x.box], "gpu": [best.score, *best.box]}
            worst_iou = min(worst_iou, iou(x, best))
            worst_score = max(worst_score, abs(x.score - best.score))
        alone += [{"picture": n, "on": "gpu", "score": y.score, "label": y.class_id} for y in left]
    return {
        "pictures": len(a),
        "pairs": pairs,
        "alone": alone,
        "worst": worst,
        "worst_iou": round(worst_iou, 4),
        "worst_score": round(worst_score, 4),
        # what is so near the threshold may be on either side of it
        "equal": worst_iou >= IOU
        and worst_score <= SCORE
        and all(x["score"] <= THRESHOLD + SCORE for x in alone),
    }
