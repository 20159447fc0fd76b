"""Fifty power failures of the machine while its configuration is changed: the old one or the new one, never neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.config.boot import boot
from edged.config.revisions import folder_of
from tests.system.guest.rewriting import CONFIRMED, FILE, REVISIONS, SENT, Mark, fails, number_of
from tests.system.powercuts import power_cuts
from tests.system.vm import BOOT_S, OUT

TIMES, LIMIT_S = 50, 180

pytestmark = [pytest.mark.system, pytest.mark.timeout(LIMIT_S + BOOT_S + 120)]


def started(found: Path) -> int:
    """Which change runs when this disk's edged starts again."""
    # the folder is named after the file's whole path, which was another one in the machine
    (found / REVISIONS).rename(folder_of(found / "state", found / FILE))
    booted = boot(found / FILE)
    booted.revisions.close()
    assert not booted.revisions.problem
    assert not booted.revisions.damaged
    assert {note.state for note in booted.notes} <= {"undone"}, booted.notes
    return number_of(booted.data)


def test_a_start_finds_the_old_or_the_new_configuration(tiny_model: Path, tmp_path: Path) -> None:
    cuts = power_cuts(
        "rewriting",
        tmp_path,
        file=str(REVISIONS / "index.json"),
        times=TIMES,
        limit_s=LIMIT_S,
        carry=[tiny_model],
    )
    numbers = []
    for found in cuts:
        confirmed, sent = Mark.read(found / CONFIRMED), Mark.read(found / SENT)
        number = started(found)
        assert confirmed <= number <= sent, "what was confirmed is lost, or what was not sent is there"
        assert number == 0 or not fails(number), f"change {number} was undone, or was to be"
        numbers.append(number)
    assert len(numbers) == TIMES
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > TIMES / 5, "hardly a change was confirmed between the cuts"
    said = f"ok   {TIMES} power failures during {numbers[-1]} changes: what was confirmed last, or the next, each time"
    (OUT / "rewriting" / "stdout.log").write_text(said)
