"""The agreement gate: what is worse than the one before it by more than is allowed is refused."""

from __future__ import annotations

import msgspec

from edged.errors import EngineError
from edged.evaluation.report import Report

SHOWN = 10  # pictures that are named
_ROUNDING = 1e-9  # 0.80 - 0.79 is a little more than 0.01


class Drop(msgspec.Struct, frozen=True):
    """A picture on which the candidate is worse: its own scores, 0 to 1."""

    name: str
    before: float
    after: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`passed`: the drop of `metric` is at most `max_drop`. `worst`: pictures with the greatest drops, worst first."""

    passed: bool
    metric: str
    before: float
    after: float
    max_drop: float
    worst: tuple[Drop, ...]

    @property
    def drop(self) -> float:
        return self.before - self.after

    def __str__(self) -> str:
        what = "rise" if self.drop < 0 else "drop"
        return (
            f"{self.metric} goes from {self.before:.4f} to {self.after:.4f}: a {what} of {abs(self.drop):.4f}, "
            f"and a drop of {self.max_drop:g} is allowed"
        )

    def lines(self) -> list[str]:
        """The pictures, one a line."""
        return [f"{d.name}: {d.before:.3f} to {d.after:.3f}" for d in self.worst]


def gate(baseline: Report, candidate: Report, max_drop: float) -> Verdict:
    """Whether `candidate` may take the place of `baseline`: both of one metric on the same pictures.

    EngineError where they cannot be compared. A score that is no number is no good one: it is refused.
    """
    before = {p.name: p.score for p in baseline.each}
    after = {p.name: p.score for p in candidate.each}
    if baseline.metric != candidate.metric or before.keys() != after.keys():
        raise EngineError(
            f"{baseline.metric} of {len(before)} pictures and {candidate.metric} of {len(after)} cannot be compared",
            hint="evaluate both on the same pictures",
        )
    drops = [
        Drop(name, score, other)
        for name, score in before.items()
        if score is not None and (other := after[name]) is not None and other < score
    ]
    drops.sort(key=lambda d: (d.after - d.before, d.name))
    return Verdict(
        passed=baseline.score - candidate.score <= max_drop + _ROUNDING,
        metric=candidate.metric,
        before=baseline.score,
        after=candidate.score,
        max_drop=max_drop,
        worst=tuple(drops[:SHOWN]),
    )
