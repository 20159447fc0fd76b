"""From what a model says about each picture to a report, by the kind of the dataset's labels."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Protocol

import numpy as np

from edged.bench.replay import Clip
from edged.errors import ModelError
from edged.evaluation.agreement import cosines, pair_up, same_pixels
from edged.evaluation.boxes import Found, Truth
from edged.evaluation.classification import ClassificationScore
from edged.evaluation.datasets import WORDS, Dataset, Item
from edged.evaluation.detection import DetectionScore
from edged.evaluation.report import ClassScore, Metric
from edged.evaluation.subject import Seen
from edged.models.model import Model, Task
from edged.parsers.base import Parsed

LEAST_SCORE = 0.01  # mean average precision ranks detections down to here
_TASKS: dict[str, Task] = {"coco": "detect", "yolo": "detect", "classes": "classify"}


def check_task(dataset: Dataset, model: Model) -> None:
    """ModelError where the labels say nothing about what the model does."""
    wanted = _TASKS.get(dataset.kind)
    if wanted is not None and wanted != model.task:
        raise ModelError(
            f"{dataset.path}: has {WORDS[dataset.kind]}, which are for a model of task '{wanted}'; "
            f"model {model.name} has task '{model.task}'",
            hint="name another folder, or compare outputs alone with --unlabelled",
        )


def found_of(parsed: Parsed) -> Found:
    """The detections; none where the model gives none."""
    if parsed.boxes is None or parsed.scores is None or parsed.class_ids is None:
        return Found()
    return Found(
        parsed.boxes.astype(np.float64), parsed.class_ids.astype(np.int64), parsed.scores.astype(np.float64)
    )


class Scorer(Protocol):
    """Collects what a model says about labelled pictures."""

    metric: Metric

    def add(self, item: Item, picture: Clip, seen: Seen) -> float | None:
        """The picture's own score, 0 to 1; None where it has none."""
        ...

    def score(self) -> float:
        """Over all pictures. ModelError where there is nothing to score."""
        ...

    def figures(self) -> Mapping[str, float]: ...
    def classes(self) -> tuple[ClassScore, ...]: ...


class Detections:
    """Against boxes."""

    metric: Metric = "mAP50-95"

    def __init__(self, model: Model, ids: Mapping[int, int] | None) -> None:
        self._model, self._ids = model, ids
        self._score = DetectionScore(model.output.score_threshold)

    def add(self, item: Item, picture: Clip, seen: Seen) -> float | None:
        assert isinstance(item.truth, Truth), "a dataset with boxes has them for every picture"
        truth = item.truth.in_pixels(picture.spec.width, picture.spec.height)
        found = found_of(seen.parsed)
        if self._ids is not None:
            known = np.isin(truth.class_ids, list(self._ids))
            ids = [self._ids[c] for c in truth.class_ids[known].tolist()]
            truth = Truth(truth.boxes[known], np.array(ids, np.int64), truth.crowd[known])
            told = np.isin(found.class_ids, list(self._ids.values()))
            found = Found(found.boxes[told], found.class_ids[told], found.scores[told])
        elif len(truth.class_ids) and self._model.output.labels:
            self._check_number(item, int(np.max(truth.class_ids)))
        return self._score.add(truth, found)

    def _check_number(self, item: Item, highest: int) -> None:
        classes = len(self._model.output.labels)
        if highest >= classes:
            raise ModelError(
                f"{item.file}: is labelled with class {highest}; model {self._model.name} has {classes} classes",
                hint="name the dataset's classes in a file classes.txt, one a line, as the model's labels name them",
            )

    def score(self) -> float:
        if not self._score.objects:
            raise ModelError(
                "no picture shows an object of a class that the model knows",
                hint="raise --limit, or name another dataset",
            )
        return self._score.precision().map

    def figures(self) -> Mapping[str, float]:
        precision, recall = self._score.published()
        found = self._score.precision()
        return {
            "mAP50-95": found.map,
            "mAP50": found.map50,
            "score threshold": self._score.threshold,
            "precision at threshold": precision,
            "recall at threshold": recall,
        }

    def classes(self) -> tuple[ClassScore, ...]:
        classes = self._score.precision().classes.items()
        return tuple(ClassScore(label_of(self._model, i), a, b, n) for i, (a, b, n) in classes)


class Classes:
    """Against one class a picture."""

    metric: Metric = "top-1"

    def __init__(self, model: Model, ids: Mapping[int, int] | None) -> None:
        self._model, self._ids = model, ids or {}
        self._score = ClassificationScore()

    def add(self, item: Item, picture: Clip, seen: Seen) -> float | None:
        assert isinstance(item.truth, int), "a dataset with classes has one for every picture"
        assert seen.parsed.classes is not None, "a model of task 'classify' gives classes"
        return self._score.add(self._ids[item.truth], seen.parsed.classes[0].tolist())

    def score(self) -> float:
        return self._score.shares()[0]

    def figures(self) -> Mapping[str, float]:
        first, five = self._score.shares()
        return {"top-1": first, "top-5": five}

    def classes(self) -> tuple[ClassScore, ...]:
        return tuple(
            ClassScore(label_of(self._model, i), a, b, n) for i, (a, b, n) in self._score.classes().items()
        )


class Agreement:
    """Of what two subjects say about the same pictures, whatever is right; detections at the model's own threshold.

    The score of a picture: of detections twice the pairs by all of both, of classes whether the best is the same, of
    a mask the part of equal cells, of raw tensors the least cosine.
    """

    metric: Metric = "agreement"

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._each: list[float] = []
        self._cosines: dict[str, list[float]] = {}
        self._ious: list[float] = []
        self._scores: list[float] = []
        self._detections = False

    def compare(self, a: Seen, b: Seen) -> float:
        """One more picture, as both see it."""
        cosine = cosines(a.outputs, b.outputs)
        for name, value in cosine.items():
            self._cosines.setdefault(name, []).append(value)
        self._each.append(self._of(a.parsed, b.parsed, cosine))
        return self._each[-1]

    def _of(self, a: Parsed, b: Parsed, cosine: Mapping[str, float]) -> float:
        if a.classes is not None and b.classes is not None:
            return float(a.classes[0][:1].tolist() == b.classes[0][:1].tolist())
        if a.mask is not None and b.mask is not None:
            return same_pixels(a.mask, b.mask)
        if a.boxes is not None and b.boxes is not None:
            self._detections = True
            pairs = pair_up(found_of(a).above(self._threshold), found_of(b).above(self._threshold))
            self._ious += pairs.ious
            self._scores += pairs.score_differences
            return pairs.agreement
        return max(min(cosine.values(), default=0.0), 0.0)

    def score(self) -> float:
        return fmean(self._each)

    def figures(self) -> Mapping[str, float]:
        figures = {"agreement": self.score(), "least agreement of a picture": min(self._each)}
        if self._detections:
            figures["mean IoU of pairs"] = fmean(self._ious) if self._ious else 1.0
            figures["greatest difference of scores"] = max(self._scores, default=0.0)
        for name, values in self._cosines.items():
            figures[f"cosine of {name}, mean"] = fmean(values)
            figures[f"cosine of {name}, least"] = min(values)
        return figures


def label_of(model: Model, class_id: int) -> str:
    labels = model.output.labels
    return labels[class_id] if class_id < len(labels) and labels[class_id] else str(class_id)


def scorer_of(dataset: Dataset, model: Model, ids: Mapping[int, int] | None) -> Scorer | None:
    """None: there are no labels."""
    if dataset.kind == "pictures":
        return None
    return Classes(model, ids) if dataset.kind == "classes" else Detections(model, ids)
