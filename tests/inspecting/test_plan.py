"""What is told of a plan: header, store and sidecar here; the engine's own words from a recorded answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.devices.cuda.probe import Gpu
from edged.doctor.place import Place, Runtime
from edged.errors import EngineError, ModelError
from edged.inspecting.plan import PlanLayer, is_plan, layers_of, read_plan
from edged.inspecting.try_plan import look
from edged.models.plans import Plan, PlanStore
from tests import onnx_models
from tests.cuda.standin import standin
from tests.engines import fake_plan
from tests.engines.fake_tensorrt import fake_tensorrt
from tests.models import plan_files


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_files.install(PlanStore(tmp_path / "plans"), tmp_path)


def here(plan: Plan, version: str = "10.3.0", capability: tuple[int, int] = (8, 7)) -> Place:
    """A device that has the plan's TensorRT, GPU and store."""
    made = Place(state_dir=plan.path.parents[3])
    made.runtimes = {"tensorrt": Runtime("tensorrt", version)}
    made.gpus = (Gpu("Orin", capability, "", True, 16),)
    return made


def test_a_plan_of_the_store(plan: Plan) -> None:
    found = read_plan(plan.path, here(plan), load=False)
    assert (found.engine, found.version, found.nbytes) == ("tensorrt", "10.3.0.26", plan.sidecar.plan_bytes)
    assert found.sidecar == plan.sidecar
    assert found.store == "whole: size, hash, seal and header fit"
    assert found.unloaded == "not asked for"


def test_a_plan_that_was_changed_is_told(plan: Plan) -> None:
    data = plan.path.read_bytes()
    plan.path.write_bytes(data[:-1] + b"!")
    assert "its sha256 is" in read_plan(plan.path, here(plan), load=False).store
    plan.path.write_bytes(data[:-1])
    assert "bytes, not" in read_plan(plan.path, here(plan), load=False).store


