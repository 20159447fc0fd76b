"""TOML values to msgspec types, leaf by leaf, so that every problem is found and not only the first.

Strict as TOML is: no text becomes a number. An integer is a number where a float is wanted; inf and nan
are refused everywhere.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from edged.config.quantities import parse_size
from edged.config.words import (
    BAD,
    LARGEST,
    Bad,
    Problems,
    as_table,
    join,
    show,
    split_hint,
    unknown_keys,
    unknown_value,
)
from edged.errors import Problem


def _wrong(path: str, t: inspect.Type, value: Any, problems: Problems) -> Bad:
    problems.append(Problem(path, f"must be {describe(t)}, got {show(value, path)}", f"write {_example(t)}"))
    return BAD


def _bound(path: str, value: Any, what: str, hint: str, problems: Problems) -> Bad:
    problems.append(Problem(path, f"must be {what}, got {show(value, path)}", hint))
    return BAD


def _text(value: Any, t: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, str):
        return _wrong(path, t, value, problems)
    if _length(value, t, path, "characters", problems) is BAD:
        return BAD
    if t.pattern is not None and re.search(t.pattern, value) is None:
        return _bound(path, value, f"text that matches {t.pattern}", "change it so that it matches", problems)
    return value


def _length(value: Any, t: Any, path: str, unit: str, problems: Problems) -> Any:
    n = len(value)
    if t.min_length is not None and n < t.min_length:
        problems.append(Problem(path, f"has {n} {unit}", f"give at least {t.min_length}"))
        return BAD
    if t.max_length is not None and n > t.max_length:
        problems.append(Problem(path, f"has {n} {unit}", f"give at most {t.max_length}"))
        return BAD
    return value


def _integer(value: Any, t: Any, path: str, problems: Problems) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        return _wrong(path, t, value, problems)
    return _in_range(value, t, path, problems)


def _number(value: Any, t: Any, path: str, problems: Problems) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _wrong(path, t, value, problems)
    if isinstance(value, float) and not math.isfinite(value):
        return _bound(path, value, "a finite number", "write an ordinary number", problems)
    if _in_range(value, t, path, problems) is BAD:
        return BAD
    return float(value)


# constraint of msgspec.Meta -> (test, words)
_RANGE: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("ge", lambda v, c: bool(v >= c), "at least"),
    ("gt", lambda v, c: bool(v > c), "above"),
    ("le", lambda v, c: bool(v <= c), "at most"),
    ("lt", lambda v, c: bool(v < c), "below"),
    ("multiple_of", lambda v, c: bool(v % c == 0), "a multiple of"),
)


def _in_range(value: Any, t: Any, path: str, problems: Problems) -> Any:
    if abs(value) > LARGEST:
        return _bound(path, value, "a number of 64 bits", "write a smaller one", problems)
    for name, holds, words in _RANGE:
        limit = getattr(t, name)
        if limit is not None and not holds(value, limit):
            return _bound(path, value, f"{words} {limit:g}", f"allowed: {_range(t)}", problems)
    return value


def _range(t: Any) -> str:
    return " and ".join(f"{w} {getattr(t, n):g}" for n, _, w in _RANGE if getattr(t, n) is not None)


def _boolean(value: Any, t: Any, path: str, problems: Problems) -> Any:
    return value if isinstance(value, bool) else _wrong(path, t, value, problems)


def _one_of(values: Mapping[Any, Any], value: Any, t: Any, path: str, problems: Problems) -> Any:
    for known, result in values.items():
        if type(known) is type(value) and known == value:
            return result
    texts = [str(v) for v in values]
    if isinstance(value, str):
        return unknown_value(path, value, texts, problems)
    return _wrong(path, t, value, problems)


def _literal(value: Any, t: Any, path: str, problems: Problems) -> Any:
    return _one_of({v: v for v in t.values}, value, t, path, problems)


def _enum(value: Any, t: Any, path: str, problems: Problems) -> Any:
    return _one_of({m.value: m for m in t.cls}, value, t, path, problems)


def _list(value: Any, t: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, (list, tuple)):
        return _wrong(path, t, value, problems)
    if _length(value, t, path, "items", problems) is BAD:
        return BAD
    items = [convert(v, t.item_type, join(path, i), problems) for i, v in enumerate(value)]
    if any(v is BAD for v in items):
        return BAD
    return items if isinstance(t, inspect.ListType) else tuple(items)


def _tuple(value: Any, t: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, (list, tuple)) or len(value) != len(t.item_types):
        return _wrong(path, t, value, problems)
    pairs = zip(value, t.item_types, strict=True)
    items = [convert(v, item, join(path, i), problems) for i, (v, item) in enumerate(pairs)]
    return BAD if any(v is BAD for v in items) else tuple(items)


def _dict(value: Any, t: Any, path: str, problems: Problems) -> Any:
    table = as_table(value, path, problems)
    if table is None or _length(table, t, path, "keys", problems) is BAD:
        return BAD
    out = {k: convert(v, t.value_type, join(path, k), problems) for k, v in table.items()}
    return BAD if any(v is BAD for v in out.values()) else out


def _struct(value: Any, t: Any, path: str, problems: Problems) -> Any:
    return struct(value, t.cls, path, problems)


def _union(value: Any, t: Any, path: str, problems: Problems) -> Any:
    """TOML has no null, so X | None is X. Of several types the first that takes the value."""
    types = [x for x in t.types if not isinstance(x, inspect.NoneType)]
    if len(types) == 1:
        return convert(value, types[0], path, problems)
    tries = []
    for candidate in types:
        found: Problems = []
        result = convert(value, candidate, path, found)
        if result is not BAD:
            return result
        tries.append(found)
    # a problem inside the value, or a bound it breaks, says more than "must be A or B"
    inside = [
        f for f, x in zip(tries, types, strict=True) if not f[0].message.startswith(f"must be {describe(x)}")
    ]
    if inside:
        problems.extend(inside[0])
        return BAD
    return _wrong(path, t, value, problems)


def _quantity(value: Any, t: Any, path: str, problems: Problems) -> Any:
    """Annotated types; `extra={"quantity": "bytes"}` also takes "1 GiB"."""
    if (t.extra or {}).get("quantity") != "bytes":
        return convert(value, t.type, path, problems)
    try:
        n = parse_size(value)
    except ValueError:
        return _wrong(path, t, value, problems)
    return convert(n, t.type, path, problems)


def _any(value: Any, t: Any, path: str, problems: Problems) -> Any:
    return value


_CONVERT: dict[type[inspect.Type], Callable[[Any, Any, str, Problems], Any]] = {
    inspect.AnyType: _any,
    inspect.BoolType: _boolean,
    inspect.DictType: _dict,
    inspect.EnumType: _enum,
    inspect.FloatType: _number,
    inspect.IntType: _integer,
    inspect.ListType: _list,
    inspect.LiteralType: _literal,
    inspect.Metadata: _quantity,
    inspect.StrType: _text,
    inspect.StructType: _struct,
    inspect.TupleType: _tuple,
    inspect.UnionType: _union,
    inspect.VarTupleType: _list,
}

# type -> (what it is in an error, how it is written)
_WORDS: dict[type[inspect.Type], tuple[str, str]] = {
    inspect.BoolType: ("true or false", "true or false, without quotes"),
    inspect.DictType: ("a table", "{ key = value }"),
    inspect.FloatType: ("a number", "it without quotes, like 0.5"),
    inspect.IntType: ("a whole number", "it without quotes, like 4"),
    inspect.ListType: ("a list", "[..., ...]"),
    inspect.VarTupleType: ("a list", "[..., ...]"),
    inspect.StrType: ("text", "it in quotes"),
    inspect.StructType: ("a table", "{ key = value }"),
}


def _chosen(t: Any) -> list[Any]:
    return [m.value for m in t.cls] if isinstance(t, inspect.EnumType) else list(t.values)


def describe(t: inspect.Type) -> str:
    """A type in the words of an error."""
    if isinstance(t, (inspect.LiteralType, inspect.EnumType)):
        return "one of " + ", ".join(map(repr, _chosen(t))) if len(_chosen(t)) > 1 else repr(_chosen(t)[0])
    if isinstance(t, inspect.TupleType):
        return f"a list of {len(t.item_types)}"
    if isinstance(t, inspect.UnionType):
        return " or ".join(describe(x) for x in t.types if not isinstance(x, inspect.NoneType))
    if isinstance(t, inspect.Metadata):
        return "an amount of memory" if (t.extra or {}).get("quantity") else describe(t.type)
    return _WORDS.get(type(t), (type(t).__name__, ""))[0]


def _example(t: inspect.Type) -> str:
    if isinstance(t, (inspect.LiteralType, inspect.EnumType)):
        return json.dumps(_chosen(t)[0])
    if isinstance(t, inspect.TupleType):
        return "[" + ", ".join(["..."] * len(t.item_types)) + "]"
    if isinstance(t, inspect.UnionType):
        return " or ".join(_example(x) for x in t.types if not isinstance(x, inspect.NoneType))
    if isinstance(t, inspect.Metadata):
        return (
            '"1 GiB", "512 MiB" or a number of bytes' if (t.extra or {}).get("quantity") else _example(t.type)
        )
    return _WORDS.get(type(t), ("", "another value"))[1]


def convert(value: Any, t: inspect.Type, path: str, problems: Problems) -> Any:
    """`value` as type `t`, or BAD with what is wrong appended to `problems`."""
    handler = _CONVERT.get(type(t))
    if handler is None:  # the Options of somebody's backend
        problems.append(Problem(path, f"a configuration cannot hold a {type(t).__name__}", "remove the key"))
        return BAD
    return handler(value, t, path, problems)


_S = TypeVar("_S", bound=msgspec.Struct)


def struct(value: Any, cls: type[_S], path: str, problems: Problems, *, also: Sequence[str] = ()) -> _S | Bad:
    """A table as a struct, or BAD; all its problems are appended. `also` are keys of it that are no fields.

    Unknown keys alone still give the struct, so that later checks see it.
    """
    table = as_table(value, path, problems)
    if table is None:
        return BAD
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    unknown_keys(table, [*also, *(f.encode_name for f in info.fields)], path, problems)
    values: dict[str, Any] = {}
    for f in info.fields:
        where = join(path, f.encode_name)
        if f.encode_name in table:
            values[f.name] = convert(table[f.encode_name], f.type, where, problems)
        elif f.required:
            problems.append(Problem(where, "is missing", f"add it: {describe(f.type)}"))
            values[f.name] = BAD
    if any(v is BAD for v in values.values()):
        return BAD
    try:
        return cls(**values)
    except ValueError as e:  # from __post_init__
        message, hint = split_hint(str(e))
        problems.append(Problem(path, message, hint or "change one of its keys"))
        return BAD
