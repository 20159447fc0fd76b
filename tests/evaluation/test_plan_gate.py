"""The gate of `edged model build --evaluate`, on the fake TensorRT and the stand-in driver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.devices.choose import Choice
from edged.errors import ModelError
from edged.evaluation.plan_gate import plan_gate
from edged.models.plans import Plan, PlanError, PlanStore
from tests.cuda.standin import standin, standin_device
from tests.engines.fake_plan import pack, sidecar
from tests.engines.fake_tensorrt import fake_tensorrt
from tests.evaluation.made import COLORS, coco_file, color_classifier, picture
from tests.onnx_models import graph, value, write


@pytest.fixture
def colors(tmp_path: Path) -> Path:
    for name, color in COLORS.items():
        picture(tmp_path / "colors" / name / "1.png", color)
    return tmp_path / "colors"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with fake_tensorrt(), standin():
        monkeypatch.setattr("edged.evaluation.subject.choose_device", lambda _: Choice("cuda", "", (0,)))
        monkeypatch.setattr("edged.evaluation.subject.open_devices", lambda *_: {0: standin_device()})
        yield


def plan_of(folder: Path, model: Path, computes: Path) -> Plan:
    """A plan that was built from the ONNX file `model`, of an engine that does what `computes` says."""
    folder.mkdir()
    data = pack(computes.read_bytes())
    (folder / "built.plan").write_bytes(data)
    return Plan(folder / "built.plan", sidecar(model, data))


def test_a_plan_that_agrees_is_let_through_with_what_was_found(
    gpu: None, colors: Path, tmp_path: Path
) -> None:
    model = color_classifier(tmp_path / "m")
    plan = plan_of(tmp_path / "work", model / "model.onnx", model / "model.onnx")
    seen: list[int] = []
    look = plan_gate(model, colors, 0.01, "tensorrt", progress=lambda done, of: seen.append(done))
    found = look(plan)
    assert (found["passed"], found["metric"], found["before"], found["after"]) == (True, "top-1", 1.0, 1.0)
    assert (found["pictures"], found["figures"]["top-5"]) == (3, 1.0)
    assert seen == [0, 1, 2, 3]
    assert [f.name for f in plan.path.parent.iterdir()] == ["built.plan"], "nothing is left beside it"


def test_a_plan_that_computes_something_else_is_refused_by_its_pictures(
    gpu: None, colors: Path, tmp_path: Path
) -> None:
    from onnx import helper

    model = color_classifier(tmp_path / "m")
    nodes = [
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("GlobalAveragePool", ["n"], ["p"]),
        helper.make_node("Flatten", ["p"], ["scores"]),
    ]
    negated = write(tmp_path / "n.onnx", graph(nodes, [value("x", (1, 3, 8, 8))], [value("scores", (1, 3))]))
    plan = plan_of(tmp_path / "work", model / "model.onnx", negated)
    with pytest.raises(PlanError) as refused:
        plan_gate(model, colors, 0.01, "tensorrt")(plan)
    assert "refused and not installed: top-1 goes from 1.0000 to 0.0000" in refused.value.message
    assert "red/1.png: 1.000 to 0.000" in refused.value.message
    assert "--precision fp32" in refused.value.hint


def test_what_is_known_before_the_build_is_said_before_it(colors: Path, tmp_path: Path) -> None:
    model = color_classifier(tmp_path / "m")
    with pytest.raises(
        PlanError, match=r"cannot be evaluated here, so none is installed: device cuda: "
    ) as e:
        plan_gate(model, colors, 0.01, "tensorrt")
    assert "edged model eval DIR DATASET --engine tensorrt --max-drop X" in e.value.hint
    coco_file(colors / "l.json", ["red"], {"red/1.png": []})
    with pytest.raises(ModelError, match="task 'detect'"):
        plan_gate(model, colors, 0.01, "tensorrt")
    assert PlanStore(tmp_path / "plans").models() == []
