"""TOML tables to msgspec structs, with every problem of the file instead of only the first."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from edged.config.schema import Table
from edged.errors import ConfigError, Problem
from edged.messages import Name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T", bound=Table)

# what the regular expressions of strings mean
SHA256 = r"^[0-9a-f]{64}\Z"
PATTERNS = {
    SHA256: "64 hexadecimal digits, as sha256sum prints them",
    get_args(Name)[
        1
    ].pattern: "letters, digits, dots, dashes and underscores, at most 64, starting with a letter or digit",
}

_PLACE = re.compile(r"(?P<text>.*?)(?: - at `\$(?P<place>.*)`)?\Z", re.DOTALL)
_SHOWN = 80  # characters of a wrong value


def read_toml(path: Path, text: bytes) -> dict[str, Any]:
    """The tables of a TOML file; ConfigError with line and column where it is none."""
    try:
        tables: dict[str, Any] = tomllib.loads(text.decode("utf-8"))
        return tables
    except UnicodeDecodeError as e:
        problem = Problem("", f"is not text (byte {e.start} is no UTF-8)", "model.toml is TOML, in UTF-8")
    except tomllib.TOMLDecodeError as e:
        problem = Problem("", f"is not TOML: {e}")
    raise ConfigError(str(path), [problem])


def suggestion(word: str, known: Iterable[str]) -> str:
    """Did you mean 'x'?, or the words that are known."""
    known = list(known)
    return _close(word, known) or f"known: {', '.join(known) or 'none'}"


def misspelt(word: str, known: Iterable[str]) -> bool:
    """Whether `word` is so near to one that is known that it must be meant."""
    return bool(_close(word, list(known)))


def _close(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean '{close[0]}'?" if close else ""


def read_table(kind: type[T], raw: Any, path: str, problems: list[Problem]) -> T | None:
    """`raw` as a `kind`, each field on its own; None when `problems` grew. `path`: the table's key path."""
    before = len(problems)
    if not isinstance(raw, dict):
        problems.append(Problem(path, f"must be a table, is {_shown(raw)}"))
        return None
    fields = {f.encode_name: f for f in msgspec.structs.fields(kind)}
    for key in raw.keys() - fields.keys():
        problems.append(Problem(_join(path, key), "unknown key", suggestion(key, fields)))
    values = {}
    for name, field in fields.items():
        if name in raw:
            value = _value(field.type, raw[name], _join(path, name), problems)
            values[field.name] = value
        elif field.required:
            problems.append(Problem(_join(path, name), "is missing"))
    return kind(**values) if len(problems) == before else None


def _value(kind: Any, raw: Any, path: str, problems: list[Problem]) -> Any:
    if isinstance(kind, type) and issubclass(kind, Table):
        return read_table(kind, raw, path, problems)
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as e:
        problems.append(_refusal(e, kind, raw, path))
        return None


def _refusal(e: msgspec.ValidationError, kind: Any, raw: Any, path: str) -> Problem:
    """The words of msgspec with the value, the place inside a list, and a remedy where one is known."""
    choices = [c for c in _choices(kind) if isinstance(c, str)]
    if choices and isinstance(raw, str):
        return Problem(path, f"'{raw}' is unknown", suggestion(raw, choices))
    found = _PLACE.match(str(e))
    text, place = (found["text"], found["place"] or "") if found else (str(e), "")
    text = (
        text.partition(" matching regex")[0]
        .partition(", got `")[0]
        .replace("Expected", "expected")
        .replace("Invalid", "invalid")
    )
    return Problem(f"{path}{place}", f"{text}, got {_shown(raw)}", PATTERNS.get(_pattern(kind), ""))


def _choices(kind: Any) -> tuple[Any, ...]:
    """The values of a Literal, or of an optional one."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(c for k in get_args(kind) if get_origin(k) is Literal for c in get_args(k))


def _pattern(kind: Any) -> str:
    """The regular expression of an Annotated string, or ""."""
    return next((m.pattern for m in getattr(kind, "__metadata__", ()) if getattr(m, "pattern", None)), "")


def split(raw: Mapping[str, Any], kind: type[Table]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys that `kind` has, and all others."""
    names = {f.encode_name for f in msgspec.structs.fields(kind)}
    return {k: v for k, v in raw.items() if k in names}, {k: v for k, v in raw.items() if k not in names}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
