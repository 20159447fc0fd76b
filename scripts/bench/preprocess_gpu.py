"""How fast the fused preprocessing is, beside what the GPU's memory gives and beside CV-CUDA's chain. Needs a GPU.

    python scripts/bench/preprocess_gpu.py [--batch 16] [--size 640] [--json FILE]

Times are the GPU's, between events of one stream, medians over the rounds; the copy is measured in turn with the
rest, in the same rounds. Sources come from a pool several times the size of the L2 cache. Bandwidth is counted
twice: `whole` has each byte of a frame and of a tensor once; `touched` only the rows of a frame that are sampled.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edged.devices.cuda.device import CudaDevice
from edged.devices.cuda.driver import driver
from edged.devices.cuda.preprocess import CudaPreprocess
from edged.errors import EdgedError
from edged.frames import Frame, FrameSpec, Geometry, Memory, PixelFormat
from edged.interfaces import Stream
from edged.memory import Lease, Slots, Want, round_up
from edged.tensors import ImageInput, TensorSpec, TensorView

POOL_BYTES = 512 << 20  # of sources, so that no L2 holds them
COPY_BYTES = 512 << 20
LAUNCHES, ROUNDS = 20, 15


def touched_bytes(src: FrameSpec, image: ImageInput) -> int:
    """Bytes in the rows of a frame that the kernel samples."""
    _, _, _, h = Geometry.fit((src.width, src.height), image.size, image.resize).placed
    at = np.clip((np.arange(h) + 0.5) * src.height / h - 0.5, 0, src.height - 1)
    rows = np.unique(np.concatenate([np.floor(at), np.ceil(at)])).astype(int)
    found = len(rows) * src.planes[0].row_bytes
    if src.format is PixelFormat.NV12:
        found += len(np.unique(rows // 2)) * src.planes[1].row_bytes
    return found


@dataclass
class Bench:
    """Its memory and a stream; made, used and closed with the device current."""

    device: CudaDevice
    src: FrameSpec
    image: ImageInput
    batch: int

    def prepare(self, memory: Memory) -> None:
        """Pools of frames with noise in them, and of tensors."""
        count = max(self.batch, POOL_BYTES // self.src.nbytes // self.batch * self.batch)
        wants = [Want(f"frame{i}", self.src.nbytes, memory) for i in range(count)]
        self.region = self.device.region("frames", [*wants, Want("noise", self.src.nbytes, Memory.MAPPED)])
        noise = self.region.bytes("noise")
        noise[:] = np.random.default_rng(1).integers(0, 256, noise.size, np.uint8)
        self.addresses = [self.region.piece(w.name).address for w in wants]
        for address in self.addresses:
            driver().cuMemcpy(address, self.region.piece("noise").address, self.src.nbytes)
        lease: Lease | None = Slots("bench", [noise]).acquire()
        assert lease is not None
        self.frames = [
            Frame(self.src, (), lease, 0, 0, 0, memory=memory, device_address=a) for a in self.addresses
        ]

    def ours(self, dtype: Any, rounds: Callable[[Callable[[int], object]], float]) -> float:
        """Milliseconds a launch of a whole batch: each of the pool's batches in turn, tensors, too."""
        spec = TensorSpec("images", self.image.shape(self.batch), np.dtype(dtype))
        sets = len(self.frames) // self.batch
        functions = self.device._kernels()
        made = CudaPreprocess("bench", self.src, spec, self.image, functions, tickets=sets)
        tensors = [Want.tensor(spec, f"images{i}", Memory.DEVICE) for i in range(min(sets, 4))]
        region = self.device.region("tensors", [*made.wants(), *tensors])
        try:
            made.bind(region)
            views = [region.tensor(spec, w.name) for w in tensors]
            for i, frame in enumerate(self.frames[: sets * self.batch]):
                made.describe(frame, i % self.batch, i // self.batch)
            return rounds(lambda i: made.launch(views[i % len(views)], self.batch, self.stream, i % sets))
        finally:
            region.close()

    def measure(self) -> dict[str, Any]:
        self.stream: Stream = self.device.stream()
        spec = TensorSpec("copy", (COPY_BYTES,), np.dtype(np.uint8))
        room = self.device.region("copy", [Want.tensor(spec, n, Memory.DEVICE) for n in ("from", "to")])
        copies: tuple[TensorView, TensorView] = (room.tensor(spec, "to"), room.tensor(spec, "from"))
        found: dict[str, Any] = {"batch": self.batch, "cases": []}
        for memory in (Memory.DEVICE, Memory.MAPPED):
            self.prepare(memory)
            for dtype in (np.float16, np.float32):
                copy_ms: list[float] = []

                def rounds(launch: Callable[[int], object], copy_ms: list[float] = copy_ms) -> float:
                    launch(0)
                    times = []
                    for _ in range(ROUNDS):
                        copy_ms.append(self._timed(lambda _: self.stream.copy(*copies), 3))
                        times.append(self._timed(launch, LAUNCHES))
                    return statistics.median(times)

                ms = self.ours(dtype, rounds)
                found["cases"].append(self._case(memory, dtype, ms, statistics.median(copy_ms)))
            if memory is Memory.DEVICE:
                found["cvcuda"] = cvcuda_chain(self.addresses[0], self.src, self.image, self.batch)
            self.region.close()
        room.close()
        self.stream.close()
        return found

    def _timed(self, launch: Callable[[int], object], count: int) -> float:
        start = self.stream.record()
        for i in range(count):
            launch(i)
        end = self.stream.record()
        end.wait()
        return self.stream.elapsed_ms(start, end) / count

    def _case(self, memory: Memory, dtype: Any, ms: float, copy_ms: float) -> dict[str, Any]:
        written = TensorSpec("images", self.image.shape(self.batch), np.dtype(dtype)).nbytes
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


class _Array:
    """Device memory as other libraries take it."""

    def __init__(self, address: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
            "strides": strides,
        }


def cvcuda_chain(address: int, src: FrameSpec, image: ImageInput, batch: int) -> dict[str, Any]:
    """The same work by CV-CUDA's operators one after the other, to float32; a reason where it does not run."""
    try:
        import cvcuda
    except ImportError as e:
        return {"absent": str(e)}
    x, y, w, h = Geometry.fit((src.width, src.height), image.size, image.resize).placed
    try:
        as_tensor = getattr(cvcuda, "as_tensor", None) or __import__("nvcv").as_tensor
        # frames of the pool follow one another, each from a page on
        shape, strides = (batch, src.height * 3 // 2, src.width, 1), (round_up(src.nbytes), src.width, 1, 1)
        frames = as_tensor(_Array(address, shape, strides), "NHWC")

        def chain(_: int) -> None:
            rgb = cvcuda.cvtcolor(frames, cvcuda.ColorConversion.YUV2RGB_NV12)
            small = cvcuda.resize(rgb, (batch, h, w, 3), cvcuda.Interp.LINEAR)
            bottom, right = image.size[1] - y - h, image.size[0] - x - w
            boxed = cvcuda.copymakeborder(
                small,
                border_mode=cvcuda.Border.CONSTANT,
                border_value=[float(image.pad)] * 3,
                top=y,
                bottom=bottom,
                left=x,
                right=right,
            )
            cvcuda.reformat(cvcuda.convertto(boxed, np.float32, 1.0, 0.0), "NCHW")

        chain(0)
        times = []
        for _ in range(ROUNDS):
            driver().cuCtxSynchronize()
            start = time.perf_counter()
            for i in range(LAUNCHES):
                chain(i)
            driver().cuCtxSynchronize()
            times.append((time.perf_counter() - start) / LAUNCHES * 1e3)
    except Exception as e:  # any version's own; the figure is one of several
        return {"failed": f"{type(e).__name__}: {e}"}
    return {
        "version": getattr(cvcuda, "__version__", "?"),
        "dtype": "float32",
        "ms": round(statistics.median(times), 4),
    }


def measure(batch: int = 16, size: int = 640, gpu: int = 0) -> dict[str, Any]:
    """1080p NV12 frames to a letterboxed float tensor; a value for JSON. Raises EdgedError without a GPU."""
    src = FrameSpec(1920, 1080, PixelFormat.NV12)
    device = CudaDevice(gpu=gpu)
    try:
        with device.current():
            found = Bench(device, src, ImageInput("images", (size, size)), batch).measure()
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


def main(arguments: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--size", type=int, default=640)
    p.add_argument("--gpu", type=int, default=0)
    p.add_argument("--json", type=Path, help="write the figures there, too")
    options = p.parse_args(arguments)
    try:
        found = measure(options.batch, options.size, options.gpu)
    except EdgedError as e:
        print(e, file=sys.stderr)
        return int(e.exit_code)
    text = json.dumps(found, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
