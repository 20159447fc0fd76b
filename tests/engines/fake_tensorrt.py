"""A TensorRT that keeps its documented rules strictly, and computes with ONNX Runtime on the stand-in driver.

What TensorRT refuses it refuses in the same way: None or False, and the reason in the logger. What TensorRT leaves
undefined (memory that is not the caller's, one context on two streams, …) is a RuleBroken here, so that a wrong order
of calls fails a test. Names and arguments are checked against real bindings by test_tensorrt_surface.py.
"""

from __future__ import annotations

import enum
import json
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import byref, c_void_p
from typing import Any, ClassVar

import onnxruntime as ort

from edged.devices.cuda.driver import driver
from edged.engines import tensorrt_library
from tests.engines import fake_context
from tests.engines.fake_enums import (
    DataType,
    DynamicShapesKernelSpecializationStrategy,
    ExecutionContextAllocationStrategy,
    LayerInformationFormat,
    TensorIOMode,
    TensorLocation,
)
from tests.engines.fake_plan import CAPABILITY, MAGIC, VERSIONS, PlanFacts, unpack
from tests.engines.fake_rules import RULES, RuleBroken, known

_TYPES = {
    "tensor(float)": DataType.FLOAT,
    "tensor(float16)": DataType.HALF,
    "tensor(uint8)": DataType.UINT8,
    "tensor(int64)": DataType.INT64,
    "tensor(bfloat16)": DataType.BF16,
}


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self) -> None:
        self.made = True

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class IGpuAllocator:
    """Calls its own methods as the binding does: only those that a subclass has."""

    def __init__(self) -> None:
        self.made = True


class Runtime:
    num_DLA_cores: ClassVar[int] = 0

    def __init__(self, logger: ILogger) -> None:
        if not getattr(logger, "made", False):
            raise RuleBroken("the logger's base class was not initialized")
        context = c_void_p()
        driver().cuCtxGetCurrent(byref(context))
        if not context:
            raise RuleBroken("no CUDA context: the lean runtime ends the process here")
        self.logger: Any = logger
        self.gpu_allocator: Any = None
        self.DLA_core, self.engine_host_code_allowed = -1, False

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        RULES.deserialized += 1
        data, said = bytes(serialized_engine), ""
        version = ".".join(str(b) for b in data[24:28])
        own = (*map(int, RULES.version.split(".")), 26)[:4]
        found = unpack(data)
        if data[:4] != MAGIC[RULES.flavour]:
            said = (
                "Serialization (Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed.)"
            )
        elif tuple(data[24:28]) != own:
            said = (
                "API Usage Error (The engine plan file is not compatible with this version of TensorRT, "
                f"expecting library version {'.'.join(map(str, own))} got {version}, please rebuild.)"
            )
        elif found is None:
            said = "Serialization (Serialization assertion plan->header.size == blobSize failed.)"
        elif found[0].capability != CAPABILITY:
            said = (
                "API Usage Error (The engine plan file is generated on an incompatible device, expecting compute "
                f"{CAPABILITY} got compute {found[0].capability}, please rebuild.)"
            )
        elif found[0].host_code and not self.engine_host_code_allowed:
            said = (
                "API Usage Error (The plan has host code, and IRuntime::setEngineHostCodeAllowed is false.)"
            )
        if said or found is None:
            self._refuse(f"IRuntime::deserializeCudaEngine: Error Code 1: {said}")
            return None
        weights = allocate(self.gpu_allocator, found[0].weights)
        if not weights and found[0].weights:
            self._refuse(
                "[runtime.cpp::deserialize::9] Error Code 2: OutOfMemory (Requested size was 4096 bytes.)"
            )
            return None
        made = RtxEngine if RULES.flavour == "tensorrt-rtx" else ICudaEngine
        return made(self, *found, weights)

    def _refuse(self, said: str) -> None:
        self.logger.log(ILogger.Severity.ERROR, said)


def allocate(allocator: Any, size: int) -> int:
    """As TensorRT asks: for nothing when nothing is needed; what it gets must be memory of the GPU."""
    if not size:
        return 0
    if allocator is None:
        raise RuleBroken("memory outside of the application's allocator")
    found = allocator.allocate_async(size, 256, 0, 0)
    if not isinstance(found, int):
        raise RuleBroken(f"the allocator gave {found!r}: the binding makes no address of that")
    if found and (found % 256 or not known(found, size)):
        raise RuleBroken("the allocator gave what is no memory of the GPU")
    return found


