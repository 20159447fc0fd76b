"""What is in an ONNX file, a model directory or a TensorRT plan: layers, precisions, memory, and time per layer.

An ONNX file is run on ONNX Runtime, whose own fusions are shown. A plan is asked through TensorRT where this machine
can load it; else its sidecar tells what the builder knew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from edged.cli._model_options import shape_argument
from edged.doctor.place import Place
from edged.errors import EdgedError, ExitCode
from edged.inspecting import show, tables
from edged.inspecting.graph import Shape, read_layers
from edged.inspecting.plan import is_plan, read_plan
from edged.inspecting.times import Times, measure
from edged.models.load import MODEL_TOML, load_model
from edged.models.plans import PLAN, Plan, PlanStore
from edged.models.state import state_dir

HELP = "layers, memory and times of an ONNX file, a model or a plan"


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("path", type=Path, metavar="PATH", help="an ONNX file, a model directory, a plan or its folder")
    add(
        "--shape",
        type=shape_argument,
        action="append",
        default=[],
        metavar="TENSOR=1,3,H,W",
        help="of an input",
    )
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where an ONNX file runs (cpu)")
    add("--runs", type=int, default=10, metavar="N", help="how often, for the medians (10)")
    add("--threads", type=int, default=0, metavar="N", help="of one operator; default: the cores there are")
    add("--no-run", action="store_true", help="run and load nothing")
    add("--all", action="store_true", help="every layer, not only those that matter most")
    add(
        "--state-dir",
        type=Path,
        metavar="DIR",
        default=state_dir(),
        help="the device's own plans, which it loads; default: $STATE_DIRECTORY, else /var/lib/edged",
    )
    add("--model", type=Path, metavar="DIR", help="of a plan: the model it was built from")
    add("--json", action="store_true", help="print one JSON object, with every layer")


def run(args: argparse.Namespace) -> int:
    place = Place(state_dir=args.state_dir)
    path: Path = args.path
    if path.is_dir() and not (path / MODEL_TOML).exists() and (path / PLAN).exists():
        path = path / PLAN
    console = tables.console()
    if not path.is_dir() and is_plan(path):
        report = read_plan(path, place, load=not args.no_run, model=args.model)
        if args.json:
            print(json.dumps({"kind": "plan", **msgspec.to_builtins(report)}))
        else:
            show.show_plan(console, report, every=args.all)
        return int(ExitCode.OK)
    _onnx(args, path, console, place)
    return int(ExitCode.OK)


def _onnx(args: argparse.Namespace, path: Path, console: Console, place: Place) -> None:
    """An ONNX file; of a model directory with the shapes of its model.toml and its plans."""
    file, shapes, sha256 = path, dict(args.shape), ""
    if path.is_dir():
        model = load_model(path)
        file, sha256 = model.file, model.sha256
        shapes = {model.input.tensor: model.input.shape(), **model.shapes, **shapes}
    graph = read_layers(file, shapes)
    times, why = (None, "not asked for (--no-run)") if args.no_run else _measured(args, file, shapes)
    plans, none = _plans(place.store, sha256)
    if args.json:
        answer: dict[str, Any] = {"kind": "model" if sha256 else "onnx", **msgspec.to_builtins(graph)}
        answer |= {"times": msgspec.to_builtins(times), "no_times": why}
        answer["no_plans"] = none
        answer["plans"] = [{"path": str(p.path), **msgspec.to_builtins(p.sidecar)} for p in plans]
        print(json.dumps(answer))
        return
    show.show_graph(console, graph, times, why, every=args.all)
    if sha256:
        lines = [f"  {p.path}: {p.sidecar}" for p in plans] or [f"  {none}"]
        console.print("\nPlans", *lines, sep="\n", soft_wrap=True)


def _plans(store: PlanStore, sha256: str) -> tuple[list[Plan], str]:
    """Those of the model, or why there are none."""
    try:
        found = store.plans(sha256) if sha256 else []
        return found, "" if found else f"none in {store.root}"
    except EdgedError as e:
        return [], f"{e.message}; {e.hint}"


def _measured(args: argparse.Namespace, file: Path, shapes: Mapping[str, Shape]) -> tuple[Times | None, str]:
    """The times, or why there are none: what is in the file is worth showing also where it does not run."""
    try:
        return measure(file, shapes, device=args.device, runs=args.runs, threads=args.threads), ""
    except EdgedError as e:
        return None, f"{e.message}; {e.hint}" if e.hint else e.message
