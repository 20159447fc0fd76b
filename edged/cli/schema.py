"""JSON Schemas: of the configuration, for editors, and of the messages, for those who receive them."""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from edged.errors import EdgedError
from edged.messages import Event, Result, State

HELP = "print the JSON Schema of the configuration or of the messages"
MEND = "edged schema messages --write edged/schemas"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MESSAGES: dict[str, Any] = {"result": Result, "state": State, "event": Event}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=("config", "messages"), default="config")
    parser.add_argument(
        "--write", metavar="DIR", type=Path, help="write files into DIR (made if absent) instead of printing"
    )


def run(args: argparse.Namespace) -> int:
    files = message_schemas() if args.what == "messages" else _config_schema()
    if args.write is None:
        whole = message_schema() if args.what == "messages" else files["config"]
        print(_text(whole), end="")
        return 0
    try:
        args.write.mkdir(parents=True, exist_ok=True)
        for name, schema in files.items():
            (args.write / f"{name}.json").write_text(_text(schema))
    except OSError as e:
        raise EdgedError(
            f"cannot write {e.filename}: {e.strerror}", hint="give a directory you can write"
        ) from e
    return 0


def message_schema() -> dict[str, Any]:
    """One schema for any message: `type` tells which."""
    return _schema(Result | State | Event)


def message_schemas() -> dict[str, dict[str, Any]]:
    """A schema for each class of message; what edged/schemas holds."""
    return {name: _schema(kind) for name, kind in _MESSAGES.items()}


def _schema(kind: Any) -> dict[str, Any]:
    schema: dict[str, Any] = _alike({"$schema": _DIALECT, **msgspec.json.schema(kind)})
    return schema


def _alike(node: Any) -> Any:
    """The same on every version: Python 3.12 keeps a docstring's indentation, msgspec 0.20 may put null first."""
    if isinstance(node, list):
        return [_alike(item) for item in node]
    if not isinstance(node, dict):
        return node
    alike = {key: _alike(value) for key, value in node.items()}
    if isinstance(alike.get("description"), str):
        alike["description"] = inspect.cleandoc(alike["description"])
    if "anyOf" in alike:
        alike["anyOf"].sort(key=lambda choice: choice == {"type": "null"})
    return alike


def _config_schema() -> dict[str, dict[str, Any]]:
    from edged.config.json_schema import json_schema

    return {"config": json_schema()}


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2) + "\n"
