"""What every engine does alike: checks of the memory it is given, and calls of Python on a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from edged.errors import EngineError
from edged.frames import Memory
from edged.interfaces import Stream
from edged.tensors import TensorSpec, TensorView


class CallStream(Protocol):
    """A stream that runs Python calls in order: all do, a GPU's by calling the host between its kernels."""

    def call(self, fn: Callable[..., object], *args: Any) -> None: ...


def call_on(stream: Stream, fn: Callable[[], None]) -> None:
    """Queue `fn`. What it raises reaches whoever waits for the stream."""
    cast(CallStream, stream).call(fn)


def check_views(
    who: str,
    tensors: Sequence[TensorSpec],
    views: Mapping[str, TensorView],
    memory: Memory = Memory.HOST,
) -> None:
    """EngineError unless `views` has memory of the right dtype and shape for every tensor, and no other.

    `memory`: what the engine works in; HOST: whatever the CPU reads.
    """
    names = [t.name for t in tensors]
    listing = "; ".join(map(str, tensors))
    for name in views:
        if name not in names:
            raise EngineError(f"{who} has no tensor '{name}'", hint=f"it has {listing}")
    for tensor in tensors:
        view = views.get(tensor.name)
        if view is None:
            raise EngineError(f"{who}: tensor '{tensor.name}' is not bound", hint=f"bind all of {listing}")
        if (view.spec.dtype, view.spec.shape) != (tensor.dtype, tensor.shape):
            raise EngineError(
                f"{who}: '{tensor.name}' is {tensor.dtype}{list(tensor.shape)}, "
                f"the memory bound to it is {view.spec.dtype}{list(view.spec.shape)}",
                hint="plan its memory from the engine's own inputs and outputs",
            )
        if memory is Memory.DEVICE:
            if view.memory not in (Memory.DEVICE, Memory.MAPPED) or not view.address:
                raise EngineError(
                    f"{who}: '{tensor.name}' is bound to {view.memory.value} memory; this engine works on a GPU",
                    hint="take the region from the engine's own device",
                )
            continue
        if view.memory not in (Memory.HOST, Memory.MAPPED) or view.array is None:
            raise EngineError(
                f"{who}: '{tensor.name}' is bound to {view.memory.value} memory; this engine reads host memory",
                hint="take the region from the CPU device",
            )
        if not view.array.flags.c_contiguous or view.array.ctypes.data != view.address:
            raise EngineError(
                f"{who}: the memory bound to '{tensor.name}' is not one contiguous piece at its address",
                hint="take the view from Region.tensor",
            )
