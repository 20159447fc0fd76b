"""edged model import: a model of another framework to a model directory."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edged.cli._model_options import describing, request_of, say
from edged.errors import EdgedError, ExitCode

if TYPE_CHECKING:
    from edged.importing.original import Asked

HELP = "make a model directory from a model of PyTorch, TensorFlow, Keras or TensorFlow Lite"
DESCRIPTION = (
    "Export a PyTorch ExportedProgram (.pt2), TorchScript (.pt, .pth), a TensorFlow SavedModel (a folder), Keras "
    "(.keras, .h5) or TensorFlow Lite (.tflite) to ONNX, compare both on random inputs, and make a model directory as "
    "edged model new does. The framework must be installed. It loads the file, and code in it may run: import "
    "only what you trust."
)
_TOLERANCE = 1e-4  # as importing/compare.py has it, which is not imported for a help text


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("directory", type=Path, metavar="DIR", help="must not exist yet")
    parser.add_argument(
        "--tolerance",
        type=_positive,
        default=_TOLERANCE,
        metavar="X",
        help=f"how far outputs may differ, in parts of the greatest value (at least 1); default: {_TOLERANCE:g}",
    )
    describing(parser)


def run(args: argparse.Namespace) -> int:
    from edged.cli.model_new import create, refuse_existing
    from edged.importing.convert import converted, describe
    from edged.importing.recognize import KINDS, recognize

    refuse_existing(args.directory)
    print(f"Reading {args.file} ({KINDS[recognize(args.file)]}), exporting and comparing it …", flush=True)
    with converted(args.file, _asked(args), args.tolerance) as found:
        print(describe(found))
        try:
            say(create(request_of(args, found.file, args.file)))
        except EdgedError as e:
            # the user's words: the export is gone by then
            e.message = e.message.replace(str(found.file), str(args.file))
            e.hint = e.hint.replace(str(found.file), str(args.file)).replace(
                "edged model new", "edged model import"
            )
            raise
    return int(ExitCode.OK)


def _asked(args: argparse.Namespace) -> Asked:
    from edged.importing.original import Asked

    return Asked(dict(args.shape), args.size, 1 if args.color == "GREY" else 3)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no tolerance such as 1e-4")
    return value
