"""What runtime.device comes to, by what a machine has."""

from __future__ import annotations

from edged.config.schema import Config, ModelConfig, RuntimeConfig
from edged.devices.choose import choose_device, open_devices
from edged.devices.cpu import CpuDevice
from edged.devices.cuda.device import CudaDevice
from edged.devices.cuda.probe import Finding, Lack, probe
from edged.memory import Budget

TWO = Finding(("Orin", "Thor"))
NOTHING = Finding((), (Lack("no NVIDIA driver: libcuda.so.1", "install it"),))
NO_NVRTC = Finding(("Orin",), (Lack("needs nvidia-cuda-nvrtc", "pip install it"),))


def config(device: str, *gpus: int) -> Config:
    models = {f"m{i}": ModelConfig(path="m", gpu=gpu) for i, gpu in enumerate(gpus)}
    return Config(runtime=RuntimeConfig(device=device), models=models)  # type: ignore[arg-type]


def test_cpu_does_not_look_at_the_machine() -> None:
    def look() -> Finding:
        raise AssertionError("it looked")

    choice = choose_device(config("cpu", 0), look)
    assert (choice.kind, choice.problems) == ("cpu", ())


def test_auto_takes_a_gpu_where_all_is_there_and_else_says_in_a_line_why_not() -> None:
    assert choose_device(config("auto", 0), lambda: TWO).kind == "cuda"
    for found, why in ((NOTHING, "no NVIDIA driver"), (NO_NVRTC, "nvrtc")):
        choice = choose_device(config("auto", 0), lambda found=found: found)  # type: ignore[misc]
        assert choice.kind == "cpu"
        assert choice.why.startswith("no GPU is used: ")
        assert why in choice.why
        assert "\n" not in choice.why
        assert choice.problems == ()
    assert "no GPU 2" in choose_device(config("auto", 2), lambda: TWO).why


def test_cuda_names_everything_that_is_missing_with_a_remedy() -> None:
    (problem,) = choose_device(config("cuda", 0), lambda: NO_NVRTC).problems
    assert str(problem) == "runtime.device: needs nvidia-cuda-nvrtc; pip install it"
    (problem,) = choose_device(config("cuda", 0, 5), lambda: TWO).problems
    assert str(problem) == "models.m1.gpu: there is no GPU 5; use 0: Orin; 1: Thor"


def test_each_number_has_its_device_and_nothing_is_opened_yet() -> None:
    devices = open_devices(choose_device(config("cuda", 0, 1, 1), lambda: TWO), Budget())
    assert {g: d.gpu for g, d in devices.items() if isinstance(d, CudaDevice)} == {0: 0, 1: 1}
    cpu = open_devices(choose_device(config("cpu", 0, 1)), Budget())
    assert isinstance(cpu[0], CpuDevice)
    assert cpu[0] is cpu[1]


def test_a_machine_without_a_driver_is_no_error_to_look_at() -> None:
    found = probe()
    assert found.gpus or found.missing
