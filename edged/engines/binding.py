"""What every engine on the CPU does alike: checks of the memory it is given, and its place on a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from edged.errors import EngineError
from edged.frames import Memory
from edged.interfaces import Stream
from edged.tensors import TensorSpec, TensorView


class CallStream(Protocol):
    """A stream that runs Python calls in order (devices/cpu_stream.py)."""

    def call(self, fn: Callable[..., object], *args: Any) -> None: ...


def call_on(stream: Stream, fn: Callable[[], None]) -> None:
    """Queue `fn`: engines on the CPU run on the CPU device's streams only."""
    cast(CallStream, stream).call(fn)


def check_views(who: str, tensors: Sequence[TensorSpec], views: Mapping[str, TensorView]) -> None:
    """EngineError unless `views` has host memory of the right dtype and shape for every tensor, and no other."""
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
