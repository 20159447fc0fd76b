"""Memory admission: a real configuration, prepared in a process of its own."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from edged.config.load import load
from edged.doctor import memory
from edged.doctor.place import Place
from edged.doctor.try_memory import await_units
from edged.units import Report
from tests import onnx_models

TOML = """
runtime.device = "cpu"
runtime.memory_budget = "{budget}"
[pipelines.front]
source = {{kind = "pattern", size = [640, 480]}}
model = "m"
[models.m]
path = "m"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m").mkdir()
    onnx_models.model_toml(tmp_path / "m", onnx_models.relu(tmp_path / "m" / "m.onnx"), size=(6, 4))
    return tmp_path


def place(folder: Path, budget: str, more: str = "") -> Place:
    file = folder / "edged.toml"
    file.write_text(TOML.format(budget=budget) + more)
    return Place(config=load(str(file)))


def test_what_is_wanted_is_added_up(folder: Path) -> None:
    (found,) = memory.admission(place(folder, "1 GiB"))
    assert found.state == "pass"
    assert "MiB wanted; runtime.memory_budget is 1.0 GiB; " in found.text


def test_too_much_is_refused_with_figures(folder: Path) -> None:
    (found,) = memory.admission(place(folder, "1 MiB"))
    assert found.state == "fail"
    assert "runtime.memory_budget is 1.0 MiB" in found.text
    assert "source front" in found.text
    assert "raise runtime.memory_budget" in found.remedy


def test_what_cannot_be_opened_is_named_and_left_out(folder: Path) -> None:
    more = '[pipelines.rear]\nsource = {kind = "v4l2", device = "/dev/video97"}\nmodel = "m"\n'
    camera, total = memory.admission(place(folder, "1 GiB", more))
    assert camera.state == "fail"
    assert camera.text.startswith("source rear: source 'rear'")
    assert "ENOENT" in camera.text
    assert total.state == "pass"
    assert "wanted, without source rear; " in total.text


def test_a_unit_that_is_not_ready_in_time() -> None:
    reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
    reports.put(Report("source front", "prepared"))
    prepared, failed = await_units({"source front", "model m"}, reports, prepare_s=0.01)
    assert prepared == {"source front"}
    assert failed == [
        {
            "unit": "model m",
            "error": "was not ready within 0.01 s",
            "hint": "edged run FILE says what it waits for",
        }
    ]


@pytest.mark.parametrize(
    ("wanted", "limit", "available", "state"),
    [
        (100, 200, 300, "pass"),
        (100, None, None, "pass"),
        (170, 200, 300, "warn"),
        (100, 1000, 110, "warn"),
    ],
)
def test_how_much_is_left(wanted: int, limit: int | None, available: int | None, state: str) -> None:
    found = memory.judge(wanted, limit, available)
    assert found.state == state
    assert bool(found.remedy) == (state == "warn")


def test_without_a_configuration_and_in_a_hurry(folder: Path) -> None:
    assert [o.state for o in memory.admission(Place())] == ["not here"]
    p = place(folder, "1 GiB")
    p.quick = True
    assert [o.state for o in memory.admission(p)] == ["not here"]