def test_a_plan_alone_has_a_header_only(tmp_path: Path) -> None:
    file = tmp_path / "a.plan"
    file.write_bytes(plan_files.plan_bytes("1.7.1.116", b"vtrt"))
    found = read_plan(file, Place(), load=False)
    assert (found.engine, found.version, found.sidecar) == ("tensorrt-rtx", "1.7.1.116", None)
    assert found.store == "in no store: nothing but its header is known"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Every plan that a process is started for, to load it."""
    told: list[tuple[str, ...]] = []

    def ask(*words: str, timeout_s: float) -> dict[str, object]:
        told.append(words)
        return {"why_no_layers": ""}

    monkeypatch.setattr("edged.inspecting.plan.ask", ask)
    return told


def test_only_a_plan_of_this_devices_store_is_loaded(
    plan: Plan, tmp_path: Path, asked: list[tuple[str, ...]]
) -> None:
    """A plan is code: what comes with a key of its own vouches for itself alone."""
    own = here(plan)
    own.state_dir = tmp_path / "own"
    found = read_plan(plan.path, own)
    assert (found.sidecar, asked) == (plan.sidecar, [])
    assert found.store.startswith(f"of another store than {tmp_path}/own/plans, sealed with another key")
    assert found.unloaded == f"to trust that store: --state-dir {tmp_path}"
    alone = tmp_path / "a.plan"
    alone.write_bytes(plan_files.plan_bytes())
    assert "it is not of the store" in read_plan(alone, own).unloaded
    assert read_plan(plan.path, here(plan)).unloaded == ""
    assert [(words[1], words[3]) for words in asked] == [(str(plan.path), str(tmp_path / "plans"))]


def test_a_plan_that_does_not_verify_is_not_loaded(plan: Plan, asked: list[tuple[str, ...]]) -> None:
    plan.path.with_name("seal").write_bytes(b"0" * 64)
    assert "its seal does not fit" in read_plan(plan.path, here(plan)).unloaded
    assert asked == []


def test_why_an_engine_is_not_asked(plan: Plan) -> None:
    nothing = here(plan)
    nothing.runtimes, nothing.gpus = {}, ()
    no_gpu = here(plan)
    no_gpu.gpus = ()
    assert read_plan(plan.path, nothing).unloaded == "TensorRT is not here"
    assert read_plan(plan.path, no_gpu).unloaded == "there is no GPU here"
    assert "the runtime here is 10.4.0" in read_plan(plan.path, here(plan, "10.4.0")).unloaded
    assert "the GPU here has 8.9" in read_plan(plan.path, here(plan, capability=(8, 9))).unloaded


def test_a_runtime_that_dies_is_told(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "tensorrt.py").write_text("import os\nos.abort()\n")
    monkeypatch.syspath_prepend(str(folder))
    with standin():
        assert "was ended by SIGABRT" in read_plan(plan.path, here(plan)).unloaded


def test_an_engine_tells_its_layers_and_their_times(tmp_path: Path) -> None:
    """On the fake TensorRT, which keeps the documented rules, and the stand-in driver."""
    file = onnx_models.relu(tmp_path / "m.onnx", (1, 3, "h", "w"), (1, 3, "h", "w"))
    shapes = ((1, 3, 2, 2), (1, 3, 4, 6), (1, 3, 8, 8))
    facts = fake_plan.PlanFacts(profiles=[{"x": [list(s) for s in shapes]}])
    made = fake_plan.install(PlanStore(tmp_path / "plans"), file, facts=facts, profiles=({"x": shapes},))
    with fake_tensorrt(), standin():
        told = look(made.path, "tensorrt", tmp_path / "plans")
    assert told["activation_bytes"] == facts.activations
    assert layers_of(told["layers"], told["times"]) == (PlanLayer("all", "kgen", "", None, 0.25),)
    with fake_tensorrt(lean=True), standin():
        told = look(made.path, "tensorrt", tmp_path / "plans")
    assert "has no engine inspector" in told["why_no_layers"]
    assert layers_of(told["layers"], told["times"]) == (PlanLayer("all", "", "", None, 0.25),)


def test_a_plan_of_fixed_shapes_needs_its_model(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx")
    onnx_models.model_toml(tmp_path, file, size=(6, 4))
    made = fake_plan.install(PlanStore(tmp_path / "plans"), file)
    with fake_tensorrt(), standin():
        with pytest.raises(EngineError, match="its shapes are fixed") as caught:
            look(made.path, "tensorrt", tmp_path / "plans")
        assert caught.value.hint.endswith("--model DIR")
        assert look(made.path, "tensorrt", tmp_path / "plans", tmp_path)["times"] == {"all": 0.25}


def test_a_plan_for_another_gpu_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx")
    onnx_models.model_toml(tmp_path, file, size=(6, 4))
    made = fake_plan.install(PlanStore(tmp_path / "plans"), file, capabilities=("8.7",))
    with fake_tensorrt(), standin(), pytest.raises(EngineError, match=r"capability 8\.7"):
        look(made.path, "tensorrt", tmp_path / "plans", tmp_path)
    with pytest.raises(EngineError, match="is not in the store"):
        look(tmp_path / "a" / "b" / "c" / "d.plan", "tensorrt", tmp_path / "plans")


def test_what_is_no_plan(tmp_path: Path) -> None:
    file = tmp_path / "a.plan"
    file.write_bytes(b"onnx" * 20)
    assert not is_plan(file)
    with pytest.raises(EngineError, match="not a TensorRT plan"):
        read_plan(file, Place())
    with pytest.raises(ModelError, match="absent"):
        is_plan(tmp_path / "absent")


def test_layers_of_both_generations() -> None:
    said = {"Name": "y", "Dimensions": [1, 4], "Format/Datatype": "Row major linear FP16 format"}
    of_10 = {"Name": "a + b", "LayerType": "CaskConvolution", "Outputs": [said]}
    of_11 = {"Name": "c", "LayerType": "kgen", "Outputs": [{"Dimensions": [2], "Datatype": "Half"}]}
    assert layers_of([of_10, of_11, {"Name": "name alone"}], {"c": 0.5, "reformat": 0.25}) == (
        PlanLayer("a + b", "CaskConvolution", "Row major linear FP16 format", (1, 4)),
        PlanLayer("c", "kgen", "Half", (2,), 0.5),
        PlanLayer("name alone", "", "", None),
        PlanLayer("reformat", "", "", None, 0.25),
    )
