"""An execution context of TensorRT: made without memory of its own, told its shapes, bound, and enqueued."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edged.engines._tensorrt_errors import failed
from edged.engines._tensorrt_memory import EngineMemory
from edged.engines.tensorrt_library import Library
from edged.errors import EngineError
from edged.interfaces import Stream
from edged.tensors import TensorView


class Contexts:
    """Makes contexts of one engine for one set of shapes. Used by the runner's thread, on its stream."""

    def __init__(
        self,
        who: str,
        library: Library,
        engine: Any,
        memory: EngineMemory,
        stream: Stream,
        profile: int,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._who, self._library, self._engine, self._memory = who, library, engine, memory
        self._stream, self._profile, self._shapes = stream, profile, shapes

    def make(self) -> Any:
        """A context that knows its profile and shapes, and has neither memory nor addresses."""
        context = self._create()
        if context is None:
            raise self.failed("no execution context can be made")
        if self._profile and not context.set_optimization_profile_async(self._profile, self._stream.handle):
            raise self.failed(f"profile {self._profile} is refused")
        self._stream.synchronize()  # the change of profile is work of the stream
        for name, shape in self._shapes.items():
            if not context.set_input_shape(name, shape):
                raise self.failed(f"the shape {list(shape)} of '{name}' is refused")
        missing = context.infer_shapes()
        if missing:
            raise self.failed(f"shapes stay open: {', '.join(missing)}")
        return context

    def _create(self) -> Any:
        managed = self._library.module.ExecutionContextAllocationStrategy.USER_MANAGED
        if not self._library.has("kernel specialization"):
            return self._engine.create_execution_context(managed)
        # RTX: kernels for these shapes are compiled now, and not beside the first frames
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(managed)
        strategies = self._library.module.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        return self._engine.create_execution_context(config)

    def bind(
        self,
        context: Any,
        activations: TensorView | None,
        views: Mapping[str, TensorView],
        aux: Sequence[int],
    ) -> None:
        """Memory first, then every address. `aux`: handles of the streams for what may run beside."""
        if activations is not None:
            context.set_device_memory(activations.address, activations.spec.nbytes)
        for name, view in views.items():
            if not context.set_tensor_address(name, view.address):
                raise self.failed(f"the address of '{name}' is refused")
        if aux:
            context.set_aux_streams(list(aux))

    def close(self) -> None:
        """Forget the engine: whoever still has an execution must not keep it alive."""
        self._engine = None

    def failed(self, what: str) -> EngineError:
        return failed(self._library, self._who, what, also=self._memory.take_refusals())


class TensorRtExecution:
    """A context bound to one set of tensors. Contexts of one engine share the activation memory of their region: they
    must run one after the other, as work of one stream does.
    """

    def __init__(
        self, who: str, context: Any, contexts: Contexts, on_close: Callable[[TensorRtExecution], None]
    ) -> None:
        self._who, self._contexts, self._on_close = who, contexts, on_close
        self.context: Any = context  # None once closed; for the inspector and the profiler

    def enqueue(self, stream: Stream) -> None:
        """Queue one inference; no wait. What the GPU reports arises where the stream is waited for."""
        if self.context is None:
            raise EngineError(f"{self._who}: enqueue after close", hint="bind a new execution")
        if not stream.handle:
            raise EngineError(
                f"{self._who}: TensorRT may not work on CUDA's default stream, which waits for all others",
                hint="take a stream from the engine's own device",
            )
        # no name for the context here: who keeps an error keeps this frame, and the context must go before its memory
        if not self.context.execute_async_v3(stream.handle):
            raise self._contexts.failed("inference cannot be queued")

    def close(self) -> None:
        """Drop the context; the stream must be done with it. Idempotent."""
        if self.context is not None:
            self.context = None
            self._on_close(self)
