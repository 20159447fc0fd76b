"""The bar: never backwards, full only at the end, and fed by what TensorRT's monitor really says."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edged.build.events import Event, Finished, Phase, Stage, Step
from edged.build.progress import STAGES, Progress, bar, estimate

# as TensorRT-RTX 1.7 reports the build of a detector, shortened
RECORDED: list[Event] = [
    Stage("simplify"),
    Stage("parse"),
    Stage("build"),
    Phase("Building engine", None, 6),
    Phase("Cloning network graph", "Building engine", 598),
    *(Step("Cloning network graph", i) for i in range(598)),
    Finished("Cloning network graph"),
    Step("Building engine", 0),
    Phase("Building engine from subgraph", "Building engine", 1),
    Phase("Optimizing graph", "Building engine from subgraph", 30),
    Step("Optimizing graph", 14),
    Finished("Optimizing graph"),
    Phase("Timing tensor reformats", "Building engine from subgraph", 3),
    Finished("Timing tensor reformats"),
    Phase("Timing tensor reformats", "Building engine from subgraph", 3),  # the same name again
    Finished("Timing tensor reformats"),
    Step("Building engine from subgraph", 0),
    Finished("Building engine from subgraph"),
    Step("Building engine", 5),
    Finished("Building engine"),
    Stage("inspect"),
]


def test_a_real_build_moves_through_the_bar() -> None:
    progress, seen = Progress(), []
    for event in RECORDED:
        progress.feed(event)
        seen.append(progress.fraction)
    assert seen == sorted(seen)
    before = sum(share for name, (_, share) in STAGES.items() if name in ("simplify", "cast", "parse"))
    cloned = seen[5 + 597]
    assert before < cloned <= before + STAGES["build"][1] / 6 + 1e-9
    assert abs(seen[-1] - (1 - STAGES["inspect"][1])) < 1e-9
    assert progress.text == "looking at the plan"


NAMES = st.sampled_from("abc")
EVENTS = st.one_of(
    st.sampled_from(sorted(STAGES)).map(Stage),
    st.builds(Phase, NAMES, st.none() | NAMES, st.integers(0, 5)),
    st.builds(Step, NAMES, st.integers(0, 9)),
    st.builds(Finished, NAMES),
)


@given(st.lists(EVENTS, max_size=30))
def test_whatever_is_said_the_bar_never_goes_back(events: list[Event]) -> None:
    progress, last = Progress(), 0.0
    parents: dict[str, str | None] = {}
    for event in events:
        if isinstance(event, Phase):
            above: str | None = event.parent
            while above is not None and above != event.name:
                above = parents.get(above)
            if above == event.name:  # TensorRT's phases are no ring
                continue
            parents[event.name] = event.parent
        progress.feed(event)
        assert last <= progress.fraction <= 1.0
        last = progress.fraction


def shown(terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, legacy_windows=False)
    with bar(console, 250.0) as show:
        for event in RECORDED:
            show(event)
    return out.getvalue()


def test_a_terminal_has_a_bar_with_the_last_builds_time() -> None:
    text = shown(terminal=True)
    assert "%" in text
    assert "the last build took 4 min 10 s" in text


def test_without_a_terminal_each_stage_is_a_line() -> None:
    assert shown(terminal=False).splitlines() == [
        "simplifying the graph …",
        "parsing the graph …",
        "building …",
        "looking at the plan …",
    ]


def test_an_estimate_is_the_last_builds_time() -> None:
    known: list[tuple[Any, str]] = [
        (None, ""),
        (0.4, "the last build took less than a second"),
        (59.6, "the last build took 1 min 0 s"),
        (12.0, "the last build took 12 s"),
    ]
    assert [estimate(s) for s, _ in known] == [text for _, text in known]
