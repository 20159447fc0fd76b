"""What an evaluation found, as values: printed as tables, written as JSON, kept beside a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

FORMAT = 1
Metric = Literal["mAP50-95", "top-1", "agreement"]


class PictureScore(msgspec.Struct, frozen=True):
    """A picture's own score, 0 to 1; None: it has none (mAP of a picture that shows no object)."""

    name: str
    score: float | None


class ClassScore(msgspec.Struct, frozen=True):
    """By class: AP .50-.95 and AP .50 with objects, or top-1 and top-5 with pictures."""

    label: str
    score: float
    easier: float
    count: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How good one model was on a dataset.

    `score` (0 to 1) is what a gate looks at, of kind `metric`; `figures` has all by name. `ran`: how the model ran, in
    words; `sha256`: of the file that ran (plan or ONNX). `pictures`: how many were seen, `of` how many.
    """

    format: int = FORMAT
    model: str
    version: str
    sha256: str
    ran: Mapping[str, str]
    dataset: str
    kind: str
    pictures: int
    of: int
    metric: Metric
    score: float
    figures: Mapping[str, float]
    classes: tuple[ClassScore, ...] = ()
    each: tuple[PictureScore, ...] = ()
    notes: tuple[str, ...] = ()


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """`report`: of the model in question. `reference`: of what it is held against, where there are labels.

    `agreement`: how far both agree, where there is a reference.
    """

    report: Report
    reference: Report | None = None
    agreement: Report | None = None

    @property
    def baseline(self) -> Report | None:
        """What the report is to be held against: the reference's own, or one that agrees with itself everywhere."""
        if self.reference is not None or self.report.metric != "agreement":
            return self.reference
        each = tuple(PictureScore(p.name, 1.0) for p in self.report.each)
        return msgspec.structs.replace(self.report, score=1.0, each=each)
