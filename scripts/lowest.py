"""Print the lowest versions that pyproject.toml allows, as pip constraints: `lowest.py [EXTRA...]`.

scripts/test installs these on the oldest Python, so that every lower bound is one that passes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def project() -> dict[str, Any]:
    """The [project] table."""
    table: dict[str, Any] = tomllib.loads(PYPROJECT.read_text())["project"]
    return table


def requirements(extras: Iterable[str]) -> Iterator[Requirement]:
    """The dependencies and those of `extras`; an extra that names others (edged[ort]) is followed."""
    table = project()
    todo, seen = [*table["dependencies"]], set(extras)
    for extra in seen:
        todo += table["optional-dependencies"][extra]
    while todo:
        requirement = Requirement(todo.pop(0))
        if requirement.name != table["name"]:
            yield requirement
            continue
        for extra in requirement.extras - seen:
            seen.add(extra)
            todo += table["optional-dependencies"][extra]


def lowest(requirement: Requirement) -> str:
    """`name==bound` with the requirement's marker; ValueError without exactly one `>=`."""
    bounds = [s.version for s in requirement.specifier if s.operator == ">="]
    if len(bounds) != 1:
        raise ValueError(f"{PYPROJECT.name}: '{requirement}' needs exactly one lower bound (>=)")
    marker = f"; {requirement.marker}" if requirement.marker else ""
    return f"{requirement.name}=={bounds[0]}{marker}"


if __name__ == "__main__":
    print("\n".join(sorted({lowest(r) for r in requirements(sys.argv[1:])})))
