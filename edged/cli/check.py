"""Check a configuration and everything it points at, without opening a camera or a connection.

Prints what each pipeline resolves to, or every problem found. Exit status: 0 good, 3 not.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from edged.config.load import load
from edged.config.machine import Findings, inspect_machine
from edged.config.schema import Backend, Config
from edged.config.words import hide_credentials
from edged.errors import ConfigError, ExitCode

HELP = "check a configuration and the models it names"

# where a source reads or a sink sends: the first of these that an Options has
_TARGETS = ("url", "device", "path", "paths", "endpoint", "host")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the configuration (TOML)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    config, found = _check(args.file)
    if args.json:
        problems = [{"path": p.path, "message": p.message, "hint": p.hint} for p in found.problems]
        print(json.dumps({"ok": not problems, "problems": problems, "warnings": found.warnings}))
    else:
        for problem in found.problems:
            print(f"{args.file}: {problem}")
        for warning in found.warnings:
            print(f"{args.file}: warning: {warning}")
        if config is not None and not found.problems:
            print("\n".join(summary(config, found)))
    return ExitCode.CONFIG if found.problems else ExitCode.OK


def _check(file: str) -> tuple[Config | None, Findings]:
    try:
        config = load(file)
    except ConfigError as e:
        return None, Findings(problems=list(e.problems))
    found = inspect_machine(config)
    found.warnings[:0] = config.warnings
    return config, found


def summary(config: Config, found: Findings) -> list[str]:
    """What the configuration comes to: a line in all and one for each pipeline."""
    counts = {
        "pipeline": len(config.pipelines),
        "source": len(config.sources),
        "model": len(config.models),
        "sink": len(config.sinks),
    }
    words = ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for word, n in counts.items())
    lines = [f"{config.file}: ok — {words}, device '{config.device.id}'"]
    for name, p in config.pipelines.items():
        model, entry = found.models[p.model], config.models[p.model]
        sinks = ", ".join(f"{s} ({_backend(config.sinks[s])})" for s in p.sinks) or "nowhere"
        lines.append(
            f"  {name}: {p.source} ({_backend(config.sources[p.source])})"
            f" → {p.model} ({model.name} {model.version}, {entry.engine})".replace(" ,", ",")
            + f" → {sinks}"
        )
    return lines


def _backend(b: Backend) -> str:
    """Its kind and where it reads or sends."""
    values: list[Any] = [getattr(b.options, t, None) for t in _TARGETS]
    for value in values:
        if isinstance(value, str):
            return f"{b.kind} {hide_credentials(value)}"
        if value:
            return f"{b.kind} {value[0]}" + (f" and {len(value) - 1} more" if len(value) > 1 else "")
    return str(b.kind)
