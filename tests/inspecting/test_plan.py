"""What is told of a plan: header, store and sidecar here; the engine's own words from a recorded answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.devices.cuda.probe import Gpu
from edged.doctor.place import Place, Runtime
from edged.errors import EngineError, ModelError
from edged.inspecting.plan import PlanLayer, is_plan, layers_of, read_plan
from edged.models.plans import Plan, PlanStore
from tests.models import plan_files


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_files.install(PlanStore(tmp_path / "plans"), tmp_path)


def here(version: str = "10.3.0", capability: tuple[int, int] = (8, 7)) -> Place:
    made = Place()
    made.runtimes = {"tensorrt": Runtime("tensorrt", version)}
    made.gpus = (Gpu("Orin", capability, "", True, 16),)
    return made


def test_a_plan_of_the_store(plan: Plan) -> None:
    found = read_plan(plan.path, Place(), load=False)
    assert (found.engine, found.version, found.nbytes) == ("tensorrt", "10.3.0.26", plan.sidecar.plan_bytes)
    assert found.sidecar == plan.sidecar
    assert found.store == "whole: size, hash, seal and header fit"
    assert found.unloaded == "not asked for"


def test_a_plan_that_was_changed_is_told(plan: Plan) -> None:
    data = plan.path.read_bytes()
    plan.path.write_bytes(data[:-1] + b"!")
    assert "its sha256 is" in read_plan(plan.path, Place(), load=False).store
    plan.path.write_bytes(data[:-1])
    assert "bytes, not" in read_plan(plan.path, Place(), load=False).store


def test_a_plan_alone_has_a_header_only(tmp_path: Path) -> None:
    file = tmp_path / "a.plan"
    file.write_bytes(plan_files.plan_bytes("1.7.1.116", b"vtrt"))
    found = read_plan(file, Place(), load=False)
    assert (found.engine, found.version, found.sidecar) == ("tensorrt-rtx", "1.7.1.116", None)
    assert found.store == "in no store: nothing but its header is known"


def test_why_an_engine_is_not_asked(plan: Plan) -> None:
    nothing = Place()
    nothing.runtimes, nothing.gpus = {}, ()
    no_gpu = here()
    no_gpu.gpus = ()
    assert read_plan(plan.path, nothing).unloaded == "TensorRT is not here"
    assert read_plan(plan.path, no_gpu).unloaded == "there is no GPU here"
    assert "the runtime here is 10.4.0" in read_plan(plan.path, here("10.4.0")).unloaded
    assert "the GPU here has 8.9" in read_plan(plan.path, here(capability=(8, 9))).unloaded


def test_a_runtime_that_dies_or_refuses_is_told(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module named tensorrt whose Runtime behaves so, in the process that is asked."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "tensorrt.py").write_text(
        "__version__ = '10.3.0'\n"
        "class ILogger:\n    ERROR, INTERNAL_ERROR = 1, 0\n"
        "    def __init__(self): pass\n"
        "class Runtime:\n    def __init__(self, logger): pass\n"
        "    def deserialize_cuda_engine(self, data):\n        import os\n        os.abort()\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    assert "was ended by SIGABRT" in read_plan(plan.path, here()).unloaded


def test_what_is_no_plan(tmp_path: Path) -> None:
    file = tmp_path / "a.plan"
    file.write_bytes(b"onnx" * 20)
    assert not is_plan(file)
    with pytest.raises(EngineError, match="not a TensorRT plan"):
        read_plan(file, Place())
    with pytest.raises(ModelError, match="absent"):
        is_plan(tmp_path / "absent")


def test_layers_of_both_generations() -> None:
    of_10 = {"Name": "a + b", "LayerType": "CaskConvolution"}
    of_10["Outputs"] = [
        {"Name": "y", "Dimensions": [1, 4], "Format/Datatype": "Row major linear FP16 format"}
    ]  # type: ignore[assignment]
    of_11 = {"Name": "c", "LayerType": "kgen", "Outputs": [{"Dimensions": [2], "Datatype": "Half"}]}
    assert layers_of([of_10, of_11, {"Name": "name alone"}], {"c": 0.5, "reformat": 0.25}) == (
        PlanLayer("a + b", "CaskConvolution", "Row major linear FP16 format", (1, 4)),
        PlanLayer("c", "kgen", "Half", (2,), 0.5),
        PlanLayer("name alone", "", "", None),
        PlanLayer("reformat", "", "", None, 0.25),
    )
