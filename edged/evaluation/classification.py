"""Top-1 and top-5: how often the right class is the best one, or among the five best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class ClassificationScore:
    """Collects pictures, then scores them."""

    def __init__(self) -> None:
        self._classes: dict[int, list[tuple[bool, bool]]] = {}

    def add(self, truth: int, ranked: Sequence[int]) -> float:
        """One more picture: its class, and classes as found, best first. Returns 1 where the best is right, else 0."""
        first, five = truth in ranked[:1], truth in ranked[:5]
        self._classes.setdefault(truth, []).append((first, five))
        return float(first)

    def shares(self) -> tuple[float, float]:
        """Top-1 and top-5, from 0 to 1, over all pictures so far. ZeroDivisionError without any."""
        every = [x for pictures in self._classes.values() for x in pictures]
        return _share(every, 0), _share(every, 1)

    def classes(self) -> Mapping[int, tuple[float, float, int]]:
        """Class id -> (top-1, top-5, pictures)."""
        return {c: (_share(p, 0), _share(p, 1), len(p)) for c, p in sorted(self._classes.items())}


def _share(pictures: Sequence[tuple[bool, bool]], which: int) -> float:
    return sum(p[which] for p in pictures) / len(pictures)
