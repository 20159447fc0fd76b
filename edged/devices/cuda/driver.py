"""The NVIDIA driver, libcuda.so.1, through ctypes: every status is checked, and an error names call, code and meaning.

Calls release the GIL, but for the few that never wait and are on the path of every frame (`quick`): giving it up
there could cost a frame another thread's turn. A quick call blocks only while the driver is a thousand pieces of
work behind, which a runner never is.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from ctypes import POINTER, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from functools import cache
from typing import Any

from edged.devices.cuda.status import CudaError, error_of
from edged.errors import DeviceError

LIBRARY = "libcuda.so.1"
_REGISTERS = 4  # CU_FUNC_ATTRIBUTE_NUM_REGS
HOST_FUNCTION = ctypes.CFUNCTYPE(None, c_void_p)

_P, _Q = POINTER(c_void_p), POINTER(c_uint64)
# our name -> the symbol, if it has another, and the types of its arguments
_CALLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "cuInit": ("", (c_uint,)),
    "cuDriverGetVersion": ("", (POINTER(c_int),)),
    "cuDeviceGetCount": ("", (POINTER(c_int),)),
    "cuDeviceGet": ("", (POINTER(c_int), c_int)),
    "cuDeviceGetName": ("", (c_char_p, c_int, c_int)),
    "cuDeviceGetAttribute": ("", (POINTER(c_int), c_int, c_int)),
    "cuDeviceGetPCIBusId": ("", (c_char_p, c_int, c_int)),
    "cuDevicePrimaryCtxRetain": ("", (_P, c_int)),
    "cuDevicePrimaryCtxRelease": ("cuDevicePrimaryCtxRelease_v2", (c_int,)),
    "cuDevicePrimaryCtxSetFlags": ("cuDevicePrimaryCtxSetFlags_v2", (c_int, c_uint)),
    "cuCtxPushCurrent": ("cuCtxPushCurrent_v2", (c_void_p,)),
    "cuCtxPopCurrent": ("cuCtxPopCurrent_v2", (_P,)),
    "cuCtxGetCurrent": ("", (_P,)),
    "cuCtxSynchronize": ("", ()),
    "cuCtxGetStreamPriorityRange": ("", (POINTER(c_int), POINTER(c_int))),
    "cuMemGetInfo": ("cuMemGetInfo_v2", (POINTER(c_size_t), POINTER(c_size_t))),
    "cuMemAlloc": ("cuMemAlloc_v2", (_Q, c_size_t)),
    "cuMemFree": ("cuMemFree_v2", (c_uint64,)),
    "cuMemHostAlloc": ("", (_P, c_size_t, c_uint)),
    "cuMemFreeHost": ("", (c_void_p,)),
    "cuMemHostGetDevicePointer": ("cuMemHostGetDevicePointer_v2", (_Q, c_void_p, c_uint)),
    "cuMemHostRegister": ("cuMemHostRegister_v2", (c_void_p, c_size_t, c_uint)),
    "cuMemHostUnregister": ("", (c_void_p,)),
    "cuMemsetD8": ("cuMemsetD8_v2", (c_uint64, ctypes.c_ubyte, c_size_t)),
    "cuMemcpy": ("", (c_uint64, c_uint64, c_size_t)),
    "cuImportExternalMemory": ("", (_P, c_void_p)),
    "cuExternalMemoryGetMappedBuffer": ("", (_Q, c_void_p, c_void_p)),
    "cuDestroyExternalMemory": ("", (c_void_p,)),
    "cuModuleLoadData": ("", (_P, c_char_p)),
    "cuModuleUnload": ("", (c_void_p,)),
    "cuModuleGetFunction": ("", (_P, c_void_p, c_char_p)),
    "cuFuncGetAttribute": ("", (POINTER(c_int), c_int, c_void_p)),
    "cuStreamCreateWithPriority": ("", (_P, c_uint, c_int)),
    "cuStreamDestroy": ("cuStreamDestroy_v2", (c_void_p,)),
    "cuStreamSynchronize": ("", (c_void_p,)),
    "cuStreamQuery": ("", (c_void_p,)),
    "cuStreamBeginCapture": ("cuStreamBeginCapture_v2", (c_void_p, c_int)),
    "cuStreamEndCapture": ("", (c_void_p, _P)),
    "cuStreamIsCapturing": ("", (c_void_p, POINTER(c_int))),
    "cuEventCreate": ("", (_P, c_uint)),
    "cuEventDestroy": ("cuEventDestroy_v2", (c_void_p,)),
    "cuEventSynchronize": ("", (c_void_p,)),
    "cuEventElapsedTime": ("", (POINTER(c_float), c_void_p, c_void_p)),
    "cuEventRecordWithFlags": ("", (c_void_p, c_void_p, c_uint)),
    "cuLaunchHostFunc": ("", (c_void_p, HOST_FUNCTION, c_void_p)),
    "cuGraphInstantiate": ("cuGraphInstantiateWithFlags", (_P, c_void_p, c_uint64)),
    "cuGraphUpload": ("", (c_void_p, c_void_p)),
    "cuGraphGetNodes": ("", (c_void_p, _P, POINTER(c_size_t))),
    "cuGraphDestroy": ("", (c_void_p,)),
    "cuGraphExecDestroy": ("", (c_void_p,)),
    "cuGraphLaunch": ("", (c_void_p, c_void_p)),
    "cuEventRecord": ("", (c_void_p, c_void_p)),
    "cuEventQuery": ("", (c_void_p,)),
    "cuMemcpyAsync": ("", (c_uint64, c_uint64, c_size_t, c_void_p)),
    "cuLaunchKernel": ("", (c_void_p, *(c_uint,) * 7, c_void_p, POINTER(c_void_p), c_void_p)),
}


class Driver:
    """One loaded library. `driver.cuMemAlloc(…)` raises CudaError unless it succeeds; thread-safe as the driver is.

    `quick(name)` gives the call as it is: its status is the caller's to check, by `fail`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lib, self._holding = ctypes.CDLL(path), ctypes.PyDLL(path)
        self._lib.cuGetErrorName.argtypes = self._lib.cuGetErrorString.argtypes = (c_int, POINTER(c_char_p))

    def __getattr__(self, name: str) -> Any:
        """The checked call; looked up once."""
        if name not in _CALLS:
            raise AttributeError(name)
        call = self._find(self._lib, name)

        def check(status: int, _: object, __: object) -> int:
            if status:
                self.fail(name, status)
            return status

        call.errcheck = check
        setattr(self, name, call)
        return call

    def quick(self, name: str) -> Callable[..., int]:
        """The call that keeps the GIL and returns its status."""
        call: Callable[..., int] = self._find(self._holding, name)
        return call

    def unchecked(self, name: str) -> Callable[..., int]:
        """The call that returns its status; for statuses that are answers (NOT_READY) and for cleaning up."""
        call: Callable[..., int] = self._find(self._lib, name)
        return call

    def _find(self, library: Any, name: str) -> Any:
        symbol, types = _CALLS[name]
        try:
            call = library[symbol or name]  # a function object of its own each time
        except AttributeError as e:
            raise DeviceError(
                f"the NVIDIA driver ({self.path}) has no {symbol or name}: it is too old",
                hint="update the driver to one of CUDA 12 or later",
            ) from e
        call.argtypes, call.restype = types, c_int
        return call

    def error(self, name: str, status: int) -> CudaError:
        word, text = c_char_p(), c_char_p()
        self._lib.cuGetErrorName(status, ctypes.byref(word))
        self._lib.cuGetErrorString(status, ctypes.byref(text))
        return error_of(name, status, _text(word, "an unknown status"), _text(text, "no description"))

    def fail(self, name: str, status: int) -> None:
        raise self.error(name, status)


