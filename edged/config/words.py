"""The words of configuration problems: key paths, values shown, suggestions, and what is not there yet."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, Final

from edged.errors import Problem


class Bad(Enum):
    BAD = "bad"


BAD: Final = Bad.BAD  # what a conversion gives for a value that has a problem
Problems = list[Problem]
Raw = Mapping[str, Any]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.A)
_SECRET = re.compile(r"pass|secret|token|key$", re.I)
_WHERE = re.compile(r"^tls_|_(env|file)$", re.I)  # a path or a variable, where a secret is kept
# user and password before the host; a password may hold an @ itself
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s\"']*@")
# ?user=…&password=… of an address, and user-pw=… of a GStreamer pipeline
_LOGIN = re.compile(r"(?i)\b((?:user|login|pass|pwd|auth|token|secret)[\w-]*\s*=\s*)(\"[^\"]*\"|[^&/\s\"']*)")
MASK = "***"
_MASKED = re.compile(r"://\*\*\*@|=\s*\*\*\*")  # as hide_credentials leaves it
LARGEST = 2**63 - 1  # of a TOML integer
GROUPS = ("models", "sources", "sinks", "pipelines", "sync_groups")  # tables of tables that people name

# Keys and values of the design that this version does not have: an own remedy beats "unknown".
_NOT_YET: dict[str, str] = {
    "sinks.*.deliver.event": "events are always sent at once: remove the key",
}


def join(path: str, key: str | int) -> str:
    """The path of a key of a table, or of an item of a list: sources."a b".paths[2]. Credentials in it are hidden."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    key = hide_credentials(key)
    text = key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=not key.isprintable())
    return f"{path}.{text}" if path else text


def hide_credentials(text: str) -> str:
    """Text with the users and passwords of addresses and pipelines as ***."""
    return _LOGIN.sub(r"\1***", _USERINFO.sub(r"\1***@", text))


def has_mask(text: str) -> bool:
    """Whether credentials were hidden in it."""
    return text == MASK or _MASKED.search(text) is not None


def is_secret(key: str) -> bool:
    """Whether the value of a key of this name is not to be shown."""
    return _SECRET.search(key) is not None and _WHERE.search(key) is None


def show(value: Any, path: str = "") -> str:
    """A value for people, short; passwords and tokens are hidden."""
    if is_secret(path.rpartition(".")[2]):
        return "a hidden value"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number beyond 64 bits"
    text = hide_credentials(repr(value) if isinstance(value, (str, int, float)) else str(value))
    return text if len(text) <= 60 else text[:57] + "..."


def suggest(word: str, known: Iterable[str], what: str = "known") -> str:
    """A remedy for a word that is none of `known`: the nearest, or all of them."""
    names = [hide_credentials(n) for n in known]
    by_case = {n.lower(): n for n in names}
    sought = word.lower()[:100]
    near = difflib.get_close_matches(sought, by_case, n=1)
    near = near or [n for n in by_case if len(sought) > 2 and n.startswith(sought)]
    if near:
        return f"did you mean '{by_case[near[0]]}'?"
    return f"{what}: {', '.join(names[:20])}" if names else ""


def not_yet(path: str, value: str = "") -> str | None:
    """The remedy for a key (or, with `value`, a value) of the design that this version lacks."""
    sought = f"{path}={value}" if value else path
    return next((hint for pattern, hint in _NOT_YET.items() if fnmatchcase(sought, pattern)), None)


def unknown_value(path: str, value: str, known: Iterable[str], problems: Problems) -> Bad:
    later = not_yet(path, value)
    if later is not None:
        problems.append(Problem(path, f"{show(value)} is not in this version of edged", later))
    else:
        problems.append(Problem(path, f"{show(value)} is unknown", suggest(value, known)))
    return BAD


def unknown_keys(value: Raw, known: Sequence[str], path: str, problems: Problems) -> None:
    for key in value:
        if key in known:
            continue
        where = join(path, key)
        later = not_yet(where)
        if later is not None:
            problems.append(Problem(where, "is not in this version of edged", later))
        else:
            problems.append(Problem(where, "unknown key", suggest(key, known, "known keys")))


def split_hint(text: str) -> tuple[str, str]:
    """What a backend says about its options is "what is wrong; remedy"."""
    message, _, hint = text.partition("; ")
    return message, hint


def as_table(value: Any, path: str, problems: Problems) -> Raw | None:
    if isinstance(value, Mapping):
        return value
    problems.append(
        Problem(path, f"must be a table, got {show(value, path)}", f"write it as [{path}] with keys below")
    )
    return None
