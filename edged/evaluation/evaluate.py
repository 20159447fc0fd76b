"""A model, and what it is held against, over a dataset: picture by picture, in one thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from edged.errors import ModelError
from edged.evaluation.datasets import Dataset
from edged.evaluation.labels import class_map
from edged.evaluation.report import Evaluation, PictureScore, Report
from edged.evaluation.score import LEAST_SCORE, Agreement, Scorer, check_task, scorer_of
from edged.evaluation.subject import Setup, Subject, read_picture

Progress = Callable[[int, int], None]  # pictures done, of how many


def evaluate(
    setup: Setup, dataset: Dataset, reference: Setup | None = None, progress: Progress = lambda done, of: None
) -> Evaluation:
    """Run every picture through the setup's model, and through the reference's where there is one.

    Labelled pictures give a report of each; a reference gives how far both agree, too. Without labels a reference is
    needed (ModelError). Closes the setups' devices. SourceError: a picture cannot be read.
    """
    if reference is None and dataset.kind == "pictures":
        raise ModelError(
            f"{dataset.path}: has no labels, and nothing to compare with was given",
            hint="give a reference, or a dataset with labels",
        )
    if reference is not None and reference.model.task != setup.model.task:
        raise ModelError(
            f"model {setup.model.name} has task '{setup.model.task}', {reference.model.name} '{reference.model.task}'",
            hint="only models of one task can be compared",
        )
    both = [setup] if reference is None else [setup, reference]
    with ExitStack() as stack:
        sides = [_Side(p, dataset, reference is not None, stack) for p in both]
        agreement = Agreement(setup.model.output.score_threshold)
        agreed: list[PictureScore] = []
        for done, item in enumerate(dataset.items):
            progress(done, len(dataset.items))
            picture = read_picture(item.file)
            name = dataset.name_of(item)
            seen = [side.subject.see(picture) for side in sides]
            for side, what in zip(sides, seen, strict=True):
                if side.scorer is not None:
                    side.each.append(PictureScore(name, side.scorer.add(item, picture, what)))
            if reference is not None:
                agreed.append(PictureScore(name, agreement.compare(*seen)))
        progress(len(dataset.items), len(dataset.items))
        reports = [side.report(dataset) for side in sides]
        if reference is None:
            assert reports[0] is not None, "there are labels"
            return Evaluation(report=reports[0])
        against = sides[0].base(dataset, metric="agreement", score=agreement.score())
        against.update(figures=agreement.figures(), each=tuple(agreed), notes=_notes(sides))
        shared = Report(**against)
        if reports[0] is None:
            return Evaluation(report=shared, agreement=shared)
        return Evaluation(report=reports[0], reference=reports[1], agreement=shared)


def _notes(sides: list[_Side]) -> tuple[str, ...]:
    own, other = sides
    how, here = (side.subject.facts.get("engine", "") for side in (other, own))
    notes = [f"against model {other.setup.model.name} {other.subject.file_hash[:12]}… ({how})"]
    if own.subject.file_hash == other.subject.file_hash and how == here:
        notes.append(
            "both sides are the same file, run the same way: choose another with --engine, --device or --against"
        )
    return tuple(notes)


class _Side:
    """One model, loaded, and what is known of it so far. The subject is closed by `stack`."""

    def __init__(self, setup: Setup, dataset: Dataset, compared: bool, stack: ExitStack) -> None:
        check_task(dataset, setup.model)
        self.setup = setup
        ids, self._notes = class_map(dataset, setup.model)
        self.scorer: Scorer | None = scorer_of(dataset, setup.model, ids)
        self.each: list[PictureScore] = []
        least = LEAST_SCORE if self.scorer is not None and setup.model.task == "detect" else None
        self.subject = stack.enter_context(Subject(setup, least_score=least, outputs=compared))

    def base(self, dataset: Dataset, **more: Any) -> dict[str, Any]:
        """What every report of this side says."""
        return {
            "model": self.setup.model.name,
            "version": self.setup.model.version,
            "sha256": self.subject.file_hash,
            "ran": self.subject.facts,
            "dataset": str(dataset.path),
            "kind": dataset.kind,
            "pictures": len(dataset.items),
            "of": dataset.whole,
            **more,
        }

    def report(self, dataset: Dataset) -> Report | None:
        """None: there are no labels."""
        scorer = self.scorer
        if scorer is None:
            return None
        return Report(
            **self.base(dataset, metric=scorer.metric, score=scorer.score()),
            figures=scorer.figures(),
            classes=scorer.classes(),
            each=tuple(self.each),
            notes=self._notes,
        )
