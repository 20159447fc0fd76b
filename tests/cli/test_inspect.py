"""edged inspect, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged.cli import main
from edged.errors import ExitCode
from edged.models.files import sha256_of
from edged.models.plans import PlanStore
from tests import onnx_models
from tests.inspecting.test_graph import network
from tests.models import plan_files
from tests.other_user import as_nobody, needs_root, reachable


def inspect(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    assert main.main(["inspect", *map(str, args)]) == ExitCode.OK
    return capsys.readouterr().out


def test_an_onnx_file_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(
        inspect(capsys, network(tmp_path / "n.onnx"), "--json", "--runs", "3", "--threads", "1")
    )
    assert told["kind"] == "onnx"
    assert [la["op"] for la in told["layers"]] == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    times = told["times"]
    assert times["of"] == "work"
    assert times["runs"] == 3
    assert times["total_ms"] > 0
    assert sum(times["ops"].values()) == len(times["nodes"])
    assert "Relu" not in times["ops"]  # it is part of the convolution then
    assert sum(n["share"] for n in times["nodes"]) == pytest.approx(1)
    assert {n["provider"] for n in times["nodes"]} == {"CPU"}
    assert not list(tmp_path.glob("*profile*"))


def test_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = inspect(capsys, network(tmp_path / "n.onnx"), "--runs", "2")
    for words in ("x: float32 1x3x8x8", "5, by output: 5 float32", "parameters", "Time by operator", "gone"):
        assert words in out
    out = inspect(capsys, network(tmp_path / "n.onnx"), "--no-run", "--all")
    assert "Layers, in the file's order" in out
    assert "No times: not asked for (--no-run)" in out


def test_an_open_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = network(tmp_path / "n.onnx", height="h")
    assert "--shape x=1,3,N,8" in inspect(capsys, file)
    told = json.loads(inspect(capsys, file, "--json", "--shape", "x=1,3,16,8", "--runs", "1"))
    assert told["layers"][0]["output"] == [1, 4, 16, 8]
    assert told["times"]["nodes"]


def test_a_file_that_does_not_run_is_shown_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = inspect(capsys, onnx_models.unknown_op(tmp_path / "n.onnx"))
    assert "Frobnicate" in out
    assert "does not run it on cpu" in out


def test_a_model_directory_and_its_plans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    file = onnx_models.relu(folder / "m.onnx", (1, 3, "h", "w"), (1, 3, "h", "w"))
    onnx_models.model_toml(folder, file, size=(6, 4))
    where = ("--state-dir", tmp_path, "--runs", "1")
    assert f"none in {tmp_path}/plans" in inspect(capsys, folder, *where)
    plan = plan_files.install(PlanStore(tmp_path / "plans"), tmp_path, onnx_sha256=sha256_of(file))
    assert str(plan.path) in inspect(capsys, folder, *where)
    told = json.loads(inspect(capsys, folder, "--json", *where))
    assert told["layers"][0]["output"] == [1, 3, 4, 6]
    assert told["plans"][0]["precision"] == "fp16"


def test_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_files.install(
        PlanStore(tmp_path / "plans"), tmp_path, layers={"fp16": 3}, notes=("simplified",)
    )
    out = inspect(capsys, plan.path.parent)  # its folder will do
    for words in (
        "tensorrt 10.3.0.26",
        "capability 8.7",
        "x 1x3x4x6 … 2x3x4x6",
        "3 fp16",
        "simplified",
        "not loaded",
    ):
        assert words in " ".join(out.split())
    told = json.loads(inspect(capsys, plan.path, "--json", "--no-run"))
    assert (told["kind"], told["unloaded"]) == ("plan", "not asked for")
    assert told["sidecar"]["layers"] == {"fp16": 3}


@needs_root
def test_a_store_of_another_user_costs_only_the_plans(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    file = onnx_models.relu(folder / "m.onnx")
    onnx_models.model_toml(folder, file, size=(6, 4))
    reachable(folder)
    plan_files.install(PlanStore(tmp_path / "state" / "plans"), tmp_path)
    words = ["inspect", str(folder), "--no-run", "--json", "--state-dir", str(tmp_path / "state")]

    def told() -> str:
        main.main(words)
        return str(json.loads(capsys.readouterr().out)["no_plans"])

    assert "belongs to root; run it as root" in as_nobody(told)


def test_what_is_not_there(tmp_path: Path) -> None:
    assert main.main(["inspect", str(tmp_path / "absent")]) == ExitCode.MODEL
