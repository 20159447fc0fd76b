"""Backends with every type of option, and a machine-independent way to register them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Annotated, ClassVar, Literal

import pytest
from msgspec import Meta, field

from edged import registry
from edged.config.schema import Bytes, Size, Table, Unit


class Shade(Enum):
    DARK = "dark"
    LIGHT = "light"


class Lamp(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    watts: Annotated[int, Meta(gt=0, lt=100, multiple_of=5)] = 5


class ToyOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field of each type that a configuration can hold."""

    PATHS: ClassVar[tuple[str, ...]] = ("path", "paths")

    path: str | None = None
    paths: tuple[str, ...] = ()
    size: Size | None = None
    rate: float | None = None
    score: Unit = 0.5
    loop: bool = False
    pace: Literal["realtime", "max"] = "realtime"
    shade: Shade = Shade.DARK
    level: Literal[1, 2] = 1
    memory: Bytes | None = None
    code: Annotated[str, Meta(pattern=r"^[a-z]+\Z", max_length=4)] = "a"
    lamp: Lamp = Lamp()
    lamps: Annotated[list[Lamp], Meta(max_length=2)] = field(default_factory=list)
    extra: dict[str, int] = field(default_factory=dict)
    either: str | int | tuple[int, ...] = 0

    def __post_init__(self) -> None:
        if self.path is not None and self.path == str(self.rate):
            raise ValueError("'path' and 'rate' are the same; change one")

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.path is not None and self.paths:
            yield "paths", "excludes 'path'; remove one"


class ToySource:
    Options: ClassVar[type[ToyOptions]] = ToyOptions


class PlainSink:
    """A backend of somebody's without options of its own."""

    DELIVER: ClassVar[str] = "queue"


class OddOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A type that no TOML value has."""

    blob: bytes = b""


class OddSource:
    Options: ClassVar[type[OddOptions]] = OddOptions


TOYS = {
    "sources": {
        "toy": "tests.config.toys:ToySource",
        "odd": "tests.config.toys:OddSource",
        "broken": "tests.config.toys:Missing",
    },
    "sinks": {"plain": "tests.config.toys:PlainSink"},
}


def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add the toys to the registry; the body of a fixture."""
    for group, kinds in TOYS.items():
        for kind, target in kinds.items():
            monkeypatch.setitem(registry.BUILT_IN[group], kind, target)
    registry._found.cache_clear()
    yield
    monkeypatch.undo()
    registry._found.cache_clear()