def _text(p: c_char_p, otherwise: str) -> str:
    return p.value.decode(errors="replace") if p.value else otherwise


@cache
def driver() -> Driver:
    """The process's driver, initialized. DeviceError where there is none, CudaError where it does not start.

    EDGED_LIBCUDA names another file (tests have a stand-in).
    """
    path = os.environ.get("EDGED_LIBCUDA", LIBRARY)
    try:
        found = Driver(path)
    except OSError as e:
        raise DeviceError(
            f"no NVIDIA driver: {e}", hint="install it; in a container, let the runtime bring it (--gpus all)"
        ) from e
    found.cuInit(0)
    return found


class Function:
    """A kernel of a module, and valid as long as that. Launches are thread-safe."""

    def __init__(self, name: str, handle: c_void_p, owner: Module) -> None:
        self.name = name
        self._handle, self._owner, self._driver = handle, owner, owner.driver
        self._launch = self._driver.quick("cuLaunchKernel")
        self._loaded = False
        # the driver loads code at its first use, which a capture would not survive: use it now
        self._driver.cuFuncGetAttribute(ctypes.byref(c_int()), _REGISTERS, handle)

    def launch(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[Any],
        stream_handle: int,
        shared_bytes: int = 0,
    ) -> None:
        """Queue it; no wait. `args`: ctypes values and structures, copied before this returns."""
        pointers = (c_void_p * len(args))(*map(ctypes.addressof, args))
        where = (self._handle, *grid, *block, shared_bytes, stream_handle, pointers, None)
        if not self._loaded:  # the first launch may load code and wait for the device: others go on meanwhile
            self._driver.cuLaunchKernel(*where)
            self._loaded = True
            return
        status = self._launch(*where)
        if status:
            self._driver.fail(f"cuLaunchKernel of {self.name}", status)


class Module:
    """Compiled kernels (a cubin, a fatbin or PTX text) in the current context; `close` unloads them."""

    def __init__(self, image: bytes) -> None:
        self.driver = driver()
        self._handle = c_void_p()
        self.driver.cuModuleLoadData(ctypes.byref(self._handle), image)

    def function(self, name: str) -> Function:
        """CudaError 500 when there is none of that name."""
        handle = c_void_p()
        self.driver.cuModuleGetFunction(ctypes.byref(handle), self._handle, name.encode())
        return Function(name, handle, self)

    def close(self) -> None:
        """In the module's context, once nothing of it runs. Idempotent."""
        handle, self._handle = self._handle, c_void_p()
        if handle:
            self.driver.cuModuleUnload(handle)
