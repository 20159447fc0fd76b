"""Tables for people."""

from __future__ import annotations

import io

from rich.console import Console

from edged.bench import report


def test_figures_that_are_too_wide_go_on_in_a_second_line() -> None:
    """As of a busy machine; cut off they would be worth nothing."""
    table = report._table("live", "in\nflight", "offered/s", "p50", "p99", "p99.9", "p99 limit", "offered =")
    wide = ("1", "12560.4 200%", "11387.5", "21129.3", "12129.3", "16.3 missed", "55000 = 33073 + 22477")
    table.add_row(*wide)
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    assert "…" not in out.getvalue()
    assert all(len(line) <= 80 for line in out.getvalue().splitlines())
    row = out.getvalue().rpartition("─")[2]
    assert sorted(row.split()) == sorted(" ".join(wide).split())
