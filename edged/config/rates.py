"""Checks of what goes by capture times: max_fps and sync groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from edged.config.check import Draft
from edged.config.schema import PipelineConfig
from edged.config.words import join, show
from edged.errors import Problem

# kinds whose reader may set the pace -> whether it does, by their options: then a capture time is any time.
# Of other kinds edged knows no such mode.
_UNPACED: dict[str, Callable[[Any], bool]] = {
    "video": lambda o: o.pace == "max" and not o.camera,
    "images": lambda o: o.rate is None,
    "pattern": lambda o: o.rate is None,
}
_PACE = "give it a pace: rate = 30.0, or pace = 'realtime' for a video"


def unpaced(d: Draft, source: str) -> bool:
    """Whether the reader sets the pace of that source, so that it is not live."""
    entry = d.sources.get(source)
    return entry is not None and _UNPACED.get(entry.kind, lambda o: False)(entry.options)


def _members(d: Draft) -> Iterator[tuple[str, dict[str, PipelineConfig]]]:
    """Groups that some pipeline names, with those pipelines."""
    for group in d.raw("sync_groups"):
        members = {n: p for n, p in d.pipelines.items() if p.sync_group == group}
        if members:
            yield group, members


def synchronized(d: Draft) -> Iterator[Problem]:
    """A set needs two cameras with capture times, and one rhythm."""
    whose: dict[str, str] = {}  # source -> its group
    for group, members in _members(d):
        if len({p.source for p in members.values()}) == 1:
            message = "has one camera only: nothing to synchronize"
            yield Problem(join("sync_groups", group), message, "name it in pipelines of other sources, too")
        first_name, first = next(iter(members.items()))
        for name, p in members.items():
            path = join("pipelines", name)
            other = whose.setdefault(p.source, group)
            if other != group:
                message = f"its source '{p.source}' is in sync group '{other}' already"
                yield Problem(join(path, "sync_group"), message, "a camera is in one group: name the same")
            if unpaced(d, p.source):
                message = f"source '{p.source}' is not live: its pictures have no times to compare"
                yield Problem(join(path, "sync_group"), message, _PACE)
            for key in ("every", "max_fps"):
                value, wanted = getattr(p, key), getattr(first, key)
                if value != wanted:
                    message = f"is {_said(value)}, but {_said(wanted)} in '{first_name}' of its sync group"
                    yield Problem(join(path, key), message, "give all of a group the same")


def _said(value: Any) -> str:
    return "absent" if value is None else show(value)


def pointless(d: Draft) -> Iterator[str]:
    for name, p in d.pipelines.items():
        path = join("pipelines", name)
        if p.max_fps is None:
            continue
        if unpaced(d, p.source):
            yield f"{path}.max_fps: has no effect: source '{p.source}' is not live (every = n has)"
        elif p.track is not None and p.track.lost_s <= 1 / p.max_fps:
            yield (
                f"{path}.track.lost_s: {p.track.lost_s:g} s is no longer than the time between two frames "
                f"(max_fps = {p.max_fps:g}): no track lasts"
            )


CHECKS: Sequence[Callable[[Draft], Iterable[Problem]]] = (synchronized,)
WARNINGS: Sequence[Callable[[Draft], Iterable[str]]] = (pointless,)
