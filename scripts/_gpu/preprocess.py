"""The fused preprocessing of 1080p NV12 frames, measured: against the GPU's own copy and against other libraries."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from _gpu.preprocess_peers import PEERS, Job, Launch
from edged.devices.cuda.device import CudaDevice
from edged.devices.cuda.driver import driver
from edged.devices.cuda.preprocess import CudaPreprocess
from edged.errors import FatalDeviceError
from edged.frames import U8, Frame, FrameSpec, Geometry, Memory, PixelFormat
from edged.interfaces import Stream
from edged.memory import Lease, Slots, Want
from edged.tensors import ImageInput, TensorSpec, TensorView

POOL_BYTES = 512 << 20  # of sources, so that no L2 holds them
COPY_BYTES = 512 << 20
LAUNCHES, ROUNDS = 20, 15
AGREE_LEVELS = 3  # that another library's tensor may be off: most round to 8 bits between their steps
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def touched_bytes(src: FrameSpec, image: ImageInput) -> int:
    """Bytes in the rows of a frame that the kernel samples."""
    _, _, _, h = Geometry.fit((src.width, src.height), image.size, image.resize).placed
    at = np.clip((np.arange(h) + 0.5) * src.height / h - 0.5, 0, src.height - 1)
    rows = np.unique(np.concatenate([np.floor(at), np.ceil(at)])).astype(int)
    found = len(rows) * src.planes[0].row_bytes
    if src.format is PixelFormat.NV12:
        found += len(np.unique(rows // 2)) * src.planes[1].row_bytes
    return found


def picture(src: FrameSpec) -> U8:
    """An NV12 frame: a grainy picture of soft colours, none of which is out of range as RGB."""
    buffer = np.zeros(src.nbytes, np.uint8)
    luma, chroma = src.views(buffer)
    y, x = np.mgrid[: src.height, : src.width]
    grain = np.random.default_rng(1).integers(-20, 21, luma.shape)
    luma[:] = 120 + 40 * np.sin(x / 97) * np.cos(y / 61) + grain
    chroma[..., 0] = 128 + 18 * np.sin(x[::2, ::2] / 211)
    chroma[..., 1] = 128 + 18 * np.cos(y[::2, ::2] / 173)
    return buffer


@dataclass
class Bench:
    """Its memory and a stream; made, used and closed with the device current."""

    device: CudaDevice
    src: FrameSpec
    image: ImageInput
    batch: int

    def prepare(self, memory: Memory) -> None:
        """A pool of batches of packed frames."""
        sets = max(1, POOL_BYTES // (self.src.nbytes * self.batch))
        wants = [Want(f"batch{i}", self.src.nbytes * self.batch, memory) for i in range(sets)]
        self.region = self.device.region("frames", [*wants, Want("picture", self.src.nbytes, Memory.MAPPED)])
        drawn = self.region.bytes("picture")
        drawn[:] = picture(self.src)
        self.batches = [self.region.piece(w.name).address for w in wants]
        self.addresses = [b + i * self.src.nbytes for b in self.batches for i in range(self.batch)]
        for address in self.addresses:
            driver().cuMemcpy(address, self.region.piece("picture").address, self.src.nbytes)
        lease: Lease | None = Slots("bench", [drawn]).acquire()
        assert lease is not None
        self.frames = [
            Frame(self.src, (), lease, 0, 0, 0, memory=memory, device_address=a) for a in self.addresses
        ]

    @contextmanager
    def ours(self, dtype: Any) -> Iterator[tuple[Launch, Sequence[TensorView]]]:
        """A launch for a whole batch, each of the pool's in turn, and the tensors that it fills in turn."""
        spec = self._tensor(dtype)
        sets = len(self.batches)
        functions = self.device._kernels()
        made = CudaPreprocess("bench", self.src, spec, self.image, functions, tickets=sets)
        tensors = [Want.tensor(spec, f"images{i}", Memory.DEVICE) for i in range(min(sets, 4))]
        region = self.device.region("tensors", [*made.wants(), *tensors])
        try:
            made.bind(region)
            views = [region.tensor(spec, w.name) for w in tensors]
            for i, frame in enumerate(self.frames):
                made.describe(frame, i % self.batch, i // self.batch)
            yield lambda i: made.launch(views[i % len(views)], self.batch, self.stream, i % sets), views
        finally:
            self.stream.synchronize()
            region.close()

    def _tensor(self, dtype: Any) -> TensorSpec:
        return TensorSpec("images", self.image.shape(self.batch), np.dtype(dtype))

    def measure(self) -> dict[str, Any]:
        self.stream: Stream = self.device.stream()
        spec = TensorSpec("copy", (COPY_BYTES,), np.dtype(np.uint8))
        room = self.device.region("copy", [Want.tensor(spec, n, Memory.DEVICE) for n in ("from", "to")])
        self.copies: tuple[TensorView, TensorView] = (room.tensor(spec, "to"), room.tensor(spec, "from"))
        found: dict[str, Any] = {"batch": self.batch, "cases": []}
        for memory in (Memory.MAPPED, Memory.DEVICE):
            self.prepare(memory)
            for dtype in (np.float16, np.float32):
                found["cases"].append(self._case(memory, dtype))
                say(found["cases"][-1])
            if memory is Memory.DEVICE:  # last: what another library breaks, breaks no figure of ours
                found["peers"] = self._peers()
            self.region.close()
        room.close()
        self.stream.close()
        return found

    def _timed(self, launch: Launch, count: int) -> float:
        """Milliseconds a launch."""
        start = self.stream.record()
        for i in range(count):
            launch(i)
        end = self.stream.record()
        end.wait()
        return self.stream.elapsed_ms(start, end) / count

    def _copy(self, _: int = 0) -> None:
        self.stream.copy(*self.copies)

    def _case(self, memory: Memory, dtype: Any) -> dict[str, Any]:
        with self.ours(dtype) as (launch, _):
            launch(0)
            rounds = [(self._timed(self._copy, 3), self._timed(launch, LAUNCHES)) for _ in range(ROUNDS)]
        copy_ms, ms = (statistics.median(times) for times in zip(*rounds, strict=True))
        self.copy_ms = copy_ms
        written = self._tensor(dtype).nbytes
        whole = self.batch * self.src.nbytes + written
        touched = self.batch * touched_bytes(self.src, self.image) + written
        copy = 2 * COPY_BYTES / copy_ms / 1e6
        return {
            "memory": memory.value,
            "dtype": np.dtype(dtype).name,
            "ms": round(ms, 4),
            "whole_gb_s": round(whole / ms / 1e6, 1),
            "touched_gb_s": round(touched / ms / 1e6, 1),
            "copy_gb_s": round(copy, 1),
            "whole_of_copy": round(whole / ms / 1e6 / copy, 3),
            "touched_of_copy": round(touched / ms / 1e6 / copy, 3),
        }

    # Other libraries.

    def _peers(self) -> list[dict[str, Any]]:
        spec, found = self._tensor(np.float32), []
        wants = [Want.tensor(spec, "theirs", Memory.DEVICE), Want.tensor(spec, "seen", Memory.MAPPED)]
        room = self.device.region("peers", wants)
        self.seen, theirs = room.tensor(spec, "seen"), room.tensor(spec, "theirs")
        job = Job(self.src, self.image, self.batch, self.batches, theirs.address, self.stream.handle)
        with self.ours(np.float32) as (launch, views):
            launch(0)
            wanted = self._levels(views[0])
            for library, what, make in PEERS:
                row = {"library": library, "what": what}
                try:
                    other = make(job)
                    other(0)
                    row.update(self._agreement(self._levels(theirs), wanted))
                    row.update(self._compare(launch, other))
                    row["version"] = str(getattr(import_module(library), "__version__", "?"))
                except FatalDeviceError:
                    raise
                except ImportError as e:
                    row["absent"] = str(e)
                except Exception as e:  # any version's own; the figure is one of several
                    row["failed"] = f"{type(e).__name__}: {e}"
                say(row)
                found.append(row)
        room.close()
        return found

    def _levels(self, view: TensorView) -> Any:
        """Grey levels of a tensor on the GPU."""
        self.stream.copy(self.seen, view)
        self.stream.synchronize()
        std, mean = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (self.image.std, self.image.mean))
        return self.seen.host() * std + mean

    def _agreement(self, got: Any, wanted: Any) -> dict[str, Any]:
        off = np.abs(got - wanted)
        worst = float(off.max())
        return {
            "worst_levels": round(worst, 3),
            "mean_levels": round(float(off.mean()), 4),
            "agrees": worst <= AGREE_LEVELS,  # false also where a value is not a number
        }

    def _compare(self, ours: Launch, other: Launch) -> dict[str, Any]:
        each = [
            (self._ahead(ours), self._ahead(other), self._timed(ours, LAUNCHES), self._timed(other, LAUNCHES))
            for _ in range(ROUNDS)
        ]
        ms, other_ms, launched, other_launched = (statistics.median(t) for t in zip(*each, strict=True))
        return {
            "ms": round(other_ms, 4),
            "ours_ms": round(ms, 4),
            "ours_is_faster_by": round(statistics.median(r[1] / r[0] for r in each), 2),
            "launched_ms": round(other_launched, 4),
            "ours_launched_ms": round(launched, 4),
            "ours_launched_is_faster_by": round(statistics.median(r[3] / r[2] for r in each), 2),
        }

    def _ahead(self, launch: Launch) -> float:
        """Milliseconds a launch, all of them queued before the first one begins: copies keep the GPU busy till then."""
        begun = time.perf_counter()
        for i in range(LAUNCHES):
            launch(i)
        host_ms = (time.perf_counter() - begun) * 1e3
        self.stream.synchronize()
        for _ in range(math.ceil(2 * host_ms / self.copy_ms) + 1):
            self._copy()
        return self._timed(launch, LAUNCHES)


def say(row: dict[str, Any]) -> None:
    print(f"preprocess bench: {row}", file=sys.stderr, flush=True)


def measure(
    batch: int = 16, size: int = 640, open_device: Callable[[], CudaDevice] = CudaDevice
) -> dict[str, Any]:
    """1080p NV12 frames to a letterboxed float tensor; a value for JSON. Raises EdgedError without a GPU."""
    src = FrameSpec(1920, 1080, PixelFormat.NV12)
    image = ImageInput("images", (size, size), mean=MEAN, std=STD)
    device = open_device()
    try:
        with device.current():
            found = Bench(device, src, image, batch).measure()
        facts = dict(device.facts)
    finally:
        device.close()
    return {
        "device": facts,
        "date": time.strftime("%Y-%m-%d"),
        "source": "1920x1080 NV12",
        "size": size,
        **found,
    }
