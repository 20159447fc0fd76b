"""Semantic segmentation: the best class of every cell, as a compressed mask over the frame."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edged.config.schema import Table
from edged.frames import U8, Geometry
from edged.messages import Mask
from edged.models.model import Model, Task
from edged.parsers import layout
from edged.parsers.base import Candidates, Outputs, Parsed
from edged.tensors import TensorSpec

_MOST_CLASSES = 256  # a mask's cell is one byte
_FINEST = 8  # a coarser grid than an eighth of the input is a detector's, not a segmenter's
_LEVEL = 1  # of zlib: masks are runs, and higher levels cost more than they save


class SegmentationParser:
    """Output float [classes, h, w] (argmax; a single channel is the foreground's probability against
    score_threshold), or integers [h, w] or [1, h, w] (class indices).

    The mask is the part of the grid that the picture covers, to the nearest cell: padding is cut off. Cells
    that are not finite or no class index become class 0 and are counted as rejected, padding included.
    """

    task: Task = "segment"

    class Options(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """[output] keys of parser = "segmentation"."""

        tensor: str = ""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tensor = layout.options_of(model, self.Options).tensor
        self.labels = model.output.labels

    @staticmethod
    def recognize(
        inputs: layout.Shapes, outputs: layout.Shapes, metadata: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """[b, classes, h, w] or [b, h, w] over the input. One and three channels may be depth or a picture: unknown."""
        shape = next(iter(outputs.values()), ())
        size = layout.image_size(inputs)
        if len(outputs) != 1 or size is None or len(shape) not in (3, 4):
            return None
        h, w = shape[-2:]
        if len(shape) == 3:
            return layout.suggest("segmentation", None, metadata) if (w, h) == size else None
        classes = shape[1]
        if classes in (None, 1, 3) or classes > _MOST_CLASSES or w is None or h is None:
            return None
        if w * _FINEST < size[0] or h * _FINEST < size[1] or w > size[0] or h > size[1]:
            return None
        return layout.suggest("segmentation", classes, metadata)

    def check(self, outputs: Sequence[TensorSpec]) -> None:
        """Raises ModelError unless the output is a grid of scores or of indices. Once, at load."""
        wanted = f"float [batch, classes (1..{_MOST_CLASSES}), h, w], or integers [batch, h, w]"
        spec = layout.find(self.model, outputs, self.tensor, "tensor", wanted)
        dims, kind = len(spec.shape), spec.dtype.kind
        scores = kind == "f" and dims == 4 and 1 <= spec.shape[1] <= _MOST_CLASSES
        indices = kind in "iu" and (dims == 3 or (dims == 4 and spec.shape[1] == 1))
        if not (scores or indices) or 0 in spec.shape:
            raise layout.refusal(self.model, outputs, wanted)
        if scores:
            layout.check_labels(self.model, outputs, max(2, spec.shape[1]))

    def decode(self, outputs: Outputs) -> Candidates:
        """`other` = uint8 [h, w], the class of each cell of the model's grid; owned by the caller."""
        grid = layout.tensor_of(outputs, self.tensor)
        if not layout.is_float(grid):
            cells, bad = _indices(grid.reshape(grid.shape[-2:]))
        elif len(grid) == 1:
            cells, bad = _foreground(grid[0], self.model.output.score_threshold)
        else:
            cells, bad = _argmax(grid)
        rejected = int(np.count_nonzero(bad))
        if rejected:
            cells[bad] = 0
        return Candidates(rejected=rejected, other=cells)

    def finish(self, c: Candidates, g: Geometry) -> Parsed:
        cells: U8 = c.other
        x, y, w, h = g.placed
        rows = _part(y, h, g.model_height, cells.shape[0])
        columns = _part(x, w, g.model_width, cells.shape[1])
        seen = np.ascontiguousarray(cells[rows, columns])
        mask = Mask((seen.shape[1], seen.shape[0]), zlib.compress(seen.data, _LEVEL), list(self.labels))
        return Parsed(mask=mask, rejected=c.rejected)


def _part(start: int, length: int, whole: int, cells: int) -> slice:
    """The cells that cover [start, start + length) of `whole` pixels, to the nearest; at least one if any."""
    first = min(round(start * cells / whole), max(cells - 1, 0))
    return slice(first, max(first + 1, min(round((start + length) * cells / whole), cells)))


def _argmax(planes: npt.NDArray[Any]) -> tuple[U8, npt.NDArray[np.bool_]]:
    """The first greatest channel of float [classes, h, w] and the cells with a NaN or inf greatest value.

    One channel at a time: np.argmax along the first axis strides through memory and is several times slower.
    """
    greatest = planes[0].astype(np.float32)
    cells = np.zeros(greatest.shape, np.uint8)
    index = np.empty_like(cells)
    with np.errstate(all="ignore"):
        for i in range(1, len(planes)):
            plane = layout.as_float32(planes[i])
            better = (plane > greatest).view(np.uint8)
            np.multiply(better, np.uint8(i), out=index)
            np.maximum(cells, index, out=cells)  # i only grows
            np.maximum(greatest, plane, out=greatest)  # NaN stays
    return cells, ~np.isfinite(greatest)


def _foreground(plane: npt.NDArray[Any], threshold: float) -> tuple[U8, npt.NDArray[np.bool_]]:
    with np.errstate(all="ignore"):
        return (plane >= threshold).view(np.uint8), ~np.isfinite(plane)


def _indices(grid: npt.NDArray[Any]) -> tuple[U8, npt.NDArray[np.bool_]]:
    return grid.astype(np.uint8), (grid < 0) | (grid >= _MOST_CLASSES)
