"""From a kernel's file to a function of a loaded module: source, compiler, cache, driver.

What is here knows no driver: `load` is given (driver.Module), so that a CPU compiles and tests everything but that.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, Protocol, Union

from edged.devices.cuda.cache import KernelCache, key_of
from edged.devices.cuda.nvrtc import Image, Nvrtc

# what a kernel is given: passed to the driver by address, copied by it before `launch` returns
Argument = Union["ctypes._SimpleCData[Any]", ctypes.Structure]
Macros = Mapping[str, int]

_INCLUDE = re.compile(r'^#include "([\w.]+)"$', re.MULTILINE)


class Function(Protocol):
    """A kernel of a loaded module."""

    def launch(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[Argument],
        stream_handle: int,
        shared_bytes: int = 0,
    ) -> None:
        """Queue it; no wait. Arguments are copied before it returns."""
        ...


class Module(Protocol):
    def function(self, name: str) -> Function: ...


class Functions(Protocol):
    """Where kernels come from: Kernels, or a test's emulation. `multiprocessors`: of the GPU they run on."""

    @property
    def multiprocessors(self) -> int: ...

    def get(self, file: str, name: str, macros: Macros) -> Function:
        """Function `name` of kernels/`file`, compiled with `macros`."""
        ...


def source_of(file: str) -> str:
    """The text of kernels/`file` with what it includes in place; the compiler still names the right lines."""
    folder = resources.files("edged.devices.cuda.kernels")
    text = folder.joinpath(file).read_text("utf-8")

    def include(match: re.Match[str]) -> str:
        line = text.count("\n", 0, match.start()) + 2
        return f'#line 1 "{match[1]}"\n{source_of(match[1])}\n#line {line} "{file}"'

    return _INCLUDE.sub(include, text)


def options_of(macros: Macros) -> list[str]:
    return [f"-D{name}={value}" for name, value in sorted(macros.items())]


def compile_file(compiler: Nvrtc, cache: KernelCache, file: str, arch: int, macros: Macros) -> Image:
    """kernels/`file` for `arch` (87: compute capability 8.7), from the cache where it is there."""
    source, options = source_of(file), options_of(macros)
    version = ".".join(map(str, compiler.version))
    key = key_of(source, *options, compiler.target(arch), f"nvrtc {version}")
    return cache.get(key, lambda: compiler.compile(source, file, arch, options))


class Kernels:
    """The compiled kernels of one CUDA context. Thread-safe. Modules live as long as the context.

    `load` makes a module in the current context (driver.Module); `arch` is its GPU's compute capability, 87 for 8.7,
    and `multiprocessors` their number.
    `find` is called at the first kernel that is asked for (nvrtc.find).
    """

    def __init__(
        self,
        arch: int,
        multiprocessors: int,
        load: Callable[[bytes], Module],
        find: Callable[[], Nvrtc],
        cache: KernelCache,
    ) -> None:
        self.multiprocessors = multiprocessors
        self._arch, self._load, self._find, self._cache = arch, load, find, cache
        self._compiler: Nvrtc | None = None
        self._modules: dict[tuple[str, tuple[str, ...]], Module] = {}
        self._lock = threading.Lock()

    def get(self, file: str, name: str, macros: Macros) -> Function:
        key = (file, tuple(options_of(macros)))
        with self._lock:
            module = self._modules.get(key)
            if module is None:
                self._compiler = self._compiler or self._find()
                image = compile_file(self._compiler, self._cache, file, self._arch, macros)
                module = self._modules[key] = self._load(image.code)
            return module.function(name)
