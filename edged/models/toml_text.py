"""Writing TOML: the few shapes of value that model.toml has, and comments for what must be checked."""

from __future__ import annotations

import json
import re
from typing import Any

from edged.messages import Name

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
NAME_LENGTH = 64


def value(v: Any) -> str:
    """A TOML value: string, number, truth value or a list of them."""
    if isinstance(v, str):
        # JSON's escapes are TOML's, but for DEL, which JSON leaves alone
        return json.dumps(v, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, list | tuple):
        return f"[{', '.join(value(x) for x in v)}]"
    if isinstance(v, int | float):
        return repr(v)
    raise TypeError(f"no TOML for {v!r}")


def as_name(text: str) -> Name:
    """`text` with what names may not have turned to dashes."""
    return _NOT_IN_NAMES.sub("-", text).strip("-_.")[:NAME_LENGTH] or "model"


class Writer:
    """Lines of a file in the order of the calls. `checks` are the remarks that `check` left above keys."""

    def __init__(self, title: str) -> None:
        self._lines = [f"# {' '.join(title.split())}"]
        self.checks: list[str] = []

    def table(self, name: str) -> None:
        self._lines += ["", f"[{name}]"]

    def put(self, key: str, v: Any) -> None:
        self._lines.append(f"{key} = {value(v)}")

    def check(self, remark: str) -> None:
        """A comment above the next key, and an entry of the list that is shown to the author."""
        remark = " ".join(remark.split())
        self._lines.append(f"# check: {remark}")
        self.checks.append(remark)

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"
