"""The first half of a detector's decode on a GPU: the rows above its score threshold (kernels/decode_yolo.cu).

Nothing but those rows, 32 bytes each and their keypoints, crosses to the host, where the parser's `narrow` does the
rest. They come in no order; `collect` sorts them by their place in the output, so that results repeat.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edged.devices.cuda.compiled import Functions, Macros
from edged.errors import ModelError
from edged.frames import Memory
from edged.interfaces import Stream
from edged.memory import Region, Want
from edged.parsers.base import Candidates, Head
from edged.tensors import TensorSpec, TensorView

FILE = "decode_yolo.cu"
MOST_LEVELS = 8
LAYOUTS = {"rows": 0, "columns": 1, "cells": 2, "corners": 3}
BLOCK = 128
WORDS = 8  # of a survivor and of the counts before the first: 32 bytes
COUNTER_BYTES = 16


class _Level(ctypes.Structure):
    _fields_ = (("first", ctypes.c_int32), ("width", ctypes.c_int32), ("stride", ctypes.c_float))


class HeadArgument(ctypes.Structure):
    """The struct Head of decode_yolo.cu, 144 bytes."""

    _fields_ = (
        *(
            (name, ctypes.c_int32)
            for name in ("rows", "columns", "classes", "keypoints", "keypoint_values", "capacity")
        ),
        *((name, ctypes.c_float) for name in ("row_threshold", "score_threshold", "score_limit")),
        ("scale_x", ctypes.c_float),
        ("scale_y", ctypes.c_float),
        ("levels", ctypes.c_int32),
        ("level", _Level * MOST_LEVELS),
    )


def macros_of(output: TensorSpec, head: Head) -> Macros:
    return {"HEAD": LAYOUTS[head.layout], "HALF": int(output.dtype == np.float16)}


def _argument(output: TensorSpec, head: Head, capacity: int) -> HeadArgument:
    rows, columns = output.shape[1:]
    if head.layout == "columns":
        rows, columns = columns, rows
    tail = head.keypoints * head.keypoint_values
    classes = columns - {"rows": 5, "cells": 5, "columns": 4 + tail, "corners": 5}[head.layout]
    # as numpy compares: a threshold beside an array has the array's dtype
    row_threshold = float(output.dtype.type(head.score_threshold))
    a = HeadArgument(
        rows, columns, classes, head.keypoints, head.keypoint_values, capacity or rows, row_threshold
    )
    a.score_threshold, a.score_limit = head.score_threshold, head.score_limit
    a.scale_x, a.scale_y = head.scale
    a.levels = len(head.strides)
    first = 0
    for level, stride in zip(a.level, head.strides, strict=False):
        level.first, level.width, level.stride = first, head.size[0] // stride, stride
        first += (head.size[0] // stride) * (head.size[1] // stride)
    return a


class CudaDecode:
    """Reads one output of a model for its parser. Used by its runner's thread.

    `output` includes the batch. `tickets` batches may be on the stream at once. `capacity` bounds the survivors that
    are kept of an image; 0: every row has its place, 32 bytes, and results are `decode`'s. With fewer, which ones are
    kept when there are more is left to chance, and the rest counts as rejected.
    """

    def __init__(
        self,
        name: str,
        output: TensorSpec,
        head: Head,
        functions: Functions,
        tickets: int = 2,
        capacity: int = 0,
    ) -> None:
        if len(output.shape) != 3 or output.dtype not in (np.float32, np.float16):
            raise ModelError(
                f"output {output} cannot be decoded on the GPU: it is not float32 or float16 [batch, rows, columns]",
                hint="leave its decoding to the CPU",
            )
        if len(head.strides) > MOST_LEVELS:
            raise ModelError(
                f"output {output.name}: {len(head.strides)} strides; the kernel has {MOST_LEVELS}",
                hint="leave its decoding to the CPU",
            )
        self._name, self._output, self._tickets = name, output, tickets
        self._head = _argument(output, head, capacity)
        self._function = functions.get(FILE, "decode", macros_of(output, head))
        self._words = WORDS + 2 * head.keypoints
        self._image_words = WORDS + self._head.capacity * self._words
        self._survivors: npt.NDArray[np.float32] = np.empty((0, 0, 0), np.float32)
        self._counters = self._address = 0

    @property
    def tensor(self) -> str:
        return self._output.name

    def wants(self) -> Sequence[Want]:
        batch = self._output.shape[0]
        return [
            Want(f"{self._name}.counters", self._tickets * batch * COUNTER_BYTES, Memory.DEVICE),
            Want(f"{self._name}.survivors", self._tickets * batch * self._image_words * 4, Memory.MAPPED),
        ]

    def bind(self, region: Region) -> None:
        """Take the memory. The region's device memory must be zero, as regions are when they are new."""
        batch = self._output.shape[0]
        counters = TensorSpec(
            f"{self._name}.counters", (self._tickets, batch, COUNTER_BYTES), np.dtype(np.uint8)
        )
        survivors = TensorSpec(
            f"{self._name}.survivors", (self._tickets, batch, self._image_words), np.dtype(np.float32)
        )
        self._counters = region.tensor(counters).address
        view = region.tensor(survivors)
        self._address, self._survivors = view.address, view.host()

    def launch(self, output: TensorView, stream: Stream, ticket: int = 0, rows: int = 0) -> None:
        """Look at the first `rows` images (0: all) of the batch; may be captured. No wait."""
        if output.spec.shape[1:] != self._output.shape[1:] or output.spec.dtype != self._output.dtype:
            raise ModelError(f"output {output.spec} is not {self._output}", hint="bind the engine's output")
        batch = self._output.shape[0]
        arguments: tuple[Any, ...] = (
            ctypes.c_void_p(output.address),
            self._head,
            ctypes.c_void_p(self._counters + ticket * batch * COUNTER_BYTES),
            ctypes.c_void_p(self._address + ticket * batch * self._image_words * 4),
        )
        grid = (-(-self._head.rows // BLOCK), rows or batch, 1)
        self._function.launch(grid, (BLOCK, 1, 1), arguments, stream.handle)

    def collect(self, index: int, ticket: int = 0) -> Candidates:
        """What the launch of `ticket` found in image `index`, in order; for the parser's `narrow`. After its event.

        Copies: the memory may be launched into again.
        """
        image = self._survivors[ticket, index]
        found, rejected = image[:2].view(np.uint32).tolist()
        kept = min(found, self._head.capacity)
        rows = image[WORDS : WORDS + kept * self._words].reshape(kept, self._words)
        rows = rows[np.argsort(rows[:, 6].view(np.int32))]
        points = None
        if self._head.keypoints:
            points = rows[:, WORDS:].reshape(kept, self._head.keypoints, 2).copy()
        return Candidates(
            rows[:, :4].copy(),
            rows[:, 4].copy(),
            rows[:, 5].copy().view(np.int32),
            points,
            rejected + found - kept,
        )
