"""Reports in tables for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edged.inspecting.graph import Graph
from edged.inspecting.plan import PlanReport
from edged.inspecting.tables import show_facts
from edged.inspecting.times import Times
from edged.memory import format_bytes

TOP = 12  # rows of a table, unless all are asked for


def show_graph(
    console: Console, graph: Graph, times: Times | None, why_no_times: str, *, every: bool
) -> None:
    """Facts, then operators, then the layers with the most multiply-adds, then the nodes that took longest."""
    total = sum(la.multiply_adds or 0 for la in graph.layers)
    weights = "; ".join(f"{format_bytes(n)} {element}" for element, n in graph.weight_bytes.items())
    left_out = ", ".join(f"{op} {n}" for op, n in graph.uncounted.items())
    show_facts(
        console,
        {
            "file": graph.file,
            "made by": f"{graph.producer or 'unknown'}, opset {graph.opset}",
            "inputs": "\n".join(f"{n}: {t.element} {_dims(t.shape)}" for n, t in graph.inputs.items()),
            "outputs": "\n".join(f"{n}: {t.element} {_dims(t.shape)}" for n, t in graph.outputs.items()),
            "layers": f"{len(graph.layers)}, by output: {_counts(la.precision for la in graph.layers)}",
            "parameters": f"{sum(la.parameters for la in graph.layers):,}",
            "weights": weights or "none",
            "multiply-adds": f"{total / 1e9:.3f} G" + (f", without {left_out}" if left_out else ""),
            "activations": _activations(graph),
        },
    )
    _operators(console, graph)
    heavy = sorted(graph.layers, key=lambda la: -(la.multiply_adds or 0))
    rows = list(graph.layers) if every else [la for la in heavy[:TOP] if la.multiply_adds]
    title = "Layers, in the file's order" if every else f"The {len(rows)} layers with the most multiply-adds"
    _table(
        console,
        title,
        ("layer", "operator", "output", "type", "parameters>", "M multiply-adds>"),
        [
            (la.name, la.op, _dims(la.output), la.precision, f"{la.parameters:,}", _mega(la.multiply_adds))
            for la in rows
        ],
    )
    if times is None:
        console.print(Text(f"No times: {why_no_times}"))
    else:
        _times(console, graph, times, every=every)


def _activations(graph: Graph) -> str:
    if graph.activation_bytes is None:
        return "not known: a shape is open (--shape)"
    return f"{format_bytes(graph.activation_bytes)} at once at most, in the file's order, nothing fused or in place"


def _operators(console: Console, graph: Graph) -> None:
    count, parameters, products = Counter[str](), Counter[str](), Counter[str]()
    for la in graph.layers:
        count[la.op] += 1
        parameters[la.op] += la.parameters
        products[la.op] += la.multiply_adds or 0
    rows = [
        (op, str(n), f"{parameters[op]:,}", f"{products[op] / 1e6:,.1f}") for op, n in count.most_common()
    ]
    _table(console, "Operators", ("operator", "layers>", "parameters>", "M multiply-adds>"), rows)


def _times(console: Console, graph: Graph, times: Times, *, every: bool) -> None:
    what = "the work" if times.of == "work" else "the CPU's launch of it (the GPU works behind)"
    nodes = list(times.nodes) if every else sorted(times.nodes, key=lambda n: -n.ms)[:TOP]
    before = Counter(la.op for la in graph.layers)
    made = [f"{op} {n}" for op, n in times.ops.items() if op not in before]
    gone = [f"{op} {n}" for op, n in before.items() if op not in times.ops]
    show_facts(
        console,
        {
            "runtime": times.runtime,
            "a run": f"{times.total_ms:.2f} ms, median of {times.runs}, with the cost of the profile",
            "nodes": f"{len(times.nodes)} run, of {len(graph.layers)} in the file",
            "new operators": ", ".join(made) or "none",
            "gone": ", ".join(gone) or "none",
        },
    )
    by_op: Counter[str] = Counter()
    for n in times.nodes:
        by_op[n.op] += round(n.ms * 1000)
    whole = sum(by_op.values()) or 1
    _table(
        console,
        f"Time by operator: {what}",
        ("operator", "nodes>", "ms>", "share>"),
        [(op, str(times.ops[op]), f"{us / 1000:.3f}", f"{us / whole:.1%}") for op, us in by_op.most_common()],
    )
    _table(
        console,
        "Time by node" if every else f"The {len(nodes)} nodes that took longest",
        ("node", "operator", "output", "provider", "ms>", "share>"),
        [(n.name, n.op, _dims(n.output), n.provider, f"{n.ms:.3f}", f"{n.share:.1%}") for n in nodes],
    )


def show_plan(console: Console, report: PlanReport, *, every: bool) -> None:
    """Facts of header and sidecar, and the engine's layers where it was asked."""
    s = report.sidecar
    facts = {
        "plan": report.file,
        "header": f"{report.engine} {report.version}, {format_bytes(report.nbytes)}",
        "store": report.store,
    }
    if s is not None:
        layers = ", ".join(f"{n} {p}" for p, n in (s.layers or {}).items())
        facts |= {
            "for": f"{s}{f', built on {s.gpu}' if s.gpu else ''}",
            "of": f"ONNX file {s.onnx_sha256}",
            "profiles": "\n".join(_profile(p) for p in s.profiles) or "the file's shapes",
            "weights": _size(s.weight_bytes),
            "layers": f"{layers} (of the {s.layers_of})" if layers else "unknown",
            "built in": f"{s.build_s:.1f} s",
            "notes": "\n".join(s.notes) or "none",
            "options": ", ".join(f"{k} = {v}" for k, v in s.options.items()) or "none",
            "evaluation": "none"
            if s.evaluation is None
            else ", ".join(f"{k} = {v}" for k, v in s.evaluation.items()),
        }
    facts["activations"] = _size(report.activation_bytes)
    if report.unloaded:
        facts["engine"] = f"not loaded: {report.unloaded}"
    show_facts(console, facts)
    if not report.layers:
        return
    slowest = sorted(report.layers, key=lambda la: -(la.ms or 0.0))[:TOP]
    rows = report.layers if every else slowest
    fused = sum(1 for la in report.layers if " + " in la.name)
    _table(
        console,
        f"{len(rows)} of {len(report.layers)} layers of the engine, {fused} of them fused from several",
        ("layer", "kind", "output", "type", "ms>"),
        [(la.name, la.kind, _dims(la.output), la.precision, _ms(la.ms)) for la in rows],
    )


def _profile(profile: Any) -> str:
    ranges = (
        f"{name} {' … '.join('x'.join(map(str, s)) for s in dict.fromkeys(r))}" for name, r in profile.items()
    )
    return ", ".join(ranges)


def _size(n: int | None) -> str:
    return "unknown" if n is None else format_bytes(n)


def _ms(ms: float | None) -> str:
    return "?" if ms is None else f"{ms:.3f}"


def _mega(n: int | None) -> str:
    return "?" if n is None else f"{n / 1e6:,.1f}"


def _dims(shape: Sequence[int] | None) -> str:
    if shape is None:
        return "?"
    return "x".join(map(str, shape)) if math.prod(shape) or shape else "scalar"


def _counts(words: Iterable[str]) -> str:
    return ", ".join(f"{n} {w}" for w, n in Counter(words).most_common())


def _table(console: Console, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A head that ends in ">" is of numbers, to the right."""
    table = Table(title=title, title_justify="left", box=None, title_style="bold")
    for head in heads:
        table.add_column(head.rstrip(">"), justify="right" if head.endswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print()
    console.print(table)
