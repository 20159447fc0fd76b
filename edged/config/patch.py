"""Configurations as plain values, changed and compared: RFC 7396 merge patch, difference, secrets hidden, hash.

    stored ──redact──► shown ──somebody edits──► wanted ──restore(wanted, stored)──► what is applied

A value that is still as it was shown keeps the stored secret, so that what was shown can be sent back.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from edged.config.words import GROUPS, MASK, Problems, has_mask, hide_credentials, is_secret, join, show
from edged.errors import ConfigError, Problem, encodable

MAX_DEPTH = 32  # tables and lists in each other; a configuration needs six
_TIMES = (datetime.datetime, datetime.date, datetime.time)  # which TOML has and JSON has not
_LONG = 60  # characters of a value that is shown


def plain(data: Mapping[str, Any], name: str = "the configuration") -> dict[str, Any]:
    """A copy of plain JSON values; TOML's times become text. ConfigError where something else is in it."""

    def text(value: str, path: str) -> str:
        if value != encodable(value):
            raise ConfigError(name, [Problem(path, f"is no text: {value}", "write it in whole characters")])
        return value

    def copy(value: Any, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ConfigError(name, [Problem(path, f"is nested deeper than {MAX_DEPTH}", "write it flatter")])
        if isinstance(value, Mapping):
            return {text(str(k), path): copy(v, join(path, str(k)), depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [copy(v, join(path, i), depth + 1) for i, v in enumerate(value)]
        if isinstance(value, _TIMES):
            return value.isoformat()
        if isinstance(value, str):
            return text(value, path)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        raise ConfigError(name, [Problem(path, f"is a {type(value).__name__}", "write what TOML can hold")])

    return {text(str(k), ""): copy(v, join("", str(k)), 1) for k, v in data.items()}


def texts(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """(key path, text) of each key and text, as deep as a configuration may go."""
    if isinstance(value, str):
        yield path, value
    elif depth > MAX_DEPTH:
        return
    elif isinstance(value, Mapping):
        for key, v in value.items():
            where = join(path, key)
            yield where, key
            yield from texts(v, where, depth + 1)
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from texts(v, join(path, i), depth + 1)


def canonical(value: Any) -> bytes:
    """The one JSON text of plain values: keys sorted, ASCII, no spaces. 1 and 1.0 differ, as they do in TOML."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def etag(data: Mapping[str, Any]) -> str:
    """Hex sha256 of the canonical JSON."""
    return hashlib.sha256(canonical(data)).hexdigest()


def merge(target: Any, patch: Any) -> Any:
    """`target` changed by an RFC 7396 merge patch: null removes, tables merge, all else replaces.

    Both stay as they are. It goes as deep as `patch`: pass what comes from outside through `plain` first.
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs; None where there is none. A table that came or went is one change, and so is a list."""

    keys: tuple[str, ...]
    old: Any
    new: Any

    @property
    def path(self) -> str:
        """The key path, as in every error of a configuration."""
        path = ""
        for key in self.keys:
            path = join(path, key)
        return path

    def __str__(self) -> str:
        """For people; secrets are hidden."""
        old, new = (_words(v, self.keys) for v in (self.old, self.new))
        if self.old is None:
            return f"{self.path}: {new} added"
        if self.new is None:
            return f"{self.path}: {old} removed"
        return f"{self.path}: changed, hidden" if old == new else f"{self.path}: {old} → {new}"


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """What leads from `old` to `new`, sorted by path."""
    return list(_diff((), old, new))


def _diff(keys: tuple[str, ...], old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _diff((*keys, key), old.get(key), new.get(key))
    elif canonical(old) != canonical(new):
        yield Change(keys, old, new)


def _words(value: Any, keys: tuple[str, ...]) -> str:
    hidden = _redact(value, keys, any(_hides(keys[:n]) for n in range(1, len(keys) + 1)))
    if isinstance(hidden, list) and len(text := json.dumps(hidden, ensure_ascii=False)) <= _LONG:
        return text
    return show(hidden)


def redact(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy to show: *** for secrets and for the users and passwords in addresses."""
    return {k: _redact(v, (k,), _hides((k,))) for k, v in data.items()}


def _hides(keys: tuple[str, ...]) -> bool:
    """Whether the last key says that all below it is secret. Names that people choose ([pipelines.passage]) do not."""
    named = len(keys) == 2 and keys[0] in GROUPS
    return not named and is_secret(keys[-1])


def _redact(value: Any, keys: tuple[str, ...], hidden: bool) -> Any:
    if isinstance(value, Mapping):
        return {k: _redact(v, (*keys, k), hidden or _hides((*keys, k))) for k, v in value.items()}
    if isinstance(value, list):
        return [_redact(v, keys, hidden) for v in value]
    if hidden:
        return MASK
    return hide_credentials(value) if isinstance(value, str) else value


def restore(wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """`wanted` with the secrets of `stored` wherever it still has what `redact` shows for them.

    ConfigError where a hidden secret is anywhere else: there is nothing that it could stand for.
    """
    problems: Problems = []
    whole: dict[str, Any] = _restore(wanted, stored, redact(stored), "", problems)
    if problems:
        raise ConfigError("the new configuration", problems)
    return whole


def _restore(wanted: Any, stored: Any, shown: Any, path: str, problems: Problems) -> Any:
    if isinstance(wanted, Mapping):
        old_of, was_of = (v if isinstance(v, Mapping) else {} for v in (stored, shown))
        return {
            k: _restore(v, old_of.get(k), was_of.get(k), join(path, k), problems) for k, v in wanted.items()
        }
    if isinstance(wanted, list):
        olds, seen = ([*v[: len(wanted)]] if isinstance(v, list) else [] for v in (stored, shown))
        items = enumerate(zip_longest(wanted, olds, seen))
        return [_restore(v, old, was, join(path, i), problems) for i, (v, old, was) in items]
    if not isinstance(wanted, str):
        return wanted
    if wanted == shown:
        return stored
    if has_mask(wanted):
        problems.append(Problem(path, "holds a secret that was hidden (***)", _HIDDEN))
    return wanted


_HIDDEN = "write the secret itself; the stored one is kept where the value around it stays as it was shown"
