"""A configuration made fit for measuring: one pipeline, no pace, and nothing but a socket of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.bench import prepare
from edged.bench.results import Settings
from edged.config.load import load, loads
from edged.config.schema import Config
from edged.errors import ConfigError
from tests.bench.make import config_file

REAR = """
[pipelines.rear]
source = "%s"
model = "other"
[models.other]
path = "tiny"
engine = "onnxruntime"
[runtime]
memory_budget = "1 KiB"
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(config_file(tmp_path, REAR % "/dev/video0"))


def test_the_only_pipeline_needs_no_name_and_several_do(config: Config) -> None:
    assert prepare.choose(config, "rear") == "rear"
    assert prepare.choose(prepare.narrow(config, "front"), None) == "front"
    with pytest.raises(ConfigError, match=r"front, rear.*--pipeline"):
        prepare.choose(config, None)
    with pytest.raises(ConfigError, match="did you mean 'front'"):
        prepare.choose(config, "frnt")


def test_nothing_of_other_pipelines_is_left(config: Config) -> None:
    own = prepare.narrow(config, "rear")
    assert (list(own.pipelines), list(own.models), list(own.sinks)) == (["rear"], ["other"], [])
    assert len(own.sources) == 1
    assert own.runtime.memory_budget is None, "settings vary; edged run and check keep to the budget"


def test_own_sinks_are_never_published_to(config: Config) -> None:
    own = prepare.publishing_to(prepare.narrow(config, "front"), "ipc:///tmp/x")
    (sink,) = own.sinks.values()
    assert (sink.kind, sink.options.bind) == ("zmq", "ipc:///tmp/x")
    assert sink.options.encoding == "json", "as the broker's"
    assert own.pipelines["front"].sinks == (prepare.SINK,)
    assert sink.deliver.result == "queue"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('kind = "pattern"\nrate = 5.0\nframes = 9', {"rate": None, "frames": None}),
        ('kind = "images"\npath = "pictures"\nrate = 5.0', {"rate": None, "loop": True}),
        ('kind = "video"\npath = "a.avi"', {"pace": "max", "loop": True}),
    ],
)
def test_each_source_is_unpaced_and_endless(table: str, expected: dict[str, object]) -> None:
    text = f'[sources.s]\n{table}\n[pipelines.p]\nsource = "s"\nmodel = "m"\n[models.m]\npath = "m"\n'
    fast = prepare.unpaced(prepare.narrow(loads(text), "p"))
    assert fast is not None
    options = fast.sources["s"].options
    assert {k: getattr(options, k) for k in expected} == expected


def test_a_camera_keeps_its_pace(config: Config) -> None:
    assert prepare.unpaced(prepare.narrow(config, "rear")) is None


def test_settings_go_in_and_come_out(config: Config) -> None:
    own = prepare.narrow(config, "front")
    assert prepare.settings_of(own) == Settings(threads=1, instances=1, spinning=False)
    wanted = Settings(threads=3, instances=2, spinning=True)
    assert prepare.settings_of(prepare.with_settings(own, wanted)) == wanted
    assert prepare.can_tune(own)


def test_in_flight_stays_the_daemon_s_choice_unless_it_is_set(config: Config) -> None:
    own = prepare.with_settings(prepare.narrow(config, "front"), Settings(1, 1, False))
    assert prepare.model_entry(own).in_flight is None
    assert prepare.in_flight_of(own) == 2
    assert prepare.in_flight_of(prepare.with_in_flight(own, 1)) == 1
