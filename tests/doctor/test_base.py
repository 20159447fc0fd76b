"""How checks run: what one says, and that one which breaks ends no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edged.doctor.base import Check, Outcome, examine, passed
from edged.doctor.checks import CHECKS
from edged.doctor.place import Place
from edged.errors import ConfigError, DeviceError, Problem


def good(_: Place) -> Iterator[Outcome]:
    yield passed("well")


def breaks(_: Place) -> Iterator[Outcome]:
    yield passed("so far")
    raise ZeroDivisionError("by nought")


def refuses(_: Place) -> Iterable[Outcome]:
    raise DeviceError("no such device", hint="plug it in")


def misconfigured(_: Place) -> Iterable[Outcome]:
    raise ConfigError(
        "a.toml",
        [Problem("x.y", "is wrong", "right it"), Problem("z", "too"), Problem("", "is not UTF-8 text")],
    )


def silent(_: Place) -> Iterator[Outcome]:
    yield from ()


def test_a_check_that_breaks_fails_and_ends_no_other() -> None:
    checks = [Check("one", breaks), Check("two", refuses), Check("three", misconfigured), Check("four", good)]
    rows = [(r.check, r.state, r.text, r.remedy) for r in examine(checks, Place())]
    assert rows == [
        ("one", "pass", "so far", ""),
        (
            "one",
            "fail",
            "the check itself broke: ZeroDivisionError: by nought",
            "report it with this line; the other checks do not depend on it",
        ),
        ("two", "fail", "no such device", "plug it in"),
        ("three", "fail", "a.toml: x.y: is wrong", "right it"),
        ("three", "fail", "a.toml: z: too", ""),
        ("three", "fail", "a.toml: is not UTF-8 text", ""),
        ("four", "pass", "well", ""),
    ]


def test_a_check_that_finds_nothing_says_so() -> None:
    assert [r.state for r in examine([Check("x", silent)], Place())] == ["not here"]


def test_names_are_told_apart() -> None:
    assert len({c.name for c in CHECKS}) == len(CHECKS)
