"""Driver, GPUs, compiler, ONNX Runtime and TensorRT: on this machine, and on the stand-in for the driver."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edged.config.schema import Config, ModelConfig, RuntimeConfig
from edged.devices.cuda.driver import driver as libcuda
from edged.doctor import software
from edged.doctor.base import Outcome
from edged.doctor.child import ask
from edged.doctor.place import Place, Runtime
from edged.doctor.try_onnxruntime import RELU
from edged.errors import EdgedError
from tests import onnx_models
from tests.cuda.standin import standin
from tests.doctor.trees import tree

ROOT = Path(__file__).resolve().parents[2]
WANTS_GPU = Config(
    file="edged.toml",
    runtime=RuntimeConfig(device="cuda"),
    models={"m": ModelConfig(path="m", engine="onnxruntime")},
)
WANTS_PLANS = Config(file="edged.toml", models={"m": ModelConfig(path="m", engine="tensorrt")})


def look(check: Callable[[Place], Iterable[Outcome]], place: Place) -> list[tuple[str, str, str]]:
    return [(o.state, o.text, o.remedy) for o in check(place)]


@pytest.fixture
def _no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterable[None]:
    monkeypatch.setenv("EDGED_LIBCUDA", str(tmp_path / "libcuda.so.1"))
    libcuda.cache_clear()
    yield
    libcuda.cache_clear()


@pytest.mark.usefixtures("_no_driver")
def test_without_a_driver(tmp_path: Path) -> None:
    assert look(software.driver, Place(root=tmp_path))[0][0] == "not here"
    assert look(software.gpu, Place())[0][0] == "not here"
    assert look(software.driver, Place(root=tmp_path, config=WANTS_GPU))[0][0] == "fail"
    state, text, remedy = look(software.gpu, Place(config=WANTS_GPU))[0]
    assert (state, text.split(":")[0]) == ("fail", "no NVIDIA driver")
    assert "--gpus all" in remedy


@pytest.mark.usefixtures("_no_driver")
def test_a_driver_that_only_the_kernel_has(tmp_path: Path) -> None:
    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06\nGCC version: 12"
    root = tree(tmp_path, {"proc/driver/nvidia/version": version})
    state, text, remedy = look(software.driver, Place(root=root))[0]
    assert state == "fail"
    assert "580.65.06, but: no NVIDIA driver" in text
    assert remedy


def test_a_driver_and_gpus(tmp_path: Path) -> None:
    with standin():
        (driver,) = look(software.driver, Place(root=tmp_path))
        assert driver[0] in ("pass", "warn")
        assert "CUDA up to " in driver[1]
        gpus = look(software.gpu, Place())
        assert gpus[0][0] == "pass"
        assert gpus[0][1].startswith("GPU 0: ")
        assert look(software.nvrtc, Place())[0][0] in ("pass", "warn")


def test_no_gpu_behind_a_driver() -> None:
    with standin() as made:
        made.gpus(0)
        ((state, text, _),) = look(software.gpu, Place())
        assert state == "not here"
        assert "no CUDA-capable device is detected" in text
        assert look(software.gpu, Place(config=WANTS_GPU))[0][0] == "fail"


def test_the_compiler() -> None:
    ((state, text, _),) = look(software.nvrtc, Place())
    assert (state, text[:6]) == ("pass", "NVRTC ")


def test_the_compiler_is_not_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    ((state, text, _),) = look(software.nvrtc, Place())
    assert state == "not here" or "/usr" in text  # unless the system has one


def test_onnx_runtime_runs() -> None:
    first = look(software.onnxruntime, Place())[0]
    assert first[0] == "pass"
    assert "runs on the CPU" in first[1]


def test_both_packages_of_onnx_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tree(tmp_path, {"onnxruntime_gpu-1.23.0.dist-info/METADATA": "Name: onnxruntime-gpu\nVersion: 1.23.0\n"})
    monkeypatch.syspath_prepend(str(tmp_path))
    state, text, remedy = look(software.onnxruntime, Place())[0]
    assert state == "warn"
    assert "onnxruntime-gpu 1.23.0 are both installed" in text
    assert remedy.startswith("pip uninstall -y onnxruntime onnxruntime-gpu")


def test_no_onnx_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert look(software.onnxruntime, Place())[0][0] == "fail"
    assert look(software.onnxruntime, Place(config=WANTS_PLANS))[0][0] == "not here"


def test_the_trial_of_onnx_runtime_is_a_relu(tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    made = onnx_models.relu(tmp_path / "x.onnx", (1,), (1,))
    ours, theirs = onnx.load_from_string(RELU), onnx.load(str(made))
    assert ours.graph.node[0].op_type == theirs.graph.node[0].op_type == "Relu"
    session = onnxruntime.InferenceSession(RELU, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.array([2.5], np.float32)})[0][0] == 2.5


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="this machine has a TensorRT")
def test_no_tensorrt() -> None:
    found = look(software.tensorrt, Place())
    assert found[0][:2] == ("not here", "tensorrt is not installed")
    assert "python3-libnvinfer" in found[0][2]
    assert look(software.tensorrt, Place(config=WANTS_PLANS))[0][0] == "fail"


def test_a_tensorrt_and_no_gpu_and_one_that_cannot_be_loaded() -> None:
    place = Place()
    place.runtimes = {
        "tensorrt": Runtime("tensorrt", "10.3.0", lean=True),
        "tensorrt-rtx": Runtime("tensorrt-rtx", "", broken="libnvinfer.so.10: cannot open"),
    }
    place.gpus = ()
    assert [s for s, _, _ in look(software.tensorrt, place)] == ["warn", "fail"]
    place.runtimes = {"tensorrt-rtx": Runtime("tensorrt-rtx", "1.7.1.116")}
    said = "tensorrt-rtx 1.7.1.116 builds plans; there is no GPU to run them on"
    assert look(software.tensorrt, place)[1] == ("pass", said, "")
    with standin():
        place = Place()
        place.runtimes = {"tensorrt": Runtime("tensorrt", "10.3.0", lean=True)}
        assert look(software.tensorrt, place)[0] == (
            "pass",
            "tensorrt 10.3.0 (lean: it runs plans and builds none)",
            "",
        )


def test_the_configuration(tmp_path: Path) -> None:
    assert look(software.configuration, Place())[0][0] == "not here"
    assert look(software.edged, Place())[0][0] == "pass"
    with standin() as made:
        made.gpus(0)
        states = [s for s, _, _ in look(software.configuration, Place(config=WANTS_GPU))]
    assert states == ["pass", "fail"]
    odd = Config(
        file="edged.toml", runtime=RuntimeConfig(device="cpu"), warnings=("sinks.x: no pipeline uses it",)
    )
    assert look(software.configuration, Place(config=odd))[1][:2] == (
        "warn",
        "edged.toml: sinks.x: no pipeline uses it",
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", "was ended by SIGABRT: it said nothing"),
        ("raise SystemExit('no library')", "ended with status 1: no library"),
        ("print([1])", "ended with status 0"),
        ("import time; time.sleep(60)", "did not come to an end within 1 s"),
    ],
)
def test_a_trial_that_dies_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, said: str
) -> None:
    (tmp_path / "trial.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EdgedError) as caught:
        ask("trial", timeout_s=1.0 if "sleep" in code else 30.0)
    assert said in caught.value.message
    assert "run it by hand" in caught.value.hint
