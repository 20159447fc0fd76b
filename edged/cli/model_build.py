"""edged model build: an ONNX model to a plan for TensorRT, in a process of its own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.cli.model_eval import drop
from edged.cli.stopping import unwinding
from edged.config.quantities import format_size, parse_size
from edged.errors import EdgedError, ExitCode
from edged.models.plans import Plan
from edged.models.sidecar import NAMES, Range, Shape
from edged.models.state import state_dir

if TYPE_CHECKING:
    from rich.console import Console

    from edged.evaluation.plan_gate import Gate

HELP = "build a TensorRT plan"
DESCRIPTION = (
    "Simplify the model's graph, cast it to FP16 where that is asked for, and build a plan with TensorRT, or with "
    "TensorRT-RTX, whose builder needs no GPU. The plan goes to STATE/plans, whole or not at all; Ctrl-C, SIGTERM and "
    "SIGHUP leave nothing behind."
)
_PART = 0.75  # of the memory that is available


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("directory", type=Path, metavar="DIR")
    add("--engine", choices=sorted(NAMES), default="tensorrt", help="default: tensorrt")
    add(
        "--precision",
        choices=["fp32", "fp16", "best"],
        default="fp16",
        help="fp32: without TF32; fp16 (default): by casting the graph, what overflows stays in fp32; best: TensorRT "
        "chooses for each layer (10.x), or fp16 with TF32 where fp32 is left (11, RTX)",
    )
    add(
        "--profile",
        type=_range,
        nargs="+",
        action="append",
        default=[],
        metavar="TENSOR=MIN:OPT:MAX",
        help="shapes such as images=1,3,416,416:1,3,416,416:4,3,416,416, or one shape for all three; again for a "
        "further profile. Default: the shape of model.toml",
    )
    add(
        "--capability",
        action="append",
        default=[],
        metavar="X.Y",
        help="a GPU to build for (8.6, 8.9); tensorrt-rtx only; default: all that it knows from 8.0 on",
    )
    add(
        "--workspace",
        type=_bytes,
        metavar="SIZE",
        help="GPU memory for a layer while it runs; default: 1 GiB",
    )
    add("--level", type=int, metavar="0-5", help="how long to look for fast kernels; default: TensorRT's own")
    add("--version-compatible", action="store_true", help="also for newer TensorRTs of the same major")
    add("--hardware-compatible", action="store_true", help="also for other GPUs from Ampere on; slower")
    add("--sparse", action="store_true", help="use 2:4 sparse weights where the model has them")
    add("--dla", type=int, metavar="CORE", help="on a core of the deep learning accelerator, else the GPU")
    add("--no-simplify", dest="simplify", action="store_false", help="give TensorRT the graph as it is")
    add(
        "--keep-fp32", action="append", default=[], metavar="NODE", help="a node (* for any text) not to cast"
    )
    add("--samples", metavar="FOLDER", help="pictures to look for overflows with, besides drawn ones")
    add(
        "--evaluate",
        type=Path,
        metavar="DATASET",
        help="run the plan on these pictures before it is installed (see edged model eval), beside the ONNX file",
    )
    add(
        "--max-drop",
        type=drop,
        metavar="X",
        default=0.01,
        help="with --evaluate: install no plan whose score is lower by more; default: 0.01, one point of mAP or top-1",
    )
    add(
        "--memory",
        type=_bytes,
        metavar="SIZE",
        help="what the builder may use of the host's memory, 0 for no cap; default: three quarters of what is free",
    )
    add(
        "--state-dir",
        type=Path,
        metavar="STATE",
        default=state_dir(),
        help="as runtime.state_dir of the configuration; default: $STATE_DIRECTORY, else /var/lib/edged",
    )
    add("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    try:
        with unwinding():
            plan = _build(args)
    except EdgedError as e:
        if not args.json:
            raise
        print(json.dumps({"ok": False, "error": e.message, "hint": e.hint}))
        return int(e.exit_code)
    if args.json:
        print(json.dumps({"ok": True, "path": str(plan.path), **_facts(plan)}))
    else:
        _show(plan)
    return int(ExitCode.OK)


def _build(args: argparse.Namespace) -> Plan:
    from rich.console import Console

    from edged.build.cap import available_memory
    from edged.build.plan import build_plan, last_build_s
    from edged.build.progress import bar, estimate
    from edged.build.request import make_request
    from edged.models.load import load_model

    memory = int(available_memory() * _PART) if args.memory is None else args.memory
    options: dict[str, Any] = {} if args.workspace is None else {"workspace": args.workspace}
    request = make_request(
        load_model(args.directory),
        [dict(p) for p in args.profile],
        engine=args.engine,
        precision=args.precision,
        capabilities=tuple(args.capability),
        level=args.level,
        version_compatible=args.version_compatible,
        hardware_compatible=args.hardware_compatible,
        sparse=args.sparse,
        dla=args.dla,
        simplify=args.simplify,
        keep_fp32=tuple(args.keep_fp32),
        samples=args.samples,
        memory=memory or None,
        **options,
    )
    last_s = last_build_s(request, args.state_dir)
    console = Console(stderr=True, quiet=args.json, highlight=False)
    expected = f"; {estimate(last_s)}" if last_s is not None else ""
    console.print(
        f"{args.directory}: a plan for {NAMES[args.engine]}, {args.precision}{expected}", soft_wrap=True
    )
    gate = _gate(args, console) if args.evaluate is not None else None
    with bar(console, last_s) as show:
        return build_plan(request, args.state_dir, show, gate)


def _gate(args: argparse.Namespace, console: Console) -> Gate:
    from edged.evaluation.plan_gate import plan_gate

    def say(done: int, of: int) -> None:
        if not done:
            console.print(f"running the plan and the ONNX file on {of} pictures …")

    return plan_gate(args.directory, args.evaluate, args.max_drop, args.engine, progress=say)


def _facts(plan: Plan) -> dict[str, Any]:
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(plan.sidecar)
    return facts


def _show(plan: Plan) -> None:
    from edged.cli.model import print_facts

    s = plan.sidecar
    layers = ", ".join(f"{n} {k}" for k, n in sorted((s.layers or {}).items()))
    print_facts(
        {
            "plan": str(plan.path),
            "for": str(s),
            "gpu": s.gpu or "built without one",
            "profiles": [_text(p) for p in s.profiles],
            "size": format_size(s.plan_bytes),
            "activation": _size(s.activation_bytes),
            "weights": _size(s.weight_bytes),
            "layers": f"{layers} (of the {s.layers_of})" if layers else "unknown",
            "built in": f"{s.build_s:.1f} s",
            "notes": list(s.notes) or "none",
            **_evaluation(s.evaluation),
        },
        as_json=False,
    )


def _evaluation(found: Mapping[str, Any] | None) -> dict[str, str]:
    if found is None:
        return {}
    scores = f"{found['metric']} {found['after']:.4f}, of the ONNX file {found['before']:.4f}"
    return {"evaluated": f"{scores}, on {found['pictures']} pictures of {found['dataset']}"}


def _size(n: int | None) -> str:
    return "unknown until it is loaded on its GPU" if n is None else format_size(n)


def _text(profile: Mapping[str, Range]) -> str:
    shapes = (
        f"{name} {' … '.join('x'.join(map(str, s)) for s in dict.fromkeys(r))}" for name, r in profile.items()
    )
    return ", ".join(shapes) or "the shapes of the file"


def _range(text: str) -> tuple[str, Range]:
    name, equals, shapes = text.rpartition("=")
    parts = [_shape(p) for p in shapes.split(":")]
    if not equals or not name or not all(parts) or len(parts) not in (1, 3):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no range of shapes such as images=1,3,416,416:1,3,416,416:4,3,416,416"
        )
    low, best, high = parts * 3 if len(parts) == 1 else parts
    return name, (low, best, high)


def _shape(text: str) -> Shape:
    try:
        return tuple(int(v) for v in text.split(","))
    except ValueError:
        return ()


def _bytes(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"'{text}' {e}: write '1 GiB' or '512 MiB'") from None
