"""edged model eval: how good a model is on a folder of pictures, and whether it may take another's place."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.cli._model_options import count_argument
from edged.errors import EdgedError, EngineError, ExitCode
from edged.models.state import state_dir

if TYPE_CHECKING:
    from rich.console import Console

    from edged.evaluation.evaluate import Progress
    from edged.evaluation.gate import Verdict
    from edged.evaluation.report import Evaluation, Report

HELP = "how good a model is on a folder of pictures"
DESCRIPTION = (
    "Run pictures through the model as the daemon would. With COCO's or YOLO's labels: mean average precision; in a "
    "folder for each class: top-1 and top-5; without labels: how far the outputs agree with ONNX Runtime on the CPU, "
    "or with OTHER."
)
# what remedies call by its place in a configuration, and what it is here
_OPTIONS = {'runtime.device = "cuda"': "--device cuda", "engine = 'onnxruntime'": "--engine onnxruntime"}
_CLASSES = 12  # that the table shows, worst first


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("directory", type=Path, metavar="DIR")
    add("dataset", type=Path, metavar="DATASET", help="a folder of pictures, or COCO's JSON file")
    add("--engine", default="auto", help="as in [models.X]; default: auto")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="as in [runtime]; default: auto")
    add(
        "--against",
        type=Path,
        metavar="OTHER",
        help="another model, which is run in the same way: how far both agree, and with labels the scores of both",
    )
    add(
        "--max-drop",
        type=drop,
        metavar="X",
        help="fail where the score is lower by more than X than that of OTHER (default: than that of ONNX Runtime on "
        "the CPU); 0.01 is one point of mAP or top-1",
    )
    add("--limit", type=count_argument, metavar="N", help="so many pictures, taken evenly from all")
    add("--unlabelled", action="store_true", help="do not use the labels")
    add(
        "--state-dir",
        type=Path,
        metavar="STATE",
        default=state_dir(),
        help="where plans are, as runtime.state_dir; default: $STATE_DIRECTORY, else /var/lib/edged",
    )
    add("--json", action="store_true", help="for programs; has every picture's score")


def run(args: argparse.Namespace) -> int:
    try:
        evaluation, verdict = _evaluate(args)
    except EdgedError as e:
        for key, option in _OPTIONS.items():
            e.hint = e.hint.replace(key, option)
        if not args.json:
            raise
        print(json.dumps({"ok": False, "error": e.message, "hint": e.hint}))
        return int(e.exit_code)
    passed = verdict is None or verdict.passed
    if args.json:
        print(json.dumps({"ok": passed, **_facts(evaluation, verdict)}))
    else:
        _show(evaluation, verdict)
    return int(ExitCode.OK if passed else EngineError.exit_code)


def _evaluate(args: argparse.Namespace) -> tuple[Evaluation, Verdict | None]:
    from rich.console import Console

    from edged.evaluation.datasets import WORDS, read_dataset
    from edged.evaluation.evaluate import evaluate
    from edged.evaluation.gate import gate
    from edged.evaluation.subject import reference, set_up
    from edged.models.plans import PlanStore

    dataset = read_dataset(args.dataset)
    dataset = (dataset.without_labels() if args.unlabelled else dataset).limited(args.limit)
    plans = PlanStore(args.state_dir / "plans")
    setup = set_up(args.directory, args.engine, args.device, plans)
    other = None
    if args.against is not None:
        other = set_up(args.against, args.engine, args.device, plans)
    elif args.max_drop is not None or dataset.kind == "pictures":
        other = reference(args.directory)
    console = Console(stderr=True, quiet=args.json, highlight=False)
    n, whole = len(dataset.items), dataset.whole
    pictures = f"{n} pictures" if n == whole else f"{n} of {whole} pictures"
    console.print(f"{args.directory} on {pictures} of {args.dataset} ({WORDS[dataset.kind]})", markup=False)
    with bar(console) as progress:
        evaluation = evaluate(setup, dataset, other, progress)
    if args.max_drop is None or evaluation.baseline is None:
        return evaluation, None
    return evaluation, gate(evaluation.baseline, evaluation.report, args.max_drop)


@contextmanager
def bar(console: Console) -> Iterator[Progress]:
    """A progress bar where somebody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = console.is_terminal and not console.quiet
    with Progress(*columns, console=console, transient=True, disable=not shown) as live:
        task = live.add_task("pictures", total=None)
        yield lambda done, of: live.update(task, completed=done, total=of)


def _facts(evaluation: Evaluation, verdict: Verdict | None) -> dict[str, Any]:
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(evaluation)
    if evaluation.agreement is evaluation.report:  # without labels: say it once
        del facts["agreement"]
    said = {} if verdict is None else {"verdict": msgspec.to_builtins(verdict)}
    return {k: v for k, v in {**facts, **said}.items() if v is not None}


def _show(evaluation: Evaluation, verdict: Verdict | None) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    report, other, agreement = evaluation.report, evaluation.reference, evaluation.agreement
    engine = report.ran.get("engine", "")
    console.print(f"{report.model} {report.sha256[:12]}…: {engine}", markup=False, soft_wrap=True)
    _figures(console, report, other)
    if agreement is not None and agreement is not report:
        _figures(console, agreement, None)
    _classes(console, report)
    for note in dict.fromkeys([*report.notes, *(agreement.notes if agreement is not None else ())]):
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    if verdict is not None:
        console.print(f"{'passed' if verdict.passed else 'REFUSED'}: {verdict}", markup=False, soft_wrap=True)
        for line in () if verdict.passed else verdict.lines():
            console.print(f"  {line}", markup=False, soft_wrap=True)


def _figures(console: Console, report: Report, other: Report | None) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=other is not None, pad_edge=False)
    table.add_column("")
    table.add_column(
        report.model if other is None else f"{report.model} {report.sha256[:8]}", justify="right"
    )
    if other is not None:
        table.add_column(f"{other.model} {other.sha256[:8]}", justify="right")
    for name, value in report.figures.items():
        row = [f"{value:.4f}"] if other is None else [f"{value:.4f}", f"{other.figures.get(name, 0.0):.4f}"]
        table.add_row(name, *row)
    console.print(table)


def _classes(console: Console, report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    if not report.classes:
        return
    names = ("AP50-95", "AP50", "objects") if report.metric == "mAP50-95" else ("top-1", "top-5", "pictures")
    table = Table(box=None, pad_edge=False)
    for i, name in enumerate(("class", *names)):
        table.add_column(name, justify="right" if i else "left")
    worst = sorted(report.classes, key=lambda c: (c.score, c.label))
    for c in worst[:_CLASSES]:
        table.add_row(Text(c.label), f"{c.score:.3f}", f"{c.easier:.3f}", str(c.count))
    console.print(table)
    if len(worst) > _CLASSES:
        console.print(f"(the {_CLASSES} worst of {len(worst)} classes; --json has all)", markup=False)


def drop(text: str) -> float:
    """A --max-drop, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no drop from 0 to 1 such as 0.01")
    return value
