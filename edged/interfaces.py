"""The seams of edged. Each has a fake in the package and one contract suite (tests/contract) for all.

Ownership: whoever calls `open`, `region` or `prepare` closes it. Every `close` is idempotent and legal
from every state. Timeout = None, fault = exception (an EdgedError, translated where it arose).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from edged.backoff import Backoff
from edged.frames import Frame, FrameSpec, Geometry
from edged.memory import Region, Slots, Want
from edged.messages import Message
from edged.tensors import ImageInput, TensorSpec, TensorView


class EndOfStream(Exception):
    """A source has delivered all it has (a file, a finite list). Not an error."""


class Event(Protocol):
    """A point in a stream."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """True once all work before it is done; False on timeout. Raises what that work raised, once."""
        ...


class Stream(Protocol):
    """Work in order on a device. Used by one thread, its runner's."""

    def record(self) -> Event: ...
    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Time between two events of this stream that have both been waited for."""
        ...

    def synchronize(self) -> None: ...
    def close(self) -> None: ...


class Preprocess(Protocol):
    """One source's frames to one model input. Built at boot for a FrameSpec; allocates nothing after `bind`."""

    @property
    def geometry(self) -> Geometry: ...
    def wants(self) -> Sequence[Want]:
        """Scratch memory; names are unique within the runner's region (prefixed by the `name` given)."""
        ...

    def bind(self, region: Region) -> None: ...
    def enqueue(self, frame: Frame, target: TensorView, index: int, stream: Stream) -> None:
        """Fill row `index` of the batch `target`. The frame's lease must outlive the stream's work."""
        ...


class Device(Protocol):
    """Where a runner works."""

    def region(self, owner: str, wants: Sequence[Want]) -> Region: ...
    def stream(self, priority: int = 0, name: str = "") -> Stream: ...
    def preprocessor(self, name: str, src: FrameSpec, dst: TensorSpec, image: ImageInput) -> Preprocess: ...


class Source(Protocol):
    """A camera, file or pattern. Used by one thread, its SourceUnit's."""

    @property
    def live(self) -> bool:
        """True: newest wins. False: back-pressure (the reader is blocked instead)."""
        ...

    @property
    def backoff(self) -> Backoff | None:
        """How a source that failed is tried again (a camera); None: its fault is its end (a file)."""
        ...

    @property
    def max_size(self) -> tuple[int, int] | None:
        """Width and height that pictures have at most, however often it is opened; None: not promised."""
        ...

    def open(self) -> FrameSpec:
        """Negotiate only; no frame is read into memory of ours."""
        ...

    def start(self, slots: Slots) -> None:
        """Deliver into these slots from now on; each holds at least `FrameSpec.nbytes`."""
        ...

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame (a lease, the caller's), or None when none came in time.

        Raises EndOfStream at the end and SourceError on a fault. A live source that finds no free slot
        loses the picture and counts it in the frame's `seq`; one that is not live waits.
        """
        ...

    def close(self) -> None: ...


class Execution(Protocol):
    """An engine bound to one set of tensors; one may be on the stream while another's outputs are parsed."""

    def enqueue(self, stream: Stream) -> None:
        """Queue one inference; no wait."""
        ...

    def close(self) -> None: ...


class Engine(Protocol):
    """A loaded model file. Loaded, bound and closed by its runner's thread."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def file_hash(self) -> str:
        """sha256 of what was loaded (plan or ONNX)."""
        ...

    def wants(self) -> Sequence[Want]:
        """Memory besides inputs and outputs (workspace)."""
        ...

    def bind(self, views: Mapping[str, TensorView], region: Region) -> Execution:
        """Bind every input and output; checks name, dtype, shape and memory kind (EngineError)."""
        ...

    def warm_up(self, execution: Execution, stream: Stream) -> None: ...
    def close(self) -> None: ...


class Sink(Protocol):
    """Takes messages away. Lives in its SinkWorker's thread; a fault raises SinkError and the worker retries."""

    def open(self) -> None: ...
    def publish(self, m: Message) -> None: ...
    def close(self) -> None: ...
