"""A configuration's plain values as TOML text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from edged.models.toml_text import value

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def document(data: Mapping[str, Any]) -> str:
    """Tables below their headings, those in lists inline. Raises TypeError for what TOML does not have."""
    return "\n".join(_table("", data)).strip("\n") + "\n"


def _table(path: str, table: Mapping[str, Any]) -> Iterator[str]:
    plain = {k: v for k, v in table.items() if not isinstance(v, Mapping)}
    if path and (plain or not table):
        yield from ("", f"[{path}]")
    for key, v in plain.items():
        yield f"{_key(key)} = {_inline(v)}"
    for key, v in table.items():
        if isinstance(v, Mapping):
            yield from _table(f"{path}.{_key(key)}" if path else _key(key), v)


def _inline(v: Any) -> str:
    if isinstance(v, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_inline(x)}" for k, x in v.items()) + "}"
    if isinstance(v, (list, tuple)):
        return f"[{', '.join(map(_inline, v))}]"
    return value(v)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else value(key)
