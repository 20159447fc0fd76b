"""Make, show, verify, build and evaluate model directories."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edged.cli import model_build, model_eval, model_import
from edged.cli._model_options import describing, request_of, say
from edged.errors import ConfigError, EdgedError, ExitCode, MissingPackage

HELP = "make, show, verify, build and evaluate model directories"


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser(
        "new",
        help="make a model directory from an ONNX file",
        description="Inspect an ONNX file, recognize its parser, and write a model directory. "
        "What the file does not say is marked '# check:' in model.toml and listed.",
    )
    new.add_argument("onnx", type=Path, metavar="FILE.onnx")
    new.add_argument("directory", type=Path, metavar="DIR", help="must not exist yet")
    describing(new)
    for name, text in (("show", "what a model directory says"), ("verify", "load it and run one picture")):
        one = actions.add_parser(name, help=text)
        one.add_argument("directory", type=Path, metavar="DIR")
        one.add_argument("--json", action="store_true", help="for programs")
    for name, module in _MODULES.items():
        module.arguments(actions.add_parser(name, help=module.HELP, description=module.DESCRIPTION))


def run(args: argparse.Namespace) -> int:
    module = _MODULES.get(args.action)
    return module.run(args) if module is not None else _ACTIONS[args.action](args)


def _new(args: argparse.Namespace) -> int:
    from edged.cli.model_new import create

    print(f"Reading {args.onnx}, running it once …", flush=True)
    say(create(request_of(args, args.onnx)))
    return int(ExitCode.OK)


def _show(args: argparse.Namespace) -> int:
    from edged.models.show import facts_of

    facts = facts_of(args.directory)
    print_facts(facts, as_json=args.json)
    return int(ExitCode.OK)


def _verify(args: argparse.Namespace) -> int:
    from edged.cli.model_trial import verify

    try:
        facts = verify(args.directory)
    except MissingPackage:
        raise
    except EdgedError as e:
        # whatever is wrong here is the model's fault, also where the engine or model.toml's text says it
        if args.json:
            print(json.dumps({"ok": False, "error": e.message, "hint": e.hint, "problems": _problems(e)}))
        else:
            _complain(e)
        return int(ExitCode.MODEL)
    print_facts(facts, as_json=args.json)
    return int(ExitCode.OK)


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {"new": _new, "show": _show, "verify": _verify}
# actions with a module of their own: HELP, DESCRIPTION, `arguments(parser)` and `run(args) -> int`
_MODULES = {"build": model_build, "eval": model_eval, "import": model_import}


def _problems(e: EdgedError) -> list[dict[str, str]]:
    found = e.problems if isinstance(e, ConfigError) else ()
    return [{"path": p.path, "message": p.message, "hint": p.hint} for p in found]


def _complain(e: EdgedError) -> None:
    import sys

    print(f"edged: {e}", file=sys.stderr)


def print_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Facts on stdout: a table for people, one JSON object for programs."""
    if as_json:
        print(json.dumps(facts))
        return
    from edged.inspecting.tables import console, show_facts

    show_facts(console(), {key.replace("_", " "): _text(value) for key, value in facts.items()})


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{k} = {v}" for k, v in value.items())
    if isinstance(value, list | tuple) and value and isinstance(value[0], str):
        return "\n".join(value)
    return str(value)
