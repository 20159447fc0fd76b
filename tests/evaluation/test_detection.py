"""Mean average precision: by hand, and against pycocotools on random pictures with ties, crowds and wrong classes."""

from __future__ import annotations

import contextlib
import io
import itertools
from typing import Any

import numpy as np
import pytest

from edged.evaluation.boxes import Found, Truth, overlaps
from edged.evaluation.detection import DetectionScore

BOX = [10.0, 10.0, 100.0, 100.0]
FAR = [500.0, 500.0, 100.0, 100.0]
TWO_THIRDS = [30.0, 10.0, 100.0, 100.0]  # overlaps BOX by 80 of 100 columns: 8000 / 12000


def truth(*rows: tuple[list[float], int, bool]) -> Truth:
    return Truth.of([(class_id, box, crowd) for box, class_id, crowd in rows])


def found(*rows: tuple[list[float], int, float]) -> Found:
    boxes = np.array([r[0] for r in rows], np.float64).reshape(-1, 4)
    return Found(boxes, np.array([r[1] for r in rows], np.int64), np.array([r[2] for r in rows], np.float64))


ONE = truth((BOX, 0, False))


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        ([(ONE, found((BOX, 0, 0.9)))], 1.0),
        ([(ONE, found())], 0.0),
        ([(ONE, found((BOX, 1, 0.9)))], 0.0),
        # a false one below the true one costs nothing, above it half
        ([(ONE, found((BOX, 0, 0.9), (FAR, 0, 0.1)))], 1.0),
        ([(ONE, found((FAR, 0, 0.9), (BOX, 0, 0.1)))], 0.5),
        # a second detection of one object is false; last it costs nothing
        ([(ONE, found((BOX, 0, 0.9), (BOX, 0, 0.8)))], 1.0),
        # 0.667 counts at 0.50, 0.55, 0.60 and 0.65
        ([(ONE, found((TWO_THIRDS, 0, 0.9)))], 0.4),
        # one of two objects: recalls 0.00 to 0.50 are 51 of 101 points
        ([(truth((BOX, 0, False), (FAR, 0, False)), found((BOX, 0, 0.9)))], 51 / 101),
        # the mean is over classes, and scores are ranked across pictures
        ([(truth((BOX, 0, False), (FAR, 3, False)), found((BOX, 0, 0.9)))], 0.5),
        ([(ONE, found((BOX, 0, 0.5))), (truth(), found((FAR, 0, 0.9)))], 0.5),
        # the hundred best of a picture and class count
        ([(ONE, found(*[(FAR, 0, 0.9)] * 100, (BOX, 0, 0.1)))], 0.0),
        # what lies in a crowd is neither right nor wrong, and a crowd need not be found
        ([(truth((BOX, 0, False), (FAR, 0, True)), found((FAR, 0, 0.9), (FAR, 0, 0.8), (BOX, 0, 0.5)))], 1.0),
        ([(truth((BOX, 0, False), (FAR, 0, True)), found((BOX, 0, 0.5)))], 1.0),
    ],
)
def test_map(pictures: list[tuple[Truth, Found]], expected: float) -> None:
    score = DetectionScore(0.3)
    for t, f in pictures:
        score.add(t, f)
    assert score.precision().map == pytest.approx(expected, abs=1e-9)


def test_nothing_to_be_found_is_no_number() -> None:
    score = DetectionScore(0.3)
    assert score.add(truth(), found((BOX, 0, 0.9))) is None
    assert np.isnan(score.precision().map)
    assert score.published() == (0.0, 1.0)


def test_what_is_published_has_precision_and_recall_of_its_own() -> None:
    score = DetectionScore(0.3)
    own = score.add(
        truth((BOX, 0, False), (FAR, 0, False)),
        found((BOX, 0, 0.9), ([300.0, 10.0, 50.0, 50.0], 0, 0.4), (FAR, 0, 0.1)),
    )
    assert score.published() == (0.5, 0.5)
    assert own == pytest.approx(score.precision().map)
    assert own is not None
    assert own > 0.8, "mAP ranks what is below the threshold, too"


def test_of_a_crowd_the_part_within_it_counts() -> None:
    box, around = np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 0, 10, 100]])
    assert overlaps(box, around)[0, 0] == pytest.approx(0.1)
    assert overlaps(box, around, np.array([True]))[0, 0] == pytest.approx(1.0)
    assert overlaps(np.zeros((1, 4)), np.zeros((1, 4)))[0, 0] == 0.0


def _scene(rng: np.random.Generator) -> tuple[Truth, Found]:
    """Objects, and detections near and far from them; scores on a grid of 20, so that many are equal."""
    n = int(rng.integers(0, 8))
    boxes = np.concatenate([rng.uniform(0, 300, (n, 2)), rng.uniform(5, 150, (n, 2))], axis=1).round(1)
    class_ids = rng.integers(0, 3, n)
    t = Truth(boxes, class_ids, rng.random(n) < 0.2)
    near = np.repeat(boxes, 3, axis=0) + rng.normal(0, 6, (3 * n, 4)) * rng.integers(0, 2, (3 * n, 1))
    ids = np.where(rng.random(3 * n) < 0.85, np.repeat(class_ids, 3), rng.integers(0, 3, 3 * n))
    m = int(rng.integers(0, 5))
    far = np.concatenate([rng.uniform(0, 300, (m, 2)), rng.uniform(5, 150, (m, 2))], axis=1)
    all_boxes = np.concatenate([near, far])
    all_boxes[:, 2:] = np.maximum(all_boxes[:, 2:], 1)
    scores = rng.integers(1, 20, len(all_boxes)) / 20
    return t, Found(all_boxes, np.concatenate([ids, rng.integers(0, 3, m)]), scores)


def _by_pycocotools(scenes: list[tuple[Truth, Found]]) -> tuple[float, float]:
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    evaluator_module = pytest.importorskip("pycocotools.cocoeval")
    number = itertools.count(1)
    images = [{"id": i, "width": 500, "height": 500} for i in range(len(scenes))]
    annotations = [
        {
            "id": next(number),
            "image_id": i,
            "category_id": int(c),
            "bbox": box.tolist(),
            "area": float(box[2] * box[3]),
            "iscrowd": int(crowd),
        }
        for i, (t, _) in enumerate(scenes)
        for box, c, crowd in zip(t.boxes, t.class_ids, t.crowd, strict=True)
    ]
    results = [
        {"image_id": i, "category_id": int(c), "bbox": box.tolist(), "score": float(s)}
        for i, (_, f) in enumerate(scenes)
        for box, c, s in zip(f.boxes, f.class_ids, f.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco: Any = coco_module.COCO()
        categories = [{"id": c, "name": str(c)} for c in range(3)]
        coco.dataset = {"images": images, "annotations": annotations, "categories": categories, "info": {}}
        coco.createIndex()
        evaluator: Any = evaluator_module.COCOeval(coco, coco.loadRes(results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return float(evaluator.stats[0]), float(evaluator.stats[1])


@pytest.mark.parametrize("seed", range(20))
def test_the_same_as_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scenes = [_scene(rng) for _ in range(12)]
    score = DetectionScore(0.3)
    for t, f in scenes:
        score.add(t, f)
    ours = score.precision()
    assert 0.1 < ours.map < 0.9
    assert (ours.map, ours.map50) == pytest.approx(_by_pycocotools(scenes), abs=1e-9)
