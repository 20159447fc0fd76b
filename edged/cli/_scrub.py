"""Takes secrets out of whatever goes into a support archive.

Credentials in addresses are found by their form. Those that this machine's configuration names (values of secret keys,
of addresses, of password files and variables) are also taken out wherever else they stand alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from edged.config.words import MASK, hide_credentials, is_secret

SHORTEST = 4  # characters; a shorter one would be found in words that are none
_USERINFO = re.compile(r"://[^\s\"'/:@]*:([^\s\"']*)@")


class Scrubber:
    """`data`: the configuration's plain values, `base`: what its paths are relative to."""

    def __init__(self, data: Mapping[str, Any], base: Path) -> None:
        found = {s for s in _secrets(data, base) if len(s) >= SHORTEST and s != MASK}
        longest_first = sorted(found, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if found else None

    def text(self, text: str) -> str:
        hidden = hide_credentials(text)
        return hidden if self._known is None else self._known.sub(MASK, hidden)

    def value(self, value: Any) -> Any:
        """Of plain values: in them quotes are no longer escaped, which `text` would trip over."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(k)): self.value(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(v) for v in value]
        return value


def _secrets(value: Any, base: Path, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _secrets(inner, base, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _secrets(inner, base, key)
    elif isinstance(value, str):
        for password in _USERINFO.findall(value):
            yield from (password, unquote(password))
        yield from _named(key, value, base)


def _named(key: str, value: str, base: Path) -> Iterator[str]:
    """What a key says is a secret, or where one is."""
    what, _, where = key.rpartition("_")
    if where == "env" and is_secret(what):
        yield os.environ.get(value, "")
    elif where == "file" and is_secret(what):
        try:
            yield (base / value).read_text(errors="replace").strip()
        except (OSError, ValueError):  # then it can be in nothing that this user reads, either
            return
    elif is_secret(key):
        yield value
