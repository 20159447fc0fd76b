"""TensorRT: a plan of the store, deserialized and run on the runner's stream, in memory of its region.

No plan is ever built here: `edged model build` does that, before. What versions of TensorRT have in common is used
and nothing else; where they differ, see tensorrt_library.py.

    find and verify the plan ─► compare with runtime and GPU ─► deserialize ─► profile, shapes, a context ─► wants
    bind: activations of the region, addresses, auxiliary streams ─► warm_up: one eager run ─► enqueue, or a graph
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from msgspec import Meta

from edged.config.schema import Positive, Table
from edged.engines import _tensorrt_layers as inspection
from edged.engines._tensorrt_context import Contexts, TensorRtExecution
from edged.engines._tensorrt_errors import failed, let_go
from edged.engines._tensorrt_memory import EngineMemory, allocator
from edged.engines._tensorrt_plan import capability_of, check_plan, find_plan, mapped, shapes_of
from edged.engines._tensorrt_tensors import choose_profile, output_specs, read_tensors, resolve
from edged.engines.binding import check_views
from edged.engines.tensorrt_library import Library, library
from edged.errors import EngineError
from edged.frames import Memory
from edged.interfaces import Device, Execution, Stream
from edged.memory import Region, Want, format_bytes
from edged.models.model import Model
from edged.models.plans import Plan, PlanStore
from edged.models.sidecar import Flavour
from edged.models.state import plan_store
from edged.tensors import TensorSpec, TensorView

_ACTIVATIONS = "engine.activations"
_U8 = np.dtype(np.uint8)


class TensorRtEngine:
    """One plan. Loaded, bound and closed by its runner's thread; executions run on that runner's stream.

    GPU memory is of three kinds: tensors and activations in the runner's region; weights, which TensorRT asks us for at
    load (counted against the budget); and what it asks for later, which is unplanned (see Options.strict_memory).
    """

    FLAVOUR: ClassVar[Flavour] = "tensorrt"
    PLANS: ClassVar[bool] = True  # made with the store of plans

    class Options(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """[models.X.options] of engine = "tensorrt" and "tensorrt-rtx".

        `precision`: only a plan of this kind; without, the last built that fits. `shapes`: an input's full shape where
        the plan leaves it open, before what model.toml says. `profile`: the optimization profile; without, the first
        that the shapes fit. `graph`: "edged" makes one CUDA graph of a frame (preprocessing, inference, copy of the
        outputs); "off" queues layer by layer. `dla_core`: only a plan that was built for the deep learning accelerator,
        and the core that runs it; without, only other plans (nobody has tried it here). `strict_memory`: refuse what
        TensorRT asks for while running, which may end the inference; without it is given, counted, and the pipeline's
        state is degraded.
        """

        precision: Literal["fp32", "fp16", "best"] | None = None
        shapes: Mapping[str, tuple[Positive, ...]] = {}
        profile: Annotated[int, Meta(ge=0, le=1023)] | None = None
        graph: Literal["edged", "off"] = "edged"
        dla_core: Annotated[int, Meta(ge=0, le=7)] | None = None
        strict_memory: bool = False

    def __init__(
        self,
        model: Model,
        options: Options,
        device: Device | None = None,
        stream: Stream | None = None,
        *,
        plans: PlanStore | None = None,
    ) -> None:
        """Load the plan of the model's ONNX file that fits, to run on `stream` of `device`, a GPU.

        `plans`: None: the store in the default state_dir. Raises EngineError (PlanError where no plan fits, or it is
        damaged), or MissingPackage.
        """
        self._who = f"model {model.name}"
        if device is None or stream is None or device.name != "cuda":
            where = "the CPU" if device is None or device.name == "cpu" else f"device '{device.name}'"
            raise EngineError(
                f"{self._who}: engine '{self.FLAVOUR}' cannot run on {where}",
                hint="set runtime.device = \"cuda\", or engine = 'onnxruntime' for this model",
            )
        self._device, self._stream, self._options = device, stream, options
        # before TensorRT is called: without a driver, its lean runtime ends the process instead of failing
        with device.current():
            self.library: Library = library(self.FLAVOUR)
            store = plan_store() if plans is None else plans
            self.plan: Plan = find_plan(self.library, store, model, device, options)
            self.memory = EngineMemory(f"{self._who} engine", device, strict=options.strict_memory)
            self._hook = allocator(self.library, self.memory)
            self._aux: list[Stream] = []
            self._open: list[TensorRtExecution] = []
            self._spare: Any = None  # the context that told the shapes: for the first execution
            self._contexts: Contexts | None = None
            self.engine: Any = None
            try:
                self.engine = self._deserialize(str(model.path), store)
                self._prepare(model)
            except BaseException as e:
                let_go(e)
                self.close()
                raise

    def _deserialize(self, model: str, store: PlanStore) -> Any:
        with mapped(self.plan.path) as pages:
            store.verify(self.plan, pages)
            with self.library.lock:
                return self._loaded(pages, model)

    def _loaded(self, pages: Any, model: str) -> Any:
        """Of pages that were verified; the library's lock is held."""
        sidecar, options = self.plan.sidecar, self._options
        check_plan(self.plan.path, pages, self.library, capability_of(self._device), model, sidecar)
        self.library.logger.take()
        try:
            runtime = self.library.module.Runtime(self.library.logger)
            runtime.gpu_allocator = self._hook
            if options.dla_core is not None:
                self._set_dla(runtime, options.dla_core)
            # such plans carry their own runtime; this one is sealed with the key of this device
            runtime.engine_host_code_allowed = "version" in sidecar.compatible
            engine = runtime.deserialize_cuda_engine(pages)
        except (TypeError, RuntimeError) as e:  # a runtime that cannot be made, a property refused
            raise failed(self.library, self._who, f"{self.library} does not start: {e}", model) from e
        if engine is None:
            refusals = self.memory.take_refusals()
            what = f"the plan {self.plan.path} cannot be loaded"
            raise failed(self.library, self._who, what, model, refusals)
        return engine

    def _set_dla(self, runtime: Any, core: int) -> None:
        if core >= runtime.num_DLA_cores:
            raise EngineError(
                f"{self._who}: there is no DLA core {core}; {self.library} finds {runtime.num_DLA_cores} here",
                hint="correct or remove dla_core under [models.X.options]",
            )
        runtime.DLA_core = core

    def _prepare(self, model: Model) -> None:
        """Shapes, profile, the context that tells the outputs' shapes, auxiliary streams."""
        tensors = read_tensors(self._who, self.library, self.engine)
        inputs = [t for t in tensors if t.is_input]
        shapes = resolve(self._who, inputs, shapes_of(model, self._options))
        profile = choose_profile(
            self._who, self.engine, inputs, shapes, self._options.profile, str(model.path)
        )
        self._contexts = Contexts(
            self._who, self.library, self.engine, self.memory, self._stream, profile, shapes
        )
        self._spare = self._contexts.make()
        self.inputs = tuple(TensorSpec(t.name, shapes[t.name], t.dtype) for t in inputs)
        self.outputs = output_specs(self._who, self._spare, [t for t in tensors if not t.is_input])
        self._profile = profile
        # the bound for any profile: what set_device_memory is documented to need
        self._activations = int(self.engine.device_memory_size_v2)
        # of the runner's priority; ours counts upwards, CUDA's downwards
        priority = -int(getattr(self._stream, "priority", 0))
        for i in range(int(self.engine.num_aux_streams)):
            self._aux.append(self._device.stream(priority, f"{self._who} auxiliary stream {i}"))

    @property
    def file_hash(self) -> str:
        return self.plan.sidecar.plan_sha256

    @property
    def eager(self) -> str:
        """Why it may not be captured."""
        return "" if self._options.graph == "edged" else 'graph = "off"'

    @property
    def facts(self) -> Mapping[str, str]:
        """How it runs, in words. `limited` is there when it does not run as promised."""
        s, folder = self.plan.sidecar, self.plan.path.parent.name[:12]
        facts = {
            "engine": f"{self.library}, plan {folder} ({s.precision}, for {', '.join(s.capabilities)}), "
            f"profile {self._profile}",
            "engine memory": f"{format_bytes(self.memory.nbytes)} for weights, "
            f"{format_bytes(self._activations)} for activations (in the region)",
        }
        return facts | ({"limited": limited} if (limited := self.memory.limited) else {})

    def wants(self) -> Sequence[Want]:
        """Activation memory: one for all executions, which never run at once."""
        return [Want(_ACTIVATIONS, self._activations, Memory.DEVICE)] if self._activations else ()

    def bind(self, views: Mapping[str, TensorView], region: Region) -> TensorRtExecution:
        """A context on these tensors and the region's activation memory. Once the region is frozen, memory that
        TensorRT asks for is unplanned. An error keeps nothing of TensorRT.
        """
        if self._contexts is None:
            raise EngineError(f"{self._who}: the engine is closed", hint="bind before close")
        check_views(self._who, (*self.inputs, *self.outputs), views, Memory.DEVICE)
        self.library.logger.take()
        context = activations = None
        try:
            context, self._spare = self._spare or self._contexts.make(), None
            if self._activations:
                activations = region.tensor(TensorSpec(_ACTIVATIONS, (self._activations,), _U8))
            self._contexts.bind(context, activations, views, [s.handle for s in self._aux])
        except BaseException as e:
            let_go(e)
            context = None
            raise
        self.memory.watch(region)
        self._open.append(TensorRtExecution(self._who, context, self._contexts, self._open.remove))
        return self._open[-1]

    def warm_up(self, execution: Execution, stream: Stream) -> None:
        """Run once on whatever the inputs hold, and wait: shapes take effect and kernels are loaded, which a capture
        would not survive.
        """
        execution.enqueue(stream)
        stream.synchronize()

    def layers(self, execution: TensorRtExecution | None = None) -> list[Mapping[str, Any]]:
        """See _tensorrt_layers.layers."""
        return inspection.layers(self.library, self.engine, execution)

    def layer_times(
        self, execution: TensorRtExecution, stream: Stream, runs: int = 10
    ) -> list[inspection.LayerTime]:
        """See _tensorrt_layers.layer_times."""
        return inspection.layer_times(self.library, execution, stream, runs)

    def close(self) -> None:
        """Let go of contexts, engine, streams and memory, in this order. The stream must be done. Idempotent."""
        for execution in list(self._open):
            execution.close()
        if self._contexts is not None:
            self._contexts.close()
        self._spare = self._contexts = self.engine = None
        with self._device.current():
            for stream in self._aux:
                stream.close()
            self._aux.clear()
            self.memory.close()


class TensorRtRtxEngine(TensorRtEngine):
    """TensorRT-RTX: plans that are compiled for the GPU when they are loaded: one of 8.0, 8.6, 8.9 or 12.x."""

    FLAVOUR: ClassVar[Flavour] = "tensorrt-rtx"
