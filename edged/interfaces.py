"""The seams of edged. Each has a fake in the package and one contract suite (tests/contract) for all.

Ownership: whoever calls `open`, `region` or `prepare` closes it. Every `close` is idempotent and legal
from every state. Timeout = None, fault = exception (an EdgedError, translated where it arose).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from edged.backoff import Backoff
from edged.frames import U8, Frame, FrameSpec, Geometry, Memory
from edged.memory import Region, Slots, Want
from edged.messages import Message
from edged.parsers.base import Candidates, Head
from edged.tensors import ImageInput, TensorSpec, TensorView
from edged.views import WHOLE, View

T = TypeVar("T")


class EndOfStream(Exception):
    """A source has delivered all it has (a file, a finite list). Not an error."""


class Event(Protocol):
    """A point in a stream."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """True once all work before it is done; False on timeout. Raises what that work raised, once."""
        ...


class Graph(Protocol):
    """Work that was recorded once and is launched whole (CUDA graphs). Owned by who captured it."""

    @property
    def ready(self) -> Event | None:
        """The event that was recorded last inside, of each launch; None: there is none."""
        ...

    def launch(self) -> None:
        """Queue it on the stream that it was captured from."""
        ...

    def close(self) -> None: ...


class Stream(Protocol):
    """Work in order on a device. Used by one thread, its runner's."""

    @property
    def handle(self) -> int:
        """What the device's libraries call it (a CUstream's address); 0 on the CPU."""
        ...

    def record(self) -> Event:
        """A point behind all work queued so far. Valid until a few dozen more are recorded: it may be reused."""
        ...

    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Time between two events of this stream that have both been waited for."""
        ...

    def copy(self, target: TensorView, source: TensorView) -> None:
        """Queue a copy between tensors of one size, in memory of any kind that the device has."""
        ...

    def capture(self, work: Callable[[], None]) -> Graph:
        """Record what `work` queues instead of running it. DeviceError where that cannot be; then it was not run."""
        ...

    def synchronize(self) -> None: ...
    def end(self) -> None:
        """Skip what has not begun and wait for what has: from then on it touches no memory. Idempotent."""
        ...

    def close(self) -> None:
        """End, and let go of it. Engines that were given it are closed before."""
        ...


class Preprocess(Protocol):
    """One source's frames to one model input. Built at boot for a FrameSpec; allocates nothing after `bind`."""

    @property
    def geometry(self) -> Geometry: ...
    @property
    def copied(self) -> int:
        """Bytes of a frame's pixels that the CPU moves for it; 0: the device reads them where they are."""
        ...

    def wants(self) -> Sequence[Want]:
        """Scratch memory; names are unique within the runner's region (prefixed by the `name` given)."""
        ...

    def bind(self, region: Region) -> None: ...
    def enqueue(self, frame: Frame, target: TensorView, index: int, stream: Stream) -> None:
        """Fill row `index` of the batch `target`. The frame's lease must outlive the stream's work."""
        ...


class Described(Preprocess, Protocol):
    """One whose work can be captured: it reads what changes from frame to frame from a table in mapped memory."""

    def describe(self, frame: Frame, index: int, ticket: int = 0) -> None:
        """Say which frame the next launch of `ticket` reads for row `index`. The launch before must be over."""
        ...

    def launch(self, target: TensorView, rows: int, stream: Stream, ticket: int = 0) -> None:
        """Queue the work for `rows` rows that were or will be described."""
        ...


class Decode(Protocol):
    """The first half of a parser's `decode`, done by the device: what is below the threshold never leaves it."""

    @property
    def tensor(self) -> str:
        """The output that it reads, by name."""
        ...

    def wants(self) -> Sequence[Want]:
        """Memory for what it finds; names as of Preprocess.wants."""
        ...

    def bind(self, region: Region) -> None: ...
    def launch(self, output: TensorView, stream: Stream, ticket: int = 0) -> None:
        """Queue the look at a batch of outputs; may be captured. What `ticket` found before was collected."""
        ...

    def collect(self, index: int, ticket: int = 0) -> Candidates:
        """What was found in image `index`, once the work is done: a copy, in the order of the output's rows."""
        ...


class Shared(Protocol):
    """A buffer of somebody else's that a device reads where it is. Owned by who asked for it."""

    @property
    def address(self) -> int:
        """Where the device finds its first byte."""
        ...

    def close(self) -> None:
        """The device forgets it; no work on it may be left. Before the buffer goes. Any thread; idempotent."""
        ...


class Device(Protocol):
    """Where a runner works. Thread-safe; work and memory need it to be `current` in the calling thread."""

    @property
    def name(self) -> str:
        """As in runtime.device: "cpu" or "cuda"."""
        ...

    @property
    def frame_memory(self) -> Memory:
        """The kind of memory that slots of frames take, so that nothing copies them on their way."""
        ...

    @property
    def tensor_memory(self) -> Memory:
        """The kind that tensors take. DEVICE: outputs need a mirror that the host can read."""
        ...

    @property
    def graphs(self) -> bool:
        """Whether its streams capture, and its preprocessors are `Described`."""
        ...

    @property
    def patience_s(self) -> float:
        """How long to wait for an event while something else is waited for, too; 0: a wait with a limit only looks."""
        ...

    @property
    def facts(self) -> Mapping[str, str]:
        """What it is and how it is used, in words."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """Make it the calling thread's device (a CUDA context is pushed, and popped at the end)."""
        ...

    def check(self) -> None:
        """FatalDeviceError when the device is lost for this process."""
        ...

    def admit(self, plan: Mapping[str, Sequence[Want]]) -> None:
        """MemoryRefused with figures unless regions for all owners of the plan fit at once. Holds nothing."""
        ...

    def close(self) -> None:
        """Once all regions and streams are closed. Idempotent."""
        ...

    def ranged(self, name: str, fn: Callable[..., T]) -> Callable[..., T]:
        """`fn`, under `name` in the device's profiler if that was asked for. Called once, at boot."""
        ...

    def region(self, owner: str, wants: Sequence[Want]) -> Region: ...
    def share(self, pages: U8, *, foreign: bool = False) -> Shared:
        """Have the device read whole pages of the host where they are. DeviceError where it cannot.

        `foreign`: another driver's memory that is mapped here (a camera's), not the process's own.
        """
        ...

    def share_dmabuf(self, fd: int, nbytes: int) -> Shared:
        """The same for a dmabuf; `fd` stays the caller's. DeviceError where it cannot."""
        ...

    def stream(self, priority: int = 0, name: str = "") -> Stream: ...
    def preprocessor(
        self,
        name: str,
        src: FrameSpec,
        dst: TensorSpec,
        image: ImageInput,
        tickets: int = 1,
        view: View = WHOLE,
    ) -> Preprocess:
        """`tickets`: batches that may be described at once, where work is captured. `view`: what `dst` shows of `src`.

        ConfigError when frames of `src` have nothing of that.
        """
        ...

    def decoder(
        self, name: str, outputs: Sequence[TensorSpec], head: Head, tickets: int = 1
    ) -> Decode | None:
        """A reader, not yet bound, of one of an engine's outputs; None: this device leaves that to the parser.

        ModelError when it cannot read this one.
        """
        ...


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

    @property
    def exclusive(self) -> bool:
        """Whether what it opens can be open only once (a camera): its successor opens when it is closed."""
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

    @property
    def eager(self) -> str:
        """Why its work may not be captured into a graph; "" if it may."""
        ...

    @property
    def facts(self) -> Mapping[str, str]:
        """How it runs, in words. "limited", if it is there: why not as asked; its pipelines are degraded then."""
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
