"""What a pipeline's health is fed with, and which of its changes are told."""

from __future__ import annotations

from typing import Any

import pytest

from edged.board import FIRST_GAP_S, SILENT_GAPS, Board
from edged.freshness import GOOD, Verdict
from edged.supervisor import Core
from edged.units import Report
from tests.test_pipeline import Rig

MS = 1_000_000


def board(rig: Rig) -> tuple[Board, Core]:
    core = Core({"source a": "source", "model m": "runner", "pipeline front": "pipeline"})
    for unit in ("source a", "model m"):
        core.step(0, Report(unit, "running"))
    return Board({"front": rig.pipeline}, {"front": ("source a", "model m")}), core


def test_a_pipeline_that_falls_silent_after_one_result_is_late_in_the_end() -> None:
    rig = Rig()
    made, core = board(rig)
    rig.pipeline._note(1000 * MS, GOOD)
    assert [c.now.state for c in made.look(1.1, core)] == ["running"]
    assert made.look(1.0 + FIRST_GAP_S - 0.1, core) == []
    assert [c.now.reason for c in made.look(1.1 + FIRST_GAP_S, core)] == ["late: no result for 10 s"]


def test_a_slow_source_is_judged_by_its_own_pace() -> None:
    rig = Rig()
    made, core = board(rig)
    for second in (0, 2, 4, 6):
        rig.pipeline._note((1 + second) * 1000 * MS, GOOD)
    made.look(7.1, core)
    assert made.look(12.9, core) == []
    assert [c.now.state for c in made.look(13.1, core)] == ["degraded"]


@pytest.mark.parametrize(
    ("config", "gap_s"),
    [({"max_fps": 0.05}, 20.0), ({"every": 300}, 30.0), ({"every": 200, "max_fps": 0.1}, 20.0)],
)
def test_one_that_is_to_look_seldom_is_not_late_before_its_second_result(
    config: dict[str, Any], gap_s: float
) -> None:
    rig = Rig(**config)
    made, core = board(rig)
    for seq in range(5):
        rig.offer(seq, ms=1000 + 100 * seq)
    rig.pipeline._note(1000 * MS, GOOD)
    assert [c.now.state for c in made.look(1.1, core)] == ["running"]
    assert made.look(1 + SILENT_GAPS * gap_s - 0.5, core) == []
    assert [c.now.state for c in made.look(1 + SILENT_GAPS * gap_s + 0.5, core)] == ["degraded"]
    rig.pipeline.drop()


def test_words_that_change_in_the_same_check_are_no_news() -> None:
    rig = Rig()
    made, core = board(rig)
    told = []
    for n, reason in enumerate(
        ("late: 0.5 s old", "late: 0.9 s behind the one before", "black: dark all over")
    ):
        rig.pipeline._note((1000 + 100 * n) * MS, Verdict("late" if n < 2 else "black", reason))
        told += [c.now.reason for c in made.look(1.0 + n / 10, core)]
    assert told == ["late: 0.5 s old", "black: dark all over"]
    assert made.healths["front"].reason == "black: dark all over"


def test_a_stream_that_stutters_is_degraded_until_it_is_steady() -> None:
    rig = Rig()
    made, core = board(rig)
    told = []
    for ms in range(1000, 31000, 100):
        if ms % 3000 >= 1000:  # a second of silence in every three
            rig.pipeline._note(ms * MS, GOOD)
        told += [c.now.state for c in made.look(ms / 1000, core)]
    assert told == ["running", "degraded"]


def test_what_works_but_not_as_asked_is_degraded_and_told_once() -> None:
    rig = Rig()
    _, core = board(rig)
    said = {"model m": "allocates while running: was given 1.0 KiB in 1 pieces"}
    made = Board({"front": rig.pipeline}, {"front": ("source a", "model m")}, lambda unit: said.get(unit, ""))
    rig.pipeline._note(1000 * MS, GOOD)
    (change,) = made.look(1.1, core)
    assert (change.now.state, change.now.reason) == ("degraded", said["model m"])
    said["model m"] = "allocates while running: was given 2.0 KiB in 2 pieces"
    assert made.look(1.2, core) == []
    assert made.healths["front"].reason == said["model m"]


def test_a_pipeline_that_is_held_back_is_degraded_and_each_step_is_news() -> None:
    rig = Rig()
    core = board(rig)[1]
    said = {"pipeline front": ""}
    made = Board({"front": rig.pipeline}, {"front": ("source a", "model m")}, lambda u: said.get(u, ""))
    told = []
    for n, text in enumerate(("", "every 2nd frame: hot", "every 2nd frame: hotter", "every 3rd frame: hot")):
        said["pipeline front"] = text
        rig.pipeline._note((1000 + 100 * n) * MS, GOOD)
        told += [str(c.now) for c in made.look(1.0 + n / 10, core)]
    assert told == ["running", "degraded: every 2nd frame: hot", "degraded: every 3rd frame: hot"]
