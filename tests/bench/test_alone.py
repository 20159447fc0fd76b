"""The engine alone: counts, instances, and errors that reach the caller."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.bench.alone import Alone
from edged.bench.measure import Subject, prepare
from edged.bench.prepare import with_settings
from edged.bench.recorder import LEAST_FRAMES
from edged.bench.results import Settings
from edged.config.load import load
from edged.errors import EngineError
from tests.bench.make import config_file


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return prepare(load(config_file(tmp_path)), "front")


@pytest.mark.parametrize("instances", [1, 2])
def test_every_instance_infers(subject: Subject, instances: int) -> None:
    config = with_settings(subject.config, Settings(1, instances, False))
    with Alone(config, subject.model, subject.clip) as alone:
        run = alone.run(0.02)
    assert run.infer.count >= LEAST_FRAMES * instances
    assert run.fps > 0
    assert run.infer.max_ms >= run.infer.p50_ms > 0


def test_the_other_side_runs_between_two_halves(subject: Subject) -> None:
    with Alone(subject.config, subject.model, subject.clip) as alone:
        run, found = alone.run_around(0.02, lambda: "between")
    assert found == "between"
    assert run.infer.count >= 2 * LEAST_FRAMES


def test_a_model_that_does_not_load_leaves_nothing_behind(subject: Subject) -> None:
    subject.model.file.write_bytes(b"")
    with pytest.raises(Exception, match=r"model\.onnx"), Alone(subject.config, subject.model, subject.clip):
        pass


def test_an_error_of_an_inference_reaches_the_caller(subject: Subject) -> None:
    with Alone(subject.config, subject.model, subject.clip) as alone:
        alone._executions[0].close()
        with pytest.raises(EngineError, match="after close"):
            alone.run(0.01)
