"""From a dataset's classes to those of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from edged.config.words import suggest
from edged.errors import ModelError
from edged.evaluation.datasets import Dataset
from edged.models.model import Model

_NUMBERED = re.compile(r"\d+")


def class_map(dataset: Dataset, model: Model) -> tuple[Mapping[int, int] | None, tuple[str, ...]]:
    """Dataset's class id -> model's, and what is to be told. None: they are the same numbers.

    By name where the model has it (regardless of case and of _ for blanks; also one of several names between commas),
    else by number for a name that is one. A class that the model does not know is left out, with a note; of class
    folders that is an error, as it is where none is known.
    """
    if not dataset.categories:
        return None, ()
    by_name = _by_name(model.output.labels)
    found: dict[int, int] = {}
    unknown: list[str] = []
    for category, name in dataset.categories.items():
        class_id = _find(name, by_name, len(model.output.labels))
        if class_id is None:
            unknown.append(name)
        else:
            found[category] = class_id
    if unknown and (dataset.kind == "classes" or not found):
        known = list(model.output.labels)
        said = (
            f"its labels are {', '.join(known[:5])}{', …' if len(known) > 5 else ''}"
            if known
            else "it has none"
        )
        raise ModelError(
            f"{dataset.path}: '{unknown[0]}' is none of the labels of model {model.name} ({said})",
            hint=f"{suggest(unknown[0], known, 'the labels')}; a class may also be named by its number"
            if known
            else "give the model labels (edged model new … --labels FILE), or name classes by their numbers",
        )
    left_out = (
        f"left out, since the model does not know them: {len(unknown)} classes: {', '.join(unknown[:8])}"
    )
    return found, (left_out,) if unknown else ()


def _by_name(labels: Sequence[str]) -> dict[str, int]:
    """Every name of one class only -> its number. Whole labels come before their parts between commas."""
    whole = _unique((_plain(label), i) for i, label in enumerate(labels))
    parts = _unique((_plain(p), i) for i, label in enumerate(labels) for p in label.split(","))
    return {**parts, **whole}


def _unique(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, set[int]] = {}
    for name, i in pairs:
        found.setdefault(name, set()).add(i)
    return {name: min(ids) for name, ids in found.items() if len(ids) == 1 and name}


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _find(name: str, by_name: Mapping[str, int], labels: int) -> int | None:
    known = by_name.get(_plain(name))
    if known is None and _NUMBERED.fullmatch(name) and (not labels or int(name) < labels):
        return int(name)
    return known
