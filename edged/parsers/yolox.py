"""YOLOX: rows of cx, cy, w, h, objectness, class scores, one a grid cell (Ge et al., arXiv:2107.08430)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edged.config.schema import Positive
from edged.models.model import Model
from edged.parsers import layout
from edged.parsers.base import Candidates, Head, Outputs
from edged.parsers.select import BoxOptions, BoxParser, corners
from edged.tensors import TensorSpec


class YoloxParser(BoxParser):
    """Output float [n, 5 + classes]; n cells of all `strides` in turn, each level row by row.

    The demo exports are raw: centre = (value + cell) * stride, size = exp(value) * stride, in model-input
    pixels; score = objectness * best class. `decoded = true` is for exports that did this (--decode_in_inference).
    Rows whose objectness alone is below the threshold are not looked at: class scores are at most 1.
    """

    class Options(BoxOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """[output] keys of parser = "yolox"."""

        decoded: bool = False
        strides: tuple[Positive, ...] = (8, 16, 32)

    def __init__(self, model: Model) -> None:
        self.options = layout.options_of(model, self.Options)
        super().__init__(model, self.options)
        levels = [_cells(model.input.size, s) for s in self.options.strides]
        # x, y and stride of every row's cell
        self._cells = np.concatenate([np.empty((0, 3), np.float32), *levels])

    @staticmethod
    def recognize(
        inputs: layout.Shapes, outputs: layout.Shapes, metadata: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """[b, n, 5 + classes] with one row a cell. Whether rows are decoded, no shape tells: raw is assumed."""
        shape = next(iter(outputs.values()), ())
        if len(outputs) != 1 or len(shape) != 3 or not layout.is_grid(shape[1], inputs, anchors=1):
            return None
        size, columns = layout.image_size(inputs), shape[2]
        if size is None or columns is None or columns < 6 or columns >= (shape[1] or 0):
            return None
        strides = next(s for s in layout.STRIDES if layout.grid_rows(size, s) == shape[1])
        more = {} if strides == (8, 16, 32) else {"strides": list(strides)}
        return layout.suggest("yolox", columns - 5, metadata, decoded=False, **more)

    def check(self, outputs: Sequence[TensorSpec]) -> None:
        """Raises ModelError unless the output has a row for every cell. Once, at load."""
        rows, strides = len(self._cells), self.options.strides
        w, h = self.model.input.size
        wanted = f"float [batch, {rows}, 5 + classes] (input {w}x{h}, strides {', '.join(map(str, strides))})"
        spec = layout.find_float(self.model, outputs, self.tensor, "tensor", 3, wanted)
        if spec.shape[1] != rows or spec.shape[2] < 6:
            raise layout.refusal(self.model, outputs, wanted)
        layout.check_labels(self.model, outputs, spec.shape[2] - 5)

    def head(self) -> Head:
        if self.options.decoded:
            return self.make_head("rows")
        return self.make_head("cells", strides=self.options.strides)

    def decode(self, outputs: Outputs) -> Candidates:
        rows = layout.tensor_of(outputs, self.tensor)
        with np.errstate(all="ignore"):
            over = np.flatnonzero(~(rows[:, 4] < self.score_threshold))
            found = layout.as_float32(rows[over])
            class_ids = found[:, 5:].argmax(axis=1)
            scores = found[:, 4] * found[np.arange(len(over)), class_ids + 5]
            best, rejected = self.strongest(scores)
            cx, cy, w, h = found[best, :4].T
            if not self.options.decoded:
                x, y, stride = self._cells[over[best]].T
                cx, cy = (cx + x) * stride, (cy + y) * stride
                w, h = np.exp(w) * stride, np.exp(h) * stride
            return self.candidates(corners(cx, cy, w, h), scores[best], class_ids[best], rejected)


def _cells(size: tuple[int, int], stride: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 [cells, 3] = x, y, stride of one level, row by row."""
    w, h = size[0] // stride, size[1] // stride
    y, x = np.mgrid[:h, :w]
    return np.stack((x.ravel(), y.ravel(), np.full(w * h, stride)), axis=1).astype(np.float32)
