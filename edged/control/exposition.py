"""GET /metrics: a Snapshot as Prometheus reads it, made when it is asked for.

Names and units follow prometheus.io/docs/practices/naming. What is not known is absent: never 0, never NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from edged.control.answers import Status
from edged.health import TRANSITIONS
from edged.metrics import AGES_S, PipelineCounts, Snapshot

Labelled = Iterator[tuple[tuple[str, ...], float]]


def exposition(status: Status, accept: str) -> tuple[bytes, str]:
    """The text and its media type: OpenMetrics for who accepts it, else Prometheus's own."""
    encode, media_type = choose_encoder(accept)
    return encode(Scrape(status)), media_type


class Scrape:
    """One look, in the shape of a prometheus_client registry."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        s, snapshot = self._status, self._status.snapshot
        about = {"device": s.device, "version": s.version, "session_id": s.session_id}
        yield InfoMetricFamily("edged", "What runs.", about)
        yield GaugeMetricFamily("edged_uptime_seconds", "Since the daemon was started.", s.uptime_s)
        yield GaugeMetricFamily("edged_ready", "1: every model is loaded.", float(not s.ready))
        yield GaugeMetricFamily("edged_alive", "1: every thread makes progress.", float(not s.alive))
        for family in FAMILIES:
            metric = family.kind(family.name, family.help, labels=family.labels)
            for labels, value in family.values(snapshot):
                metric.add_metric(labels, value)
            if metric.samples:
                yield metric
        yield from _ages(snapshot)
        yield from _stages(snapshot)
        yield from _sensors(snapshot)


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    help: str
    kind: Callable[..., Any]
    labels: tuple[str, ...]
    values: Callable[[Snapshot], Labelled]


# outcome -> its count; each frame that a source delivered has exactly one, once a pipeline is drained
OUTCOMES: Mapping[str, Callable[[PipelineCounts], int]] = {
    "inferred": lambda p: p.inferred,
    "dropped": lambda p: p.dropped,
    "failed": lambda p: p.failed,
    "skipped": lambda p: p.skipped,
    "lost": lambda p: p.lost,
}


def _frames(s: Snapshot) -> Labelled:
    return (((n, outcome), of(p)) for n, p in s.pipelines.items() for outcome, of in OUTCOMES.items())


def _states(s: Snapshot) -> Labelled:
    return (((n, state), float(p.state == state)) for n, p in s.pipelines.items() for state in TRANSITIONS)


def _messages(s: Snapshot) -> Labelled:
    for name, sink in s.sinks.items():
        for outcome in ("published", "replaced", "failed"):
            yield (name, outcome), getattr(sink, outcome)


def _up(table: str) -> Callable[[Snapshot], Labelled]:
    return lambda s: (((n,), float(unit.state == "running")) for n, unit in getattr(s, table).items())


_PIPELINE = ("pipeline",)
FAMILIES: tuple[Family, ...] = (
    Family(
        "edged_frames",
        "Frames by what became of them: inferred (a result was published), dropped (a newer one came first), failed, "
        "skipped (left out as configured), lost (before edged had them).",
        CounterMetricFamily,
        ("pipeline", "outcome"),
        _frames,
    ),
    Family(
        "edged_detections",
        "Objects found.",
        CounterMetricFamily,
        _PIPELINE,
        lambda s: (((n,), p.detections) for n, p in s.pipelines.items()),
    ),
    Family(
        "edged_rejected",
        "Candidates with values that no detector may give.",
        CounterMetricFamily,
        _PIPELINE,
        lambda s: (((n,), p.rejected) for n, p in s.pipelines.items()),
    ),
    Family(
        "edged_late_results",
        "Results older than the pipeline's deadline_ms on their way out.",
        CounterMetricFamily,
        _PIPELINE,
        lambda s: (((n,), p.late) for n, p in s.pipelines.items()),
    ),
    Family(
        "edged_pressure_level",
        "How far pipelines are held back by heat, power or missed deadlines; 0: not at all.",
        GaugeMetricFamily,
        (),
        lambda s: iter([((), float(s.pressure.level))]),
    ),
    Family(
        "edged_pressure_every",
        "Of how many frames a pipeline takes one, under pressure.",
        GaugeMetricFamily,
        _PIPELINE,
        lambda s: (((n,), float(every)) for n, every in s.pressure.every.items()),
    ),
    Family(
        "edged_copied_bytes",
        "Bytes of pixels that the CPU moved.",
        CounterMetricFamily,
        ("pipeline", "stage"),
        lambda s: (((n, stage), v) for n, p in s.pipelines.items() for stage, v in p.copied.items()),
    ),
    Family(
        "edged_pipeline_state",
        "1 for the state that a pipeline is in.",
        GaugeMetricFamily,
        ("pipeline", "state"),
        _states,
    ),
    Family("edged_source_up", "1: it delivers.", GaugeMetricFamily, ("source",), _up("sources")),
    Family(
        "edged_source_faults",
        "How often a source failed.",
        CounterMetricFamily,
        ("source",),
        lambda s: (((n,), u.faults) for n, u in s.sources.items()),
    ),
    Family("edged_model_up", "1: it is loaded and works.", GaugeMetricFamily, ("model",), _up("models")),
    Family("edged_sink_up", "1: it takes messages.", GaugeMetricFamily, ("sink",), _up("sinks")),
    Family(
        "edged_messages",
        "Messages by what became of them: published, replaced (by a newer one), failed.",
        CounterMetricFamily,
        ("sink", "outcome"),
        _messages,
    ),
    Family(
        "edged_messages_held",
        "Messages that wait for their sink.",
        GaugeMetricFamily,
        ("sink",),
        lambda s: (((n,), w.held) for n, w in s.sinks.items()),
    ),
    Family(
        "edged_region_bytes",
        "Memory admitted, by owner.",
        GaugeMetricFamily,
        ("owner",),
        lambda s: (((n,), r.nbytes) for n, r in s.regions.items()),
    ),
    Family(
        "edged_frame_sets",
        "Frame sets of a sync group by what became of them.",
        CounterMetricFamily,
        ("sync_group", "outcome"),
        lambda s: (
            ((n, outcome), getattr(g, outcome))
            for n, g in s.sync_groups.items()
            for outcome in ("complete", "partial", "unseen")
        ),
    ),
)


def _ages(s: Snapshot) -> Iterator[Metric]:
    ages = HistogramMetricFamily(
        "edged_result_age_seconds", "From the capture of a frame to its result's way out.", labels=_PIPELINE
    )
    for name, p in s.pipelines.items():
        age = p.stages.get("age")
        if age is not None and p.ages:
            # counted a moment after the buckets: never fewer
            edges = [(str(b), n) for b, n in zip(AGES_S, p.ages, strict=True)]
            count = max(age.count, p.ages[-1])
            ages.add_metric((name,), [*edges, ("+Inf", count)], sum_value=age.sum_ms / 1e3)
    if ages.samples:
        yield ages


def _stages(s: Snapshot) -> Iterator[Metric]:
    stages = Metric("edged_stage_seconds", "How long each stage of a frame took, since the start.", "summary")
    for name, p in s.pipelines.items():
        for stage, q in p.stages.items():
            if not q.count:  # a stage that this device does not time
                continue
            labels = {"pipeline": name, "stage": stage}
            for quantile, ms in (("0.5", q.p50_ms), ("0.99", q.p99_ms), ("0.999", q.p999_ms)):
                stages.add_sample("edged_stage_seconds", {**labels, "quantile": quantile}, ms / 1e3)
            stages.add_sample("edged_stage_seconds_count", labels, q.count)
            stages.add_sample("edged_stage_seconds_sum", labels, q.sum_ms / 1e3)
    if stages.samples:
        yield stages


def _sensors(s: Snapshot) -> Iterator[Metric]:
    """A metric a kind: edged_temperature_celsius{sensor="cpu-thermal"}; a sensor that is absent or off has none."""
    kinds: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for r in s.sensors:
        if r.kind not in kinds:
            help = f"Of the machine's sensors: {r.kind.replace('_', ' ')}."
            family = CounterMetricFamily if r.unit == "total" else GaugeMetricFamily
            kinds[r.kind] = family(f"edged_{r.kind}_{r.unit}", help, labels=("sensor",))
        kinds[r.kind].add_metric((r.name,), r.value)
    yield from kinds.values()
