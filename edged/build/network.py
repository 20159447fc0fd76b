"""TensorRT's builder, from 10.3 to 11 and TensorRT-RTX in one code path. In the builder's process only.

What one version has and another lacks is asked of the enumerations, never of version numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edged.build.events import Event, Finished, Phase, Step
from edged.build.request import BuildError, Request
from edged.engines.tensorrt_library import Library

_REASONS = 3  # of TensorRT's messages in an error
# what the library says -> what to do about it; the first that fits
_REMEDIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("within workspace limit", "insufficient workspace", "sufficient workspace"),
        "give the layers more memory: --workspace '2 GiB'",
    ),
    (
        ("out of memory", "outofmemory", "could not be allocated", "bad_alloc"),
        "out of memory: stop what else uses the GPU, or build with a smaller --workspace or smaller shapes",
    ),
    (
        ("driver version is insufficient", "no cuda-capable device", "cudaerror 35"),
        "build where the GPU and its driver are, or for named GPUs: --engine tensorrt-rtx --capability 8.6",
    ),
    (
        ("libnvinfer_lean",),
        "version-compatible plans need TensorRT's lean runtime library where they are built",
    ),
    (("dla",), "leave out --dla: not every layer and shape runs there"),
)


def is_weakly_typed(library: Library, request: Request) -> bool:
    """Whether TensorRT chooses precisions itself: up to 10.x, for `best` and on a DLA; 11 and RTX cannot."""
    return library.has("weak typing") and (request.precision == "best" or request.dla is not None)


def check_capabilities(library: Library, request: Request) -> None:
    """BuildError where the request names a GPU that TensorRT-RTX does not build for."""
    known = library.module.ComputeCapability.__members__ if request.capabilities else {}
    for capability in request.capabilities:
        if _enumerated(capability) not in known:
            numbered = (n[2:] for n in known if n.startswith("SM"))
            there = ", ".join(f"{n[:-1]}.{n[-1]}" for n in numbered)
            raise BuildError(
                f"{library} builds for no GPU of capability {capability}",
                hint=f"it knows {there}; on a Jetson use --engine tensorrt",
            )


def _enumerated(capability: str) -> str:
    """SM86 for "8.6"."""
    return f"SM{capability.replace('.', '')}"


@dataclass(frozen=True, slots=True)
class Built:
    """A serialized plan (IHostMemory, a buffer) and the layers of its network by precision, before fusion."""

    plan: Any
    layers: Mapping[str, int]


class Building:
    """One build: parser, network and configuration live as long as this. Used by one thread."""

    def __init__(self, library: Library, request: Request, tell: Callable[[Event], None]) -> None:
        self._library, self._request, self._tell = library, request, tell
        self._trt = library.module
        self._weak = is_weakly_typed(library, request)
        self._builder = self._trt.Builder(library.logger)
        if not self._builder:
            raise self._failed("no builder can be made")

    def parse(self, model: bytes) -> Any:
        """The network of an ONNX graph. BuildError names each node that the parser refuses."""
        trt = self._trt
        flags = 0 if self._weak else 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = self._builder.create_network(flags)
        self._parser = trt.OnnxParser(network, self._library.logger)
        if not self._parser.parse(model):
            errors = [self._parser.get_error(i) for i in range(self._parser.num_errors)]
            raise BuildError(
                "\n".join(f"{self._request.model}: {_of_node(e)}" for e in errors)
                or f"{self._request.model}: the parser refuses the graph",
                hint="export it with other operators or an older opset; edged model show DIR lists those it has",
            )
        return network

    def build(self, network: Any, cache: bytes) -> Built:
        """The plan. `cache`: TensorRT's timing cache of earlier builds, or nothing."""
        config = self._configured(network, cache)
        self._config = config
        config.progress_monitor = _monitor(self._trt, self._tell)
        plan = self._builder.build_serialized_network(network, config)
        if plan is None:
            raise self._failed("TensorRT builds no plan")
        return Built(plan, self._layers(network))

    def timing_cache(self) -> bytes:
        """What the build learnt, for the next one; TensorRT-RTX times nothing."""
        if self._request.engine == "tensorrt-rtx":
            return b""
        cache = self._config.get_timing_cache()
        return bytes(cache.serialize()) if cache else b""

    def _configured(self, network: Any, cache: bytes) -> Any:
        trt, r = self._trt, self._request
        config = self._builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, r.workspace)
        config.profiling_verbosity = (
            trt.ProfilingVerbosity.DETAILED
        )  # for the inspector; costs bytes, no time
        if r.level is not None:
            config.builder_optimization_level = r.level
        for flag, wanted in self._flags(network).items():
            if wanted:
                config.set_flag(flag)
            else:
                config.clear_flag(flag)
        if r.hardware_compatible:
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        if r.dla is not None:
            self._to_dla(config, r.dla)
        if r.capabilities:
            self._for_capabilities(config)
        if r.engine == "tensorrt":
            self._begin_with(config, cache)
        self._add_profiles(config)
        return config

    @staticmethod
    def _begin_with(config: Any, cache: bytes) -> None:
        """A cache that is damaged or of another version or GPU is refused: then an empty one, which is never."""
        for data in (cache, b""):
            made = config.create_timing_cache(data)
            if made is not None and config.set_timing_cache(made, ignore_mismatch=False):
                return

    def _flags(self, network: Any) -> dict[Any, bool]:
        trt, r = self._trt, self._request
        flags = {
            trt.BuilderFlag.TF32: r.precision == "best",
            trt.BuilderFlag.SPARSE_WEIGHTS: r.sparse,
            trt.BuilderFlag.VERSION_COMPATIBLE: r.version_compatible,
        }
        if self._weak:
            kinds = {network.get_layer(i).type for i in range(network.num_layers)}
            flags[trt.BuilderFlag.FP16] = True
            flags[trt.BuilderFlag.INT8] = trt.LayerType.QUANTIZE in kinds
        return flags

    def _to_dla(self, config: Any, core: int) -> None:
        trt = self._trt
        if core >= self._builder.num_DLA_cores:
            raise BuildError(
                f"DLA core {core}: this GPU's TensorRT has {self._builder.num_DLA_cores}",
                hint="leave out --dla (AGX Orin and Orin NX have two, Thor and GPUs of a desktop none)",
            )
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)

    def _for_capabilities(self, config: Any) -> None:
        config.num_compute_capabilities = len(self._request.capabilities)
        for i, capability in enumerate(self._request.capabilities):
            known = self._trt.ComputeCapability.__members__
            config.set_compute_capability(known[_enumerated(capability)], i)

    def _add_profiles(self, config: Any) -> None:
        for number, shapes in enumerate(p for p in self._request.profiles if p):
            profile = self._builder.create_optimization_profile()
            for name, (low, best, high) in shapes.items():
                profile.set_shape(name, low, best, high)
            if config.add_optimization_profile(profile) < 0:
                raise self._failed(f"profile {number} is refused")

    def _layers(self, network: Any) -> dict[str, int]:
        """Precision of the first output -> how many, of the layers that compute numbers."""
        layers = (network.get_layer(i) for i in range(network.num_layers))
        kinds = Counter(_precision(str(la.get_output_type(0))) for la in layers if la.num_outputs)
        return {k: n for k, n in kinds.items() if k}

    def _failed(self, what: str) -> BuildError:
        said = list(dict.fromkeys(self._library.logger.take()))[-_REASONS:]
        return failure(f"{self._request.model}: {what}: {' / '.join(said) or 'it does not say why'}")


