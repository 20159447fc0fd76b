"""Checks of [pressure] and of what it needs in pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from edged.config.check import Draft
from edged.config.rates import unpaced
from edged.config.words import join
from edged.errors import Problem


def times(d: Draft) -> Iterator[Problem]:
    """Late results are counted for hold_s: calm cannot be told sooner."""
    p = d.pressure
    if p.calm_s < p.hold_s:
        message = f"is {p.calm_s:g}, less than hold_s = {p.hold_s:g}"
        yield Problem("pressure.calm_s", message, "make it as long at least")


def pointless(d: Draft) -> Iterator[str]:
    p = d.pressure
    for key, cause in (("celsius", "heat"), ("watts", "power")):
        if getattr(p, key) and cause not in p.causes:
            yield f'pressure.{key}: has no effect: "{cause}" is not in causes'
    for name, pipeline in d.pipelines.items():
        if pipeline.priority and unpaced(d, pipeline.source):
            path = f"{join('pipelines', name)}.priority"
            yield f"{path}: has no effect: source '{pipeline.source}' is not live, so no frame is skipped"


CHECKS: Sequence[Callable[[Draft], Iterable[Problem]]] = (times,)
WARNINGS: Sequence[Callable[[Draft], Iterable[str]]] = (pointless,)
