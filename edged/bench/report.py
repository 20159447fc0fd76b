"""A report as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from edged.bench.measure import runs_of
from edged.bench.results import Live, Pair, Report, Settings
from edged.bench.tune import toml_lines, words
from edged.memory import format_bytes
from edged.metrics import Quantiles

# stage -> what it is; in the order of a frame's way
STAGES = {
    "wait": "reading it, and until a runner is free",
    "preprocess": "frame to the model's tensor",
    "engine": "inference",
    "infer": "both, with their hand-overs",
    "parse": "tensors to results to the sinks",
}


def show(report: Report, console: Console) -> None:
    console.print(Group(*_parts(report)))


def _parts(r: Report) -> Iterator[RenderableType]:
    m = r.machine
    yield Text(f"{r.file}: pipeline {r.pipeline}, {r.source} → {r.model}, {r.frame[0]}x{r.frame[1]}")
    yield Text(
        f"{m.cpu}, {m.cores} cores, load {m.load}; " + ", ".join(f"{k} {v}" for k, v in m.versions.items())
    )
    yield Text(f"settings: {words(r.settings)}, in_flight {r.in_flight}")
    for note in r.notes:
        yield Text(f"note: {note}")
    if r.pairs:
        yield _pairs(r)
        yield from _where(r)
        yield _stages(r)
    if r.live:
        yield _live(r.live)
    if r.trials:
        yield from _trials(r)
    if r.regions:
        yield from _memory(r)


def _table(title: str, *columns: str) -> Table:
    """The first column is text, the others are numbers. What is too wide for the terminal goes on in a second line."""
    table = Table(title=title, title_justify="left", box=SIMPLE)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table


def _caption(table: Table, text: str) -> None:
    table.caption, table.caption_justify = text, "left"


def _pairs(r: Report) -> Table:
    table = _table("pace max, frames/s", "pair", "pipeline", "engine alone", "ratio", "others")
    rows = [(p.pipeline.fps, p.alone.fps, p.ratio, max(p.pipeline.others, p.alone.others)) for p in r.pairs]
    middle = [median(column) for column in zip(*rows, strict=True)]
    for name, (fps, limit, share, others) in [*enumerate(rows, 1), ("median", middle)]:
        table.add_row(str(name), f"{fps:.1f}", f"{limit:.1f}", f"{share:.3f}", f"{others:.2f}")
    _caption(table, "others: processors that other programs kept busy; measure again when it is not near 0.")
    return table


def _middle(r: Report) -> Pair:
    """The pair whose ratio is the median, or the one above it."""
    return sorted(r.pairs, key=lambda p: p.ratio)[len(r.pairs) // 2]


def _where(r: Report) -> Iterator[Text]:
    """What the ratio is made of: how busy the engine is kept, and how much slower it is for its company."""
    p = _middle(r)
    inside, alone = p.pipeline.stages["engine"].mean_ms, p.alone.infer.mean_ms
    yield Text(
        f"of the pair with the median ratio: the engine is busy {p.pipeline.busy:.1%} of the time; an inference "
        f"takes {inside:.2f} ms in the pipeline, {alone:.2f} ms alone (x{inside / alone:.3f})"
    )
    yield Text(
        f"processor time a frame: {p.pipeline.cpu_ms:.1f} ms in the pipeline, {p.alone.cpu_ms:.1f} ms alone; "
        f"reading a frame takes {r.read_ms:.2f} ms when nothing else runs"
    )


def _stages(r: Report) -> Table:
    table = _table("stages at pace max, ms", "stage", "mean", "p50", "p99", "what")
    table.columns[-1].justify = "left"
    stages = _middle(r).pipeline.stages
    for name, what in STAGES.items():
        q = stages[name]
        table.add_row(name, *(f"{v:.2f}" for v in (q.mean_ms, q.p50_ms, q.p99_ms)), what)
    return table


def _ages(q: Quantiles) -> tuple[str, ...]:
    return tuple(f"{v:.1f}" for v in (q.p50_ms, q.p99_ms, q.p999_ms))


def _live(live: Sequence[Live]) -> Table:
    table = _table(
        "live: age in ms, capture to hand-over to the sinks",
        "in\nflight",
        "\noffered/s",
        "\np50",
        "\np99",
        "\np99.9",
        "\np99 limit",
        "offered =\ninferred + dropped",
    )
    for x in live:
        c, age = x.run.counts, x.run.stages["age"]
        met = "met" if age.p99_ms < x.limit_ms else "missed"
        table.add_row(
            str(x.in_flight),
            f"{x.rate:.1f} {x.load:.0%}",
            *_ages(age),
            f"{x.limit_ms:.1f} {met}" if x.in_flight == 1 else "",
            f"{c.offered} = {c.inferred} + {c.dropped}" + (f" + {c.failed} failed" if c.failed else ""),
        )
    _caption(table, "%: of the capacity measured just before. limit: two frame intervals, one inference.")
    return table


def _trials(r: Report) -> Iterator[RenderableType]:
    table = _table(
        f"settings; ages in ms at {r.tune_rate:g} frames/s",
        *("threads", "instances", "spinning", "frames/s", "age p50", "p99", "p99.9", "dropped"),
    )
    for t in r.trials:
        s = t.settings
        threads = f"{s.threads} *" if s == r.settings else str(s.threads)
        spinning = "on" if s.spinning else "off"
        table.add_row(threads, str(s.instances), spinning, f"{t.fps:.1f}", *_ages(t.age), str(t.dropped))
    _caption(table, "*: as now. All results came in order.")
    yield table
    for title, best in (("lowest age", r.lowest_age), ("most frames a second", r.highest_fps)):
        if best is not None:
            yield _toml(r, title, best)


def _toml(r: Report, title: str, s: Settings) -> Text:
    return Text("\n".join((f"# {title}; under [models.{r.model}]:", *toml_lines(s), "")))


def _memory(r: Report) -> Iterator[Text]:
    runs = runs_of(r)
    named = ", ".join(f"{name} {format_bytes(n)}" for name, n in r.regions.items())
    yield Text(f"regions: {named}")
    if runs:
        seconds = sum(x.growth.seconds for x in runs)
        regions = sum(x.growth.region_bytes for x in runs)
        resident = sorted(x.growth.rss_bytes for x in runs)
        yield Text(
            f"growth in {len(runs)} runs of {seconds:.0f} s in all: regions {format_bytes(regions)}; resident memory "
            f"{format_bytes(resident[len(resident) // 2])} in the median run, {format_bytes(resident[-1])} at most"
        )
