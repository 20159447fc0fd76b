"""Model directories and plans, against runtimes and GPUs that a test names."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.config.schema import Config, ModelConfig
from edged.devices.cuda.probe import Gpu
from edged.doctor import models
from edged.doctor.place import Place, Runtime
from edged.models.files import sha256_of
from edged.models.plans import PLAN, PlanStore
from tests import onnx_models
from tests.models import plan_files

ORIN = Gpu("Orin", (8, 7), "0000:00:00.0", True, 16)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "m"
    made.mkdir()
    onnx_models.model_toml(made, onnx_models.relu(made / "m.onnx"), size=(6, 4), top='version = "2"')
    return made


def place(tmp_path: Path, directory: Path | None, engine: str = "tensorrt", version: str = "10.3.0") -> Place:
    entries = {} if directory is None else {"m": ModelConfig(path=str(directory), engine=engine)}
    made = Place(config=Config(file="edged.toml", models=entries), state_dir=tmp_path / "state")
    made.runtimes = {"tensorrt": Runtime("tensorrt", version)} if version else {}
    made.gpus = (ORIN,)
    return made


def sha256(directory: Path) -> str:
    return sha256_of(directory / "m.onnx")


def look(p: Place) -> list[tuple[str, str, str]]:
    return [(o.state, o.text, o.remedy) for o in models.plans(p)]


def test_models(tmp_path: Path, directory: Path) -> None:
    p = place(tmp_path, directory)
    assert [o.state for o in models.models(Place())] == ["not here"]
    assert [(o.state, o.text.split(",")[0]) for o in models.models(p)] == [("pass", "m: tiny 2")]
    with (directory / "m.onnx").open("ab") as f:
        f.write(b"\0")
    (found,) = models.models(p)
    assert found.state == "fail"
    assert "is not the file that model.toml describes" in found.text
    (directory / "model.toml").write_text('name = "x"\nfile = 3\n')
    assert {o.state for o in models.models(p)} == {"fail"}


def test_a_plan_that_fits(tmp_path: Path, directory: Path) -> None:
    p = place(tmp_path, directory)
    plan_files.install(PlanStore(p.state_dir / "plans"), tmp_path, onnx_sha256=sha256(directory))
    ((state, text, _),) = look(p)
    assert state == "pass"
    assert text.startswith("m: TensorRT 10.3.0, capability 8.7, fp16")
    assert text.endswith("is whole and fits")


def test_a_plan_that_is_wanted_and_not_there(tmp_path: Path, directory: Path) -> None:
    ((state, text, remedy),) = look(place(tmp_path, directory))
    assert state == "fail"
    assert "no plan fits TensorRT 10.3.0, capability 8.7" in text
    assert remedy == f"edged model build {directory} --engine tensorrt"


def test_a_plan_of_another_version_is_no_plan_for_this_one(tmp_path: Path, directory: Path) -> None:
    p = place(tmp_path, directory, version="10.4.0")
    plan_files.install(PlanStore(p.state_dir / "plans"), tmp_path, onnx_sha256=sha256(directory))
    wanted, other = look(p)
    assert wanted[0] == "fail"
    assert "there: TensorRT 10.3.0, capability 8.7, fp16" in wanted[1]
    assert other[0] == "warn"
    assert "the runtime here is 10.4.0" in other[1]
    assert "rm -r " in other[2]


def test_a_plan_that_was_changed(tmp_path: Path, directory: Path) -> None:
    p = place(tmp_path, directory)
    plan = plan_files.install(PlanStore(p.state_dir / "plans"), tmp_path, onnx_sha256=sha256(directory))
    data = bytearray(plan.path.read_bytes())
    data[-1] ^= 1
    plan.path.write_bytes(data)
    ((state, text, remedy),) = look(p)
    assert state == "fail"
    assert "its sha256 is" in text
    assert "edged model build" in remedy


def test_a_plan_that_is_not_whole(tmp_path: Path, directory: Path) -> None:
    p = place(tmp_path, directory, engine="onnxruntime")
    plan = plan_files.install(PlanStore(p.state_dir / "plans"), tmp_path, onnx_sha256=sha256(directory))
    plan.path.with_name("seal").unlink()
    ((state, text, remedy),) = look(p)
    assert state == "fail"
    assert "seal is missing" in text
    assert remedy.startswith(f"rm -r {plan.path.parent}")


@pytest.mark.parametrize(
    ("version", "capability", "state", "text"),
    [
        ("10.3.0", (8, 7), "pass", "whole, fits"),
        ("10.3.0", (8, 9), "warn", "the GPU here has 8.9"),
        ("10.3.0", None, "not here", "there is no GPU here"),
        ("", (8, 7), "not here", "there is no tensorrt here"),
    ],
)
def test_plans_that_nothing_asks_for(
    tmp_path: Path, version: str, capability: tuple[int, int] | None, state: str, text: str
) -> None:
    p = place(tmp_path, None, version=version)
    p.gpus = () if capability is None else (Gpu("x", capability, "", False, 1),)
    plan_files.install(PlanStore(p.state_dir / "plans"), tmp_path)
    ((found, said, _),) = look(p)
    assert found == state
    assert text in said
    assert PLAN in said


def test_what_a_wanted_plan_would_run_on_is_absent(tmp_path: Path, directory: Path) -> None:
    no_runtime, no_gpu = place(tmp_path, directory, version=""), place(tmp_path, directory)
    no_gpu.gpus = ()
    assert look(no_runtime)[0][:2] == (
        "fail",
        "m: wants tensorrt, and there is no tensorrt to look for a plan for",
    )
    assert look(no_gpu)[0][:2] == ("fail", "m: wants tensorrt, and there is no GPU to look for a plan for")


def test_no_plans_at_all(tmp_path: Path) -> None:
    assert look(place(tmp_path, None)) == []
