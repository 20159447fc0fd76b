"""Which settings are tried, and which of them win."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.bench.results import Settings, Trial
from edged.bench.tune import candidates, highest_fps, lowest_age, toml_lines
from edged.config.load import load
from edged.metrics import Quantiles
from tests.bench.make import config_file


@given(st.integers(1, 300))
def test_candidates_stay_within_the_cores(cores: int) -> None:
    tried = candidates(cores)
    assert len(set(tried)) == len(tried) <= 150
    assert all(s.threads * s.instances <= cores for s in tried)
    assert Settings(1, 1, False) in tried
    assert Settings(cores, 1, False) in tried
    if 1 < cores <= 16:
        assert Settings(1, cores, False) in tried
        assert Settings(cores, 1, True) in tried


def trial(threads: int, fps: float, p99_ms: float) -> Trial:
    return Trial(Settings(threads, 1, False), fps, Quantiles(9, 1.0, 1.0, p99_ms, p99_ms, p99_ms), 0)


def test_the_winners() -> None:
    trials = [trial(1, 30.0, 9.0), trial(2, 50.0, 12.0), trial(4, 40.0, 8.0)]
    assert lowest_age(trials).threads == 4
    assert highest_fps(trials).threads == 2


@pytest.mark.parametrize("spinning", [False, True])
def test_the_lines_can_be_pasted(tmp_path: Path, spinning: bool) -> None:
    file = config_file(tmp_path)
    lines = "\n".join(toml_lines(Settings(3, 2, spinning)))
    file.write_text(file.read_text().replace("options = { threads = 1 }", lines))
    entry = load(file).models["tiny"]
    assert entry.instances == 2
    assert (entry.options.threads, entry.options.spinning) == (3, spinning)
