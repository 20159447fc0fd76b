"""The configuration, the driver, the GPUs, and the packages that work with them."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from edged import __version__
from edged.devices.choose import choose_device
from edged.devices.cuda.driver import cuda_version
from edged.devices.cuda.nvrtc import find
from edged.devices.cuda.probe import LEAST
from edged.doctor.base import Outcome, failed, not_here, passed, refused, warned
from edged.doctor.child import ask
from edged.doctor.place import Place
from edged.errors import EdgedError

_DRIVER_FILES = ("/proc/driver/nvidia/version", "/sys/module/nvidia/version")
_ORT_ENGINES = ("auto", "onnxruntime")  # "auto" takes it where no plan fits
_ORT_PACKAGES = ("onnxruntime", "onnxruntime-gpu")
_CUDA = "CUDAExecutionProvider"
_TRIAL_S = 60.0  # cuDNN's libraries are a gigabyte: on a slow disk they take their time
_BOTH = (
    "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu (without a GPU: onnxruntime)"
)


def edged(place: Place) -> Iterator[Outcome]:
    python = f"Python {platform.python_version()}, {platform.machine()}, Linux {platform.release()}"
    yield passed(f"edged {__version__}, {python}")


def configuration(place: Place) -> Iterator[Outcome]:
    """As `edged check` reads the file; what it points at has checks of its own."""
    if place.config_error is not None:
        raise place.config_error
    config = place.config
    if config is None:
        yield not_here("no configuration was given", "edged doctor FILE looks at what it asks for, too")
        return
    choice = choose_device(config, lambda: place.found)
    names = ", ".join(config.pipelines)
    yield passed(f"{config.file}: pipelines {names}; on {choice.kind} ({choice.why})")
    for problem in choice.problems:
        yield failed(problem.text, problem.hint)
    for warning in config.warnings:
        yield warned(f"{config.file}: {warning}", "see the key in configs/full.toml")


def driver(place: Place) -> Iterator[Outcome]:
    said = next((text for f in _DRIVER_FILES if (text := place.read(f))), None)
    installed = said.splitlines()[0] if said else None
    try:
        cuda = cuda_version()
    except EdgedError as e:
        if installed is not None:  # the kernel has it and programs do not
            yield failed(f"the kernel has {installed}, but: {e.message}", e.hint)
        elif place.wants_gpu:
            yield refused(e)
        else:
            yield not_here(e.message, e.hint)
        return
    words = installed or "NVIDIA driver (the kernel does not tell its version)"
    text = f"{words}; CUDA up to {cuda // 1000}.{cuda % 1000 // 10}"
    if cuda < 12000:
        yield warned(text, "edged is made for CUDA 12 and later: update the driver, or JetPack to 6")
    else:
        yield passed(text)


def gpu(place: Place) -> Iterator[Outcome]:
    if not place.gpus:
        lack = next(iter(place.found.missing), None)
        text = lack.message if lack is not None else "the driver sees no GPU"
        yield failed(text, lack.hint if lack is not None else "") if place.wants_gpu else not_here(text)
        return
    for n, found in enumerate(place.gpus):
        if found.capability < LEAST:
            least = ".".join(map(str, LEAST))
            yield failed(f"GPU {n}: {found}: too old", f'use one of {least} or later, or device = "cpu"')
        else:
            yield passed(f"GPU {n}: {found}")
    for remark in place.found.remarks:
        yield warned(remark.message, remark.hint)


def nvrtc(place: Place) -> Iterator[Outcome]:
    """The compiler of edged's kernels: there, not newer than the driver, and fit for each GPU."""
    if not place.gpus:
        try:
            compiler = find()
        except EdgedError as e:
            yield not_here(f"{e.message}; without a GPU nothing is compiled")
        else:
            yield passed(
                f"NVRTC {_dotted(compiler.version)} ({compiler.path}); there is no GPU to compile for"
            )
        return
    driver_major = cuda_version() // 1000
    compiler = find(driver_major)
    for n, found in enumerate(place.gpus):
        target = compiler.target(found.arch)
        text = f"NVRTC {_dotted(compiler.version)} ({compiler.path}) compiles for GPU {n} as {target}"
        if target.startswith("sm_"):
            yield passed(text)
        else:
            yield warned(f"{text}: it does not know this GPU", "pip install -U nvidia-cuda-nvrtc")


def onnxruntime(place: Place) -> Iterator[Outcome]:
    """Whether it is there once, and runs a graph of one node on each provider that is of use here."""
    here = {p: v for p in _ORT_PACKAGES if (v := _version(p))}
    if not here:
        needs = place.config is None or any(m.engine in _ORT_ENGINES for m in place.config.models.values())
        remedy = "pip install 'edged[ort]' (with a GPU: onnxruntime-gpu in place of onnxruntime)"
        yield (
            failed("ONNX Runtime is not installed", remedy)
            if needs
            else not_here("ONNX Runtime is not installed")
        )
        return
    if len(here) > 1:
        names = " and ".join(f"{p} {v}" for p, v in here.items())
        yield warned(f"{names} are both installed: one overwrote files of the other", _BOTH)
    facts = ask("edged.doctor.try_onnxruntime", timeout_s=_TRIAL_S)
    providers = ", ".join(facts["providers"])
    yield passed(f"ONNX Runtime {facts['version']} runs on the CPU (providers: {providers})")
    if not place.gpus:
        return
    why = facts["cuda"]
    if why == "":
        yield passed("ONNX Runtime runs on the GPU (CUDA provider)")
        return
    remedy = (
        "install onnxruntime-gpu in place of onnxruntime, with the cuDNN 9 and cuBLAS of its CUDA version"
    )
    text = f"ONNX Runtime does not run on the GPU: {why}"
    uses = place.config is not None and any(m.engine in _ORT_ENGINES for m in place.config.models.values())
    yield failed(text, remedy) if uses and place.wants_gpu else warned(text, remedy)


def tensorrt(place: Place) -> Iterator[Outcome]:
    wanted = {m.engine for m in place.config.models.values()} if place.config is not None else set()
    for flavour, remedy in _INSTALL.items():
        runtime = place.runtimes.get(flavour)
        if runtime is None:
            text = f"{flavour} is not installed"
            yield failed(text, remedy) if flavour in wanted else not_here(text, remedy)
        elif runtime.broken:
            yield failed(f"{flavour} is installed and cannot be loaded: {runtime.broken}", remedy)
        elif not place.gpus and flavour == "tensorrt-rtx" and not runtime.lean:
            yield passed(f"{flavour} {runtime.version} builds plans; there is no GPU to run them on")
        elif not place.gpus:
            remedy = "install NVIDIA's driver; in a container let the runtime bring it (--gpus all)"
            yield warned(f"{flavour} {runtime.version}, but no GPU to run plans on", remedy)
        else:
            kind = " (lean: it runs plans and builds none)" if runtime.lean else ""
            yield passed(f"{flavour} {runtime.version}{kind}")


_INSTALL = {
    "tensorrt": "on a Jetson: sudo apt-get install python3-libnvinfer, and --system-site-packages for the environment",
    "tensorrt-rtx": "pip install 'edged[trt-rtx]' (GPUs of compute capability 8.0, 8.6, 8.9 and 12; no Jetson)",
}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _dotted(v: tuple[int, ...]) -> str:
    return ".".join(map(str, v))
