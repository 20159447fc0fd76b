"""One line of the result each, and the report for an issue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edged.errors import EdgedError

State = Literal["pass", "fail", "skip"]


@dataclass(frozen=True)
class Row:
    """`text`: the figures, what is absent, or what is wrong and how to mend it."""

    what: str
    state: State
    text: str


class Skip(Exception):
    """What a step needs is not here; the message says what."""


Step = tuple[str, Callable[[Any], Iterable[Row]]]


def walk(steps: Sequence[Step], bench: Any) -> Iterator[Row]:
    """The rows of every step, as they come. A step that fails ends no other."""
    for what, step in steps:
        try:
            yield from step(bench)
        except Skip as e:
            yield Row(what, "skip", str(e))
        except EdgedError as e:
            yield Row(what, "fail", f"{e.message}; {e.hint}" if e.hint else e.message)
        except Exception as e:
            yield Row(what, "fail", f"the step itself broke: {type(e).__name__}: {e}")


def markdown(title: str, facts: Sequence[str], rows: Sequence[Row]) -> str:
    """For an issue: what it ran on, then a row each."""
    head = [
        f"### {title}",
        "",
        *(f"- {f}" for f in facts),
        "",
        "| what | outcome | figures |",
        "| --- | --- | --- |",
    ]
    return "\n".join([*head, *(f"| {r.what} | {r.state} | {_cell(r.text)} |" for r in rows), ""])


def _cell(text: str) -> str:
    """One line; bars would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def as_json(rows: Sequence[Row]) -> list[dict[str, str]]:
    return [asdict(r) for r in rows]
