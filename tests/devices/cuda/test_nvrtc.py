"""The kernels through NVIDIA's compiler, for every GPU that edged runs on: no GPU is needed for that."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edged.devices.cuda import nvrtc
from edged.devices.cuda.cache import KernelCache
from edged.devices.cuda.compiled import Kernels, Macros, compile_file, source_of
from edged.errors import DeviceError, MissingPackage
from tests.compiled import FOLDER as COMPILED

# Turing, AGX Orin, Ada, Hopper, Thor, Blackwell
ARCHS = (75, 87, 89, 90, 110, 120)
# each value of each macro; the first, that of most models, is for Orin
PREPROCESS: list[Macros] = [
    {"CHANNELS": 3, "NHWC": 0, "ELEMENT": 1, "DEWARP": 0},
    {"CHANNELS": 1, "NHWC": 1, "ELEMENT": 3, "DEWARP": 0},
    {"CHANNELS": 3, "NHWC": 1, "ELEMENT": 0, "DEWARP": 1},
    {"CHANNELS": 1, "NHWC": 0, "ELEMENT": 2, "DEWARP": 0},
]
DECODE: list[Macros] = [{"HEAD": n % 4, "HALF": n // 4} for n in range(8)]
EXIT = 'extern "C" __global__ void stop(int* p) { *p = 1; }'


@pytest.fixture(scope="module")
def compiler() -> nvrtc.Nvrtc:
    try:
        return nvrtc.find()
    except MissingPackage as e:
        pytest.skip(f"no NVRTC here: {e.message}")


def test_every_kernel_compiles_for_every_gpu(compiler: nvrtc.Nvrtc) -> None:
    """Of preprocess.cu, which takes seconds, one variant on each, and each variant on some; all of decode_yolo.cu.

    What compiled before, from the same text by the same NVRTC, is in build/kernels.
    """
    jobs: list[tuple[str, int, Macros]] = []
    for n, arch in enumerate(ARCHS):
        jobs.append(("preprocess.cu", arch, PREPROCESS[(n + 3) % len(PREPROCESS)]))
        jobs += [("decode_yolo.cu", arch, macros) for macros in DECODE]
    cache = KernelCache(COMPILED.parent / "kernels")
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(compile_file, compiler, cache, f, a, m) for f, a, m in jobs]
    for job, future in zip(jobs, made, strict=True):
        image = future.result()
        assert image.is_ptx is (job[1] not in compiler.archs)  # 110 came with CUDA 13
        assert image.code.startswith(b"\x7fELF") or image.is_ptx
        assert b"preprocess_rows" in image.code or b"decode" in image.code


def test_a_gpu_newer_than_the_compiler_gets_ptx(compiler: nvrtc.Nvrtc) -> None:
    newest = max(compiler.archs)
    image = compiler.compile(EXIT, "stop.cu", newest + 90)
    assert image.is_ptx
    assert f".target sm_{newest}".encode() in image.code
    assert image.code.endswith(b"\0")  # the driver reads it as a C string
    with pytest.raises(DeviceError, match=r"this GPU has 2\.0"):
        compiler.target(20)


def test_a_fault_in_a_kernel_is_named_with_file_and_line(compiler: nvrtc.Nvrtc) -> None:
    with pytest.raises(DeviceError) as e:
        compiler.compile("\n\nint x = y;", "broken.cu", 75)
    assert "broken.cu(3): error" in e.value.message
    text = source_of("preprocess.cu").replace("#define PIXELS 4", "#define PIXELS 4\nint x = y;")
    with pytest.raises(DeviceError) as e:
        compiler.compile(text, "preprocess.cu", 75, ["-DCHANNELS=3", "-DNHWC=0", "-DELEMENT=0", "-DDEWARP=0"])
    line = text.split('"preprocess.cu"\n')[1].split("int x = y;")[0].count("\n")
    first = source_of("preprocess.cu").split("#line")[0].count("\n") + 2
    assert f"preprocess.cu({first + line}): error" in e.value.message
    assert e.value.hint


def test_a_refused_option_names_the_call(compiler: nvrtc.Nvrtc) -> None:
    with pytest.raises(DeviceError, match="nvrtcCompileProgram: NVRTC_ERROR_INVALID_OPTION"):
        compiler.compile(EXIT, "stop.cu", 75, ["--no-such-option"])


def test_kernels_are_compiled_and_loaded_once(compiler: nvrtc.Nvrtc, tmp_path: Path) -> None:
    loaded: list[bytes] = []
    found: list[nvrtc.Nvrtc] = []

    class Loaded:
        def __init__(self, code: bytes) -> None:
            loaded.append(code)

        def function(self, name: str) -> Any:
            return name

    def find() -> nvrtc.Nvrtc:
        found.append(compiler)
        return compiler

    for _ in range(2):
        kernels = Kernels(90, 1, Loaded, find, KernelCache(tmp_path))
        for _ in range(2):
            kernels.get("decode_yolo.cu", "decode", DECODE[0])
    assert (len(loaded), len(found), len(list(tmp_path.iterdir()))) == (2, 2, 1)
    assert loaded[0] == loaded[1]


def test_a_compiler_newer_than_the_driver_is_passed_over(compiler: nvrtc.Nvrtc) -> None:
    assert nvrtc.find(compiler.version[0]).path == compiler.path
    with contextlib.suppress(MissingPackage):
        assert nvrtc.find(11).version[0] <= 11


def test_without_nvrtc_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "_candidates", lambda: iter(["/nowhere/libnvrtc.so.13"]))
    with pytest.raises(MissingPackage, match=r"edged\[cuda\]"):
        nvrtc.find()