def failure(message: str) -> BuildError:
    """A BuildError with the remedy that belongs to what the library said."""
    text = message.lower()
    hint = next((remedy for words, remedy in _REMEDIES if any(w in text for w in words)), "")
    return BuildError(message, hint=hint or "edged model show DIR shows the graph; try --precision fp32")


def _of_node(e: Any) -> str:
    """One of the parser's errors, with the node and the operator."""
    name, op = e.node_name(), e.node_operator()
    where = f"node '{name}' ({op})" if name or op else "the file"
    said = " ".join(e.desc().split())
    code = str(e.code()).rpartition(".")[2].replace("_", " ").lower()
    return f"{where}: {code}" + ("" if said in ("", "false") else f": {said}")


def _precision(element: str) -> str:
    """fp16 for "DataType.HALF"; nothing for whole numbers, which are indices and shapes."""
    names = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "FP8": "fp8", "INT4": "int4"}
    return names.get(element.rpartition(".")[2], "")


def _monitor(trt: Any, tell: Callable[[Event], None]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Calls come from the thread that builds, and from others of TensorRT's."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            tell(Phase(phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            tell(Step(phase_name, step))
            return True  # a build that is not wanted any more is killed with its process

        def phase_finish(self, phase_name: str) -> None:
            tell(Finished(phase_name))

    return Monitor()
