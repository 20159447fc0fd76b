"""Fifty power failures of the machine while a file is replaced: the old one or the new one, never neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.guest.rewriting import FILE, number_of
from tests.system.powercuts import power_cuts
from tests.system.vm import BOOT_S, OUT

TIMES, LIMIT_S = 50, 180

pytestmark = [pytest.mark.system, pytest.mark.timeout(LIMIT_S + BOOT_S + 120)]


def test_a_file_that_is_replaced_is_always_whole(tmp_path: Path) -> None:
    numbers = [
        number_of((found / FILE).read_bytes())
        for found in power_cuts("rewriting", tmp_path, file=FILE, times=TIMES, limit_s=LIMIT_S)
    ]
    assert len(numbers) == TIMES
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > TIMES / 2, "it hardly wrote between the cuts"
    said = f"ok   {TIMES} power failures during {numbers[-1]} replacements: the file was whole each time"
    (OUT / "rewriting" / "stdout.log").write_text(said)
