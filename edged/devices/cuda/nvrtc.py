"""NVIDIA's run-time compiler, through ctypes: CUDA source to machine code, without a GPU or a toolkit's headers.

Each call's status is checked; what the compiler says about a source goes into the error, with the file and line.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.errors import DeviceError, MissingPackage

# Folders of the pip packages nvidia-cuda-nvrtc (CUDA 13 and later) and nvidia-cuda-nvrtc-cu12, under site-packages
_WHEELS = ("nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib")
_COMPILATION_FAILED = 6  # NVRTC_ERROR_COMPILATION


@dataclass(frozen=True, slots=True)
class Image:
    """Compiled kernels. `code` is a cubin for one architecture, or PTX text that the driver finishes."""

    code: bytes
    is_ptx: bool


def _candidates() -> Iterator[str]:
    for folder in sys.path:
        for wheel in _WHEELS:
            yield from map(str, sorted(Path(folder, wheel).glob("libnvrtc.so.*"), reverse=True))
    for home in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"):
        if home:
            yield from map(str, sorted(Path(home, "lib64").glob("libnvrtc.so.*"), reverse=True))
    found = ctypes.util.find_library("nvrtc")
    if found:
        yield found


def find(driver_major: int | None = None) -> Nvrtc:
    """The first libnvrtc that loads: pip package, CUDA_HOME, the system's. MissingPackage without any.

    `driver_major`: the CUDA version of the driver, 12 for 12.6: it loads nothing that a newer compiler made.
    """
    for path in _candidates():
        try:
            found = Nvrtc(path)
        except OSError:
            continue  # of another architecture, or half installed: the next may be whole
        if driver_major is None or found.version[0] <= driver_major:
            return found
    raise MissingPackage("nvidia-cuda-nvrtc", needed_by="compiling the CUDA kernels", extra="cuda")


class Nvrtc:
    """One loaded libnvrtc. `archs` are the compute capabilities it compiles for, as 75, 87, 120.

    Thread-safe: every call works on a program of its own.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # NVRTC asks the loader for its built-ins by name alone, and 13.0 does not say where: it finds them loaded
        self._builtins = [
            ctypes.CDLL(str(p)) for p in sorted(Path(path).parent.glob("libnvrtc-builtins.so.*"))
        ]
        self._lib = ctypes.CDLL(path)
        self._lib.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)
        count = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        archs = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", archs)
        self.archs = tuple(archs)

    def target(self, arch: int) -> str:
        """sm_87 where this compiler knows the GPU; compute_90, the newest below, where it is older than the GPU."""
        if arch in self.archs:
            return f"sm_{arch}"
        below = [a for a in self.archs if a < arch]
        if not below:
            raise DeviceError(
                f"CUDA {'.'.join(map(str, self.version))} ({self.path}) compiles for compute capability "
                f"{min(self.archs) / 10:.1f} and up; this GPU has {arch / 10:.1f}",
                hint="install an older nvidia-cuda-nvrtc, or use the one of this machine's JetPack (CUDA_HOME)",
            )
        return f"compute_{max(below)}"

    def compile(self, source: str, name: str, arch: int, options: Sequence[str] = ()) -> Image:
        """`source` for the compute capability `arch`; `name` is its file in messages. DeviceError with the log.

        Takes about a second: at boot, never in the serving path.
        """
        target = self.target(arch)
        program = ctypes.c_void_p()
        self._call(
            "nvrtcCreateProgram",
            ctypes.byref(program),
            source.encode(),
            name.encode(),
            0,
            None,
            None,
        )
        try:
            words = [f"--gpu-architecture={target}", "--std=c++17", *options]
            array = (ctypes.c_char_p * len(words))(*(w.encode() for w in words))
            status = self._lib.nvrtcCompileProgram(program, len(words), array)
            if status == _COMPILATION_FAILED:
                log = self._bytes(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")
                text = log.rstrip(b"\0").decode(errors="replace").strip()
                raise DeviceError(
                    f"{name} does not compile for {target} ({' '.join(options)}):\n{text}",
                    hint="a defect in edged or in this version of NVRTC: please report it with these lines",
                )
            self._check("nvrtcCompileProgram", status)
            is_ptx = target.startswith("compute")
            what = "PTX" if is_ptx else "CUBIN"
            return Image(self._bytes(program, f"nvrtcGet{what}Size", f"nvrtcGet{what}"), is_ptx)
        finally:
            self._lib.nvrtcDestroyProgram(ctypes.byref(program))

    def _bytes(self, program: ctypes.c_void_p, size_of: str, get: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(size_of, program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(get, program, buffer)
        return buffer.raw

    def _call(self, name: str, *arguments: object) -> None:
        self._check(name, getattr(self._lib, name)(*arguments))

    def _check(self, name: str, status: int) -> None:
        if status:
            meaning = self._lib.nvrtcGetErrorString(status) or b"unknown"
            raise DeviceError(
                f"{name}: {meaning.decode()} ({status}), in {self.path}",
                hint="reinstall nvidia-cuda-nvrtc; its libnvrtc and libnvrtc-builtins must be of one version",
            )
