"""Tables with a `kind`: the registry's class gives the Options that the rest of the table is checked against."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edged import registry
from edged.config.schema import Backend, DeliverConfig, Table
from edged.config.walk import convert, struct
from edged.config.words import (
    BAD,
    Problems,
    Raw,
    as_table,
    join,
    not_yet,
    show,
    split_hint,
    suggest,
    unknown_value,
)
from edged.errors import EdgedError, Problem

AUTO_OPTIONS = "onnxruntime"  # whose options those of engine = "auto" are
URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.I)
URL_HINT = "for network cameras there is kind = 'rtsp'; else give the path of a file"


class NoOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a backend that has no keys of its own."""


def own_keys(group: str) -> tuple[str, ...]:
    """Keys of a table of this group that belong to edged, not to the backend."""
    return {"sinks": ("kind", "deliver"), "sources": ("kind",)}.get(group, ())


def options_type(cls: Any) -> type[msgspec.Struct]:
    found: type[msgspec.Struct] = getattr(cls, "Options", NoOptions)
    return found


def absolute(raw: Raw, keys: Iterable[str], path: str, base: Path, problems: Problems) -> dict[str, Any]:
    """A copy of a table with its paths (texts and lists of texts) made absolute; "-" stays (stdin, stdout)."""

    def one(value: Any, where: str) -> Any:
        if not isinstance(value, str) or value == "-":
            return value
        if not value:
            problems.append(Problem(where, f"{show(value)} is no path", "write the path of a file or folder"))
            return value
        if URL.match(value):
            problems.append(Problem(where, f"{show(value)} is a URL", URL_HINT))
            return value
        return os.path.normpath(os.path.join(base, value))

    out = dict(raw)
    for key in keys:
        where, value = join(path, key), out.get(key)
        if isinstance(value, list):
            out[key] = [one(v, join(where, i)) for i, v in enumerate(value)]
        elif key in out:
            out[key] = one(value, where)
    return out


def load_class(group: str, kind: str, path: str, problems: Problems) -> Any:
    """The backend class, or BAD with the problem at `path` (the key that names the kind)."""
    known = registry.kinds(group)
    if kind not in known:
        return unknown_value(path, kind, known, problems)
    try:
        return registry.load(group, kind)
    except EdgedError as e:
        problems.append(Problem(path, e.message, e.hint))
        return BAD


def options(cls: Any, raw: Raw, path: str, base: Path, problems: Problems, also: Sequence[str] = ()) -> Any:
    """The backend's Options, or BAD. Its optional `problems()` yields (key, "what is wrong; remedy")."""
    kind_options = options_type(cls)
    table = absolute(raw, getattr(kind_options, "PATHS", ()), path, base, problems)
    result = struct(table, kind_options, path, problems, also=also)
    if result is not BAD:
        for key, text in getattr(result, "problems", tuple)():
            problems.append(Problem(join(path, key), *split_hint(text)))
    return result


def backend(group: str, raw: Any, path: str, base: Path, problems: Problems) -> Any:
    """A [sources.X] or [sinks.X] table as Backend, or BAD."""
    table = as_table(raw, path, problems)
    if table is None:
        return BAD
    where = join(path, "kind")
    if "kind" not in table:
        problems.append(Problem(where, "is missing", f"add one of: {', '.join(registry.kinds(group))}"))
        return BAD
    kind = convert(table["kind"], msgspec.inspect.StrType(), where, problems)
    cls = BAD if kind is BAD else load_class(group, kind, where, problems)
    if cls is BAD:
        return BAD
    chosen = options(cls, table, path, base, problems, also=own_keys(group))
    deliver = (
        _deliver(cls, table.get("deliver", {}), join(path, "deliver"), problems) if group == "sinks" else None
    )
    if chosen is BAD or deliver is BAD:
        return BAD
    return Backend(kind=kind, options=chosen, deliver=deliver or DeliverConfig())


def _deliver(cls: Any, raw: Any, path: str, problems: Problems) -> Any:
    table = as_table(raw, path, problems)
    if table is None:
        return BAD
    return struct({"result": getattr(cls, "DELIVER", "latest"), **table}, DeliverConfig, path, problems)


def engine(name: str, path: str, problems: Problems) -> Any:
    """The class of a model's `engine`, or BAD; of "auto" the one whose options it takes."""
    kind = AUTO_OPTIONS if name == "auto" else name
    known = ["auto", *registry.kinds("engines")]
    if name not in known and not_yet(path, name) is None:
        problems.append(Problem(path, f"{show(name)} is unknown", suggest(name, known)))
        return BAD
    return load_class("engines", kind, path, problems)
