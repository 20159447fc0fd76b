"""scripts/jetson-acceptance: its steps on this machine, on copied trees, and on the fake TensorRT."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import acceptance
from _acceptance import bench, compare, heat, rows, steps
from _acceptance.bench import Bench, edged_json
from _acceptance.rows import Row, Skip
from edged.engines.tensorrt_library import library
from edged.errors import EdgedError
from edged.models.plans import PlanStore
from tests import onnx_models
from tests.cuda.standin import standin
from tests.doctor.trees import ORIN, tree
from tests.engines import fake_plan
from tests.engines.fake_tensorrt import fake_tensorrt


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "m"
    made.mkdir()
    onnx_models.model_toml(made, onnx_models.relu(made / "m.onnx"), size=(6, 4))
    return made


def test_a_step_that_fails_ends_no_other() -> None:
    def absent(_: object) -> Iterable[Row]:
        raise Skip("no camera")

    def refused(_: object) -> Iterator[Row]:
        yield Row("b", "pass", "first")
        raise EdgedError("too small", hint="a larger one")

    def broken(_: object) -> Iterable[Row]:
        raise ZeroDivisionError("by nought")

    found = list(rows.walk([("a", absent), ("b", refused), ("c", broken)], None))
    assert found == [
        Row("a", "skip", "no camera"),
        Row("b", "pass", "first"),
        Row("b", "fail", "too small; a larger one"),
        Row("c", "fail", "the step itself broke: ZeroDivisionError: by nought"),
    ]


def test_the_table_keeps_to_its_cells() -> None:
    text = rows.markdown("t", ["gpu: Orin"], [Row("a", "pass", "x | y\nz")])
    assert (
        text
        == "### t\n\n- gpu: Orin\n\n| what | outcome | figures |\n| --- | --- | --- |\n| a | pass | x \\| y z |\n"
    )


def test_all_of_it_on_this_machine(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "acceptance"
    words = ["--seconds", "1", "--age-ms", "1e4", "--max-drops", "1"]  # other tests run beside this one
    status = acceptance.main([*words, "--model", str(directory), "--folder", str(folder)])
    out = capsys.readouterr().out
    (report,) = folder.glob("*.md")
    told = json.loads(report.with_suffix(".json").read_text())
    state = {r["what"]: r["state"] for r in told["rows"]}
    assert state["model"] == "pass"
    assert state["running: pattern"] == state["drops: pattern"] == state["age: pattern"] == "pass"
    assert {"doctor", "layers", "agrees", "DLA", "graph capture", "temperature", "power"} <= state.keys()
    assert all(r["text"] for r in told["rows"])
    assert report.read_text() in out
    assert status == (1 if "fail" in state.values() else 0)
    assert told["snapshot"]["pipelines"]["pattern"]["inferred"] > 0


def test_heat_and_power_of_a_jetson(tmp_path: Path) -> None:
    with heat.watching(tree(tmp_path, ORIN)) as seen:
        pass
    assert list(seen.rows()) == [
        Row(
            "temperature",
            "pass",
            "hottest cpu-thermal: 49.8 °C at the start, 49.8 at most, 49.8 at the end; slowed down: nothing",
        ),
        Row("power", "pass", "7.50 W, 7.50 at most; VDD_IN 7.50 W, VDD_CPU_GPU_CV 2.00 W"),
    ]
    seen.look(tree(tmp_path, ORIN, device1__cur_state="3"))
    temperature, _ = seen.rows()
    assert temperature.state == "fail"
    assert "slowed down: cpufreq-cpu0 step 3" in temperature.text
    assert [r.state for r in heat.Heat().rows()] == ["skip", "skip"]


def test_a_plan_is_compared_with_onnx_runtime(directory: Path, tmp_path: Path) -> None:
    plan = fake_plan.install(PlanStore(tmp_path / "plans"), directory / "m.onnx")
    with fake_tensorrt(), standin():
        told = compare.compare(directory, plan.path, "tensorrt")
    assert told["samples"] > 1
    assert told["outputs"] == {"y": {"cosine": pytest.approx(1.0), "difference": 0.0}}


def test_the_builder_that_is_here() -> None:
    library.cache_clear()
    with fake_tensorrt():
        assert bench.find_builder("") == ("tensorrt", "10.3.0")
    with fake_tensorrt(lean=True):
        flavour, why = bench.find_builder("tensorrt")
    assert flavour == ""
    assert "is lean and builds nothing" in why
    library.cache_clear()


def test_cameras_are_told_by_their_rungs(tmp_path: Path) -> None:
    b = Bench(tmp_path, 1.0)
    texts = {
        "pass": "/dev/video0: rung userptr-register: the driver writes into the slots",
        "warn": "/dev/video1: rung copy: MMAP, one copy (no userptr: EINVAL)",
        "fail": "/dev/video2: no picture",
        "not here": "/dev/video3: edged run (process 7) has it, so its rung was not tried",
    }
    b.doctor = {
        "checks": [{"check": "cameras", "state": s, "text": t, "remedy": ""} for s, t in texts.items()]
    }
    assert [(r.what, r.state) for r in steps._canaries(b)] == [
        ("canary /dev/video0", "pass"),
        ("canary /dev/video1", "fail"),
        ("canary", "fail"),
        ("canary", "skip"),
    ]
    assert b.cameras == ["/dev/video0", "/dev/video1"]


@pytest.mark.parametrize(
    ("dropped", "early", "inferred", "state"),
    [
        (90, 90, 910, "pass"),
        (99, 90, 901, "pass"),
        (110, 90, 890, "fail"),
        (990, 0, 10, "fail"),
        (10, 0, 1000, "fail"),  # the sum is not exact
    ],
)
def test_frames_dropped_once_the_model_is_warm_are_limited(
    dropped: int, early: int, inferred: int, state: str
) -> None:
    counts = {"offered": 1000, "dropped": dropped, "dropped_at_start": early, "inferred": inferred}
    age = {"p50_ms": 1.0, "p99_ms": 1.0, "max_ms": 1.0}
    pipeline = {**counts, "failed": 0, "lost": 0, "fps": 30.0, "stages": {"age": age}}
    told = {
        "pipelines": {"p": pipeline},
        "models": {"m": {"facts": {}}},
        "wall_s": 9.0,
        "errors": [],
    }
    drops = next(r for r in steps._figures(Bench(Path(), 1.0), told) if r.what == "drops: p")
    assert drops.state == state
    assert f"{early} of the dropped while the model warmed up" in drops.text


def test_the_plan_for_a_dla_is_none_that_the_daemon_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = Bench(tmp_path, 1.0, engine="tensorrt", model=tmp_path / "m")
    b.doctor = {"checks": [{"check": "gpu", "state": "pass", "text": "GPU 0: Orin"}]}
    said: list[str] = []

    def edged(*words: str, **_: object) -> subprocess.CompletedProcess[str]:
        said.extend(words)
        return subprocess.CompletedProcess(words, 0, '{"build_s": 1.0, "notes": []}\n', "")

    monkeypatch.setattr(steps, "edged", edged)
    assert [r.state for r in steps.dla(b)] == ["pass"]
    state = Path(said[said.index("--state-dir") + 1])
    assert tmp_path in state.parents
    assert state != b.state


def test_graphs() -> None:
    b = Bench(Path(), 1.0)
    assert steps._graph(b, {"work": "graph"}).state == "skip"
    b.doctor = {"checks": [{"check": "gpu", "state": "pass", "text": "GPU 0: Orin"}]}
    assert steps._graph(b, {"work": "graph"}).state == "pass"
    assert steps._graph(b, {"work": "eager: too old"}).state == "fail"


def test_a_command_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(EdgedError, match=r"edged model failed with exit status 4: .*does not exist"):
        edged_json("model", "verify", str(tmp_path / "absent"))
