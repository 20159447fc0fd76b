"""What happened between two looks at a daemon."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edged.metrics import PipelineCounts, Quantiles, Snapshot

SHOWN = ("wait", "infer", "parse", "age")


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Of a pipeline: a second, and means in ms; None: there was no frame. p50, p99: of the age, since the start."""

    state: str
    reason: str
    fps: float
    dropped: float
    stages: Mapping[str, float | None]
    age_p50_ms: float
    age_p99_ms: float


def rates(before: Snapshot, now: Snapshot) -> dict[str, Rates]:
    """A pipeline that is new, or began anew, is as from its start."""
    seconds = max((now.at - before.at) / 1e9, 1e-9)
    return {name: _of(before.pipelines.get(name), p, seconds) for name, p in now.pipelines.items()}


def _of(was: PipelineCounts | None, now: PipelineCounts, seconds: float) -> Rates:
    if was is None or was.inferred > now.inferred:
        inferred, dropped, stages = 0, 0, {}
    else:
        inferred, dropped, stages = was.inferred, was.dropped, dict(was.stages)
    age = now.stages.get("age", Quantiles())
    return Rates(
        state=now.state,
        reason=now.reason,
        fps=round((now.inferred - inferred) / seconds, 1),
        dropped=round((now.dropped - dropped) / seconds, 1),
        stages={s: _mean(stages.get(s, Quantiles()), now.stages.get(s, Quantiles())) for s in SHOWN},
        age_p50_ms=age.p50_ms,
        age_p99_ms=age.p99_ms,
    )


def _mean(was: Quantiles, now: Quantiles) -> float | None:
    count = now.count - was.count
    return round((now.sum_ms - was.sum_ms) / count, 2) if count > 0 else None
