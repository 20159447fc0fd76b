"""A configuration for another folder than the one that its relative paths are relative to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edged import registry
from edged.config.backends import AUTO_OPTIONS, URL, absolute, options_type
from edged.errors import EdgedError

Table = Mapping[str, Any]


def rebase(data: Table, base: Path) -> dict[str, Any]:
    """A copy of plain values in which paths that are relative to `base` are absolute. What is wrong stays as it is."""
    out = dict(data)
    for key, paths in (("runtime", ("state_dir",)), ("control", ("socket",))):
        if isinstance(data.get(key), Mapping):
            out[key] = _with(data[key], paths, base)
    out.update({group: _each(data, group, base) for group in ("sources", "sinks", "models", "pipelines")})
    return {key: value for key, value in out.items() if key in data}


def _each(data: Table, group: str, base: Path) -> Any:
    tables = data.get(group)
    if not isinstance(tables, Mapping):
        return tables
    declared = data.get("sources", {})
    return {n: _entry(group, t, base, declared) if isinstance(t, Mapping) else t for n, t in tables.items()}


def _entry(group: str, table: Table, base: Path, declared: Any) -> Any:
    if group == "pipelines":
        return {**table, "source": _source(table["source"], base, declared)} if "source" in table else table
    if group == "models":
        table = _with(table, ("path",), base)
        engine = table.get("engine", "auto")
        options = table.get("options")
        if isinstance(options, Mapping):
            kind = AUTO_OPTIONS if engine == "auto" else engine
            table = {**table, "options": _with(options, _paths("engines", kind), base)}
        return table
    return _with(table, _paths(group, table.get("kind")), base)


def _source(value: Any, base: Path, declared: Any) -> Any:
    """What pipelines.X.source is: see shorthand.py."""
    if isinstance(value, Mapping):
        return _entry("sources", value, base, declared)
    if not isinstance(value, str) or not value or value in declared or URL.match(value):
        return value
    return os.path.normpath(base / value)


def _with(table: Table, paths: Iterable[str], base: Path) -> dict[str, Any]:
    given = [p for p in paths if table.get(p)]  # "" means the default
    return absolute(table, given, "", base, [])


def _paths(group: str, kind: Any) -> Iterable[str]:
    """Keys of a backend's options that are paths."""
    if not isinstance(kind, str) or kind not in registry.kinds(group):
        return ()
    try:
        found: Iterable[str] = getattr(options_type(registry.load(group, kind)), "PATHS", ())
    except EdgedError:  # the daemon says what is wrong with it
        return ()
    return found
