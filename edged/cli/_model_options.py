"""What `edged model new` and `import` ask and say alike: how the model's input and output are to be described."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edged.cli.model_new import Created, Request


def describing(parser: argparse.ArgumentParser) -> None:
    """The options that become lines of model.toml."""
    add = parser.add_argument
    add("--name", default="", help="default: the directory's name")
    add("--version", default="")
    add("--task", default="", choices=["detect", "classify", "segment", "raw"])
    add("--parser", default="", help="what reads the outputs; default: recognized")
    add("--size", type=_size, metavar="WxH", help="of the input, where the file leaves it open")
    add("--color", choices=["RGB", "BGR", "GREY"])
    add("--resize", choices=["letterbox", "letterbox-topleft", "stretch"])
    add("--pad", type=int, metavar="LEVEL", help="grey level of letterbox bars")
    add("--mean", type=_numbers, metavar="M[,M,M]", help="in grey levels, one or one a channel")
    add("--std", type=_numbers, metavar="S[,S,S]", help="value = (pixel - mean) / std")
    add("--labels", default="", metavar="FILE", help="one label a line, or 'coco80'")
    add(
        "--shape",
        type=shape_argument,
        action="append",
        default=[],
        metavar="TENSOR=1,3,H,W",
        help="the input's shape; changes the copy where the file fixes another",
    )


def request_of(args: argparse.Namespace, onnx: Path, origin: Path | None = None) -> Request:
    """What these options ask for, of the file `onnx`. `origin`: the file that it was made of."""
    from edged.cli.model_new import Request

    said = {k: getattr(args, k) for k in ("color", "resize", "pad", "mean", "std")}
    return Request(
        onnx=onnx,
        directory=args.directory,
        origin=origin,
        name=args.name,
        version=args.version,
        task=args.task,
        parser=args.parser,
        size=args.size,
        labels=args.labels,
        input={k: v for k, v in said.items() if v is not None},
        shapes=dict(args.shape),
    )


def say(created: Created) -> None:
    """What was made, and what its author has to check."""
    model = created.model
    print(f"{model.path}: {model.task}, parser {model.output.parser}, {len(model.output.labels)} labels")
    for note in created.notes:
        print(f"  note: {note}")
    if created.checks:
        print(f"Please check in {model.path / 'model.toml'} (marked '# check:'):")
        for check in created.checks:
            print(f"  - {check}")
    print(f"Next: edged model verify {model.path}")


def _size(text: str) -> tuple[int, int]:
    try:
        w, h = (int(v) for v in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no size such as 640x480") from None
    if w < 1 or h < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not positive")
    return w, h


def _numbers(text: str) -> float | list[float]:
    try:
        values = [float(v) for v in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no list of numbers such as 123.7,116.3,103.5"
        ) from None
    return values[0] if len(values) == 1 else values


def count_argument(text: str) -> int:
    """A number from 1 on, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 on")
    return int(text)


def shape_argument(text: str) -> tuple[str, tuple[int, ...]]:
    """TENSOR=1,3,H,W, for argparse."""
    name, equals, dims = text.rpartition("=")
    try:
        shape = tuple(int(v) for v in dims.split(","))
    except ValueError:
        shape = ()
    if not equals or not name or not shape or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no shape such as images=1,3,480,640")
    return name, shape
