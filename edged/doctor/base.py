"""What a check is, what it may say, and how checks run: one that breaks is a finding itself and ends no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from edged.doctor.place import Place
from edged.errors import ConfigError, EdgedError

# "not here": what would be looked at is absent, and nothing that was asked for needs it
State = Literal["pass", "warn", "fail", "not here"]
STATES: tuple[State, ...] = ("pass", "warn", "fail", "not here")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found. `remedy`: the command or the change that mends it; "" where nothing is to be mended."""

    state: State
    text: str
    remedy: str = ""


def passed(text: str) -> Outcome:
    return Outcome("pass", text)


def warned(text: str, remedy: str) -> Outcome:
    return Outcome("warn", text, remedy)


def failed(text: str, remedy: str) -> Outcome:
    return Outcome("fail", text, remedy)


def not_here(text: str, remedy: str = "") -> Outcome:
    return Outcome("not here", text, remedy)


def refused(e: EdgedError) -> Outcome:
    """An error as a finding."""
    return failed(e.message, e.hint)


@dataclass(frozen=True, slots=True)
class Check:
    """`look` yields at least one outcome; what it raises becomes one."""

    name: str
    look: Callable[[Place], Iterable[Outcome]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result."""

    check: str
    state: State
    text: str
    remedy: str


def examine(checks: Sequence[Check], place: Place) -> Iterator[Row]:
    """Every outcome of every check, as it comes. Raises nothing that a check raises."""
    for check in checks:
        for o in _outcomes(check, place):
            yield Row(check.name, o.state, o.text, o.remedy)


def _outcomes(check: Check, place: Place) -> Iterator[Outcome]:
    said = False
    try:
        for outcome in check.look(place):
            said = True
            yield outcome
    except ConfigError as e:
        yield from (failed(f"{e.file}: {p.text}", p.hint) for p in e.problems)
    except EdgedError as e:
        yield refused(e)
    except Exception as e:
        yield failed(
            f"the check itself broke: {type(e).__name__}: {e}",
            "report it with this line; the other checks do not depend on it",
        )
    else:
        if not said:
            yield not_here("nothing to look at")