class ICudaEngine:
    def __init__(self, runtime: Runtime, facts: PlanFacts, onnx: bytes, weights: int) -> None:
        self.runtime, self.facts, self._weights = runtime, facts, weights
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = 1
        self.session = ort.InferenceSession(onnx, settings, providers=["CPUExecutionProvider"])
        self.declared = {v.name: v for v in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.contexts = 0
        self._run = RULES.run
        RULES.engines += 1

    num_layers = 1

    @property
    def num_io_tensors(self) -> int:
        return len(self.declared)

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self.facts.profiles))

    @property
    def num_aux_streams(self) -> int:
        return self.facts.aux_streams

    @property
    def device_memory_size_v2(self) -> int:
        return self.facts.activations

    def get_tensor_name(self, index: int) -> str:
        return str(list(self.declared)[index])

    def get_tensor_dtype(self, name: str) -> DataType:
        return _TYPES[self.declared[name].type]

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.DEVICE

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        inputs = [i.name for i in self.session.get_inputs()]
        return TensorIOMode.INPUT if name in inputs else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        return [d if isinstance(d, int) else -1 for d in self.declared[name].shape]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        if -1 not in self.get_tensor_shape(name):
            raise RuleBroken(f"'{name}' has one shape: what a profile says of it is not documented")
        return self.facts.profiles[profile_index][name]

    def create_execution_context(self, strategy: Any = ExecutionContextAllocationStrategy.STATIC) -> Any:
        if isinstance(strategy, IRuntimeConfig):
            strategy = strategy.strategy
        if strategy != ExecutionContextAllocationStrategy.USER_MANAGED and self.facts.activations:
            raise RuleBroken("activation memory that the region does not know of")
        if RULES.no_context:
            self.runtime.logger.log(
                ILogger.Severity.ERROR, "ICudaEngine::createExecutionContext: Error Code 1"
            )
            return None
        return fake_context.IExecutionContext(self)

    def create_engine_inspector(self) -> EngineInspector:
        if RULES.lean:
            raise TypeError("Unable to convert function return value to a Python type! EngineInspector")
        return EngineInspector(self)

    def __del__(self) -> None:
        if self._run != RULES.run:
            return  # an error kept it beyond the end of its test: no fault of the test that runs now
        RULES.engines -= 1
        if self.contexts:
            RULES.broken.append("an engine went before its contexts")
        if self._weights and self.runtime.gpu_allocator is not None:
            # its owner may have closed everything: then the memory went too soon
            freed = self.runtime.gpu_allocator.deallocate_async(self._weights, 0)
            if not freed:
                RULES.broken.append("the weights were freed before the engine that uses them")


class IRuntimeConfig:
    """TensorRT-RTX."""

    strategy: Any = ExecutionContextAllocationStrategy.STATIC
    dynamic_shapes_kernel_specialization_strategy: Any = DynamicShapesKernelSpecializationStrategy.LAZY

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy


class RtxEngine(ICudaEngine):
    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()


class EngineInspector:
    execution_context: Any = None

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        if format != LayerInformationFormat.JSON:
            raise RuleBroken("edged reads JSON")
        return json.dumps({"Layers": [{"Name": "all", "LayerType": "kgen"}], "Bindings": []})


class Builder:
    """Its presence tells a full TensorRT from a lean one; nothing is built with it here."""


_COMMON = (
    ILogger, IGpuAllocator, Runtime, ICudaEngine, fake_context.IExecutionContext, fake_context.IProfiler,
    TensorLocation, TensorIOMode, DataType, ExecutionContextAllocationStrategy, LayerInformationFormat,
)  # fmt: skip
_RTX = (IRuntimeConfig, DynamicShapesKernelSpecializationStrategy)


def classes(flavour: str = "tensorrt", *, lean: bool = False) -> Mapping[str, type]:
    """What the module has, by name."""
    more = () if lean else (Builder, EngineInspector)
    found = {c.__name__: c for c in (*_COMMON, *more)}
    if flavour == "tensorrt-rtx":
        found |= {c.__name__: c for c in _RTX}
        found["ICudaEngine"] = RtxEngine
    return found


@contextmanager
def fake_tensorrt(
    flavour: str = "tensorrt", version: str = "", *, lean: bool = False
) -> Iterator[types.ModuleType]:
    """The process's TensorRT of this flavour while inside; at the end no rule was broken and nothing is left."""
    names = tensorrt_library._MODULES
    module = types.ModuleType("fake_tensorrt")
    module.__dict__.update(classes(flavour, lean=lean), __version__=version or VERSIONS[flavour])
    RULES.reset(flavour, version or VERSIONS[flavour], lean)
    before = {n: sys.modules.get(n) for n in names[flavour]}
    sys.modules.update(dict.fromkeys(names[flavour], None))  # type: ignore[arg-type]  # None: not to be found
    sys.modules[names[flavour][2 if lean else 0]] = module
    tensorrt_library.library.cache_clear()
    try:
        yield module
        assert not RULES.broken, RULES.broken
        assert not RULES.engines, "an engine is still alive"
    finally:
        tensorrt_library.library.cache_clear()
        for name, was in before.items():
            if was is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = was
