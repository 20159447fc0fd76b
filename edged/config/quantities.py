"""Quantities as people write them: "1 GiB", "512 MiB", "64MB", or a plain number of bytes."""

from __future__ import annotations

import re
from fractions import Fraction

_UNITS: dict[str, int] = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
# what the JSON Schema offers to editors; parse_size takes exactly the same texts
SIZE_PATTERN = r"^\s*[0-9]{1,18}(\.[0-9]{1,9})?\s*([KkMmGgTt][Ii]?)?[Bb]?\s*$"
_SIZE = re.compile(r"\s*(?P<number>[0-9]{1,18}(?:\.[0-9]{1,9})?)\s*(?P<unit>(?:[kmgt]i?)?b?)\s*", re.I | re.A)


def parse_size(value: object) -> int:
    """Bytes of a TOML value. Raises ValueError, whose text completes "must be a size, but ..."."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"is {type(value).__name__}")
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError("is not a number with a unit")
    unit = match["unit"].lower()
    scale = _UNITS.get(unit) or _UNITS[unit + "b"]  # "4G" and "4Gi" mean bytes too
    return int(Fraction(match["number"]) * scale)


def format_size(n: int) -> str:
    """The shortest exact or one-decimal text: 1073741824 -> "1 GiB"."""
    for unit, scale in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n >= scale:
            return f"{n // scale} {unit}" if n % scale == 0 else f"{n / scale:.1f} {unit}"
    return f"{n} B"
