"""Text for people on standard output: tables on a terminal, and whole lines for pipes, which fold nothing."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 1 << 12  # columns of what is no terminal: a path stays in one piece for grep


def console() -> Console:
    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = _WIDE
    return made


def show_facts(console: Console, facts: Mapping[str, str]) -> None:
    """Names and what is known, which may have several lines. Brackets are text, not markup."""
    if not console.is_terminal:  # a table would fill its lines with spaces
        width = max(map(len, facts), default=0)
        for key, value in facts.items():
            head, *more = value.split("\n")
            lines = [f" {key:<{width}}  {head}", *(f" {'':<{width}}  {line}" for line in more)]
            console.print(Text("\n".join(line.rstrip() for line in lines)))
        return
    table = Table(show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in facts.items():
        table.add_row(key, Text(value))
    console.print(table)
