"""A TensorRT that writes down what its builder is told, as 10.3 or as 11: no kernel is looked for."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace
from typing import Any

from edged.engines.tensorrt_library import Library


def _enum(name: str, members: list[str]) -> Any:
    return Enum(name, members)


_FLAGS = ["TF32", "SPARSE_WEIGHTS", "VERSION_COMPATIBLE", "GPU_FALLBACK"]


class Config:
    """IBuilderConfig: its attributes are what was set."""

    DLA_core: int
    profiling_verbosity: Any
    progress_monitor: Any

    def __init__(self) -> None:
        self.flags: set[str] = {"TF32"}  # on unless cleared
        self.pools: dict[str, int] = {}
        self.profiles: list[Any] = []
        self.cache: Any = None
        self.builder_optimization_level = 3
        self.hardware_compatibility_level: Any = None
        self.default_device_type: Any = None

    def set_memory_pool_limit(self, pool: Enum, pool_size: int) -> None:
        self.pools[pool.name] = pool_size

    def set_flag(self, flag: Enum) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: Enum) -> None:
        self.flags.discard(flag.name)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        return SimpleNamespace(serialize=lambda: serialized_timing_cache + b"+")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self.cache

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile.shapes)
        return -1 if profile.refused else len(self.profiles) - 1


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}
        self.refused = False

    def set_shape(self, name: str, *shapes: Any) -> None:
        self.shapes[name] = shapes
        self.refused = "bad" in name


class FakeTensorRt:
    """The module. `said`: what the logger has when a build fails; None: it succeeds."""

    def __init__(
        self, major: int, *, layers: tuple[str, ...] = (), cores: int = 2, said: str | None = None
    ) -> None:
        flags = [*_FLAGS, "FP16", "INT8"] if major < 11 else _FLAGS
        self.BuilderFlag = _enum("BuilderFlag", flags)
        self.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
        self.MemoryPoolType = _enum("MemoryPoolType", ["WORKSPACE", "TACTIC_DRAM"])
        self.ProfilingVerbosity = _enum("ProfilingVerbosity", ["DETAILED"])
        self.HardwareCompatibilityLevel = _enum("HardwareCompatibilityLevel", ["AMPERE_PLUS"])
        self.DeviceType = _enum("DeviceType", ["GPU", "DLA"])
        self.LayerType = _enum("LayerType", ["QUANTIZE", "CONVOLUTION"])
        self.IProgressMonitor = type("IProgressMonitor", (), {})
        self.__version__ = f"{major}.3.0"
        self.config, self.network_flags = Config(), -1
        self._cores, self._said, self._layers = cores, said, layers
        self.logger = SimpleNamespace(take=lambda: [said] if said else [])

    @property
    def Builder(self) -> Callable[[Any], Any]:
        def create_network(flags: int) -> Any:
            self.network_flags = flags
            layers = [
                SimpleNamespace(
                    type=self.LayerType[name], num_outputs=1, get_output_type=lambda _: "DataType.HALF"
                )
                for name in self._layers
            ]
            return SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__)

        def build(network: Any, config: Config) -> Any:
            config.progress_monitor.phase_start("Building engine", None, 2)
            config.progress_monitor.step_complete("Building engine", 0)
            config.progress_monitor.phase_finish("Building engine")
            return None if self._said else b"plan"

        return lambda logger: SimpleNamespace(
            num_DLA_cores=self._cores,
            create_network=create_network,
            create_builder_config=lambda: self.config,
            create_optimization_profile=Profile,
            build_serialized_network=build,
        )

    @property
    def OnnxParser(self) -> Callable[..., Any]:
        return lambda network, logger: SimpleNamespace(parse=lambda model: True, num_errors=0)

    def library(self) -> Library:
        return Library(self, "tensorrt", self.__version__, False, self.logger)
