"""NMS-free detectors and graphs that end in NMS: rows of x1, y1, x2, y2, score, class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edged.models.model import Model
from edged.parsers import layout
from edged.parsers.base import Candidates, Head, Outputs
from edged.parsers.select import BoxOptions, BoxParser
from edged.tensors import TensorSpec

_MOST_ROWS = 1000  # such models give 100 to 300; beyond this it is another layout
MOST_CLASSES = 1e6  # a class number above is none


class EndToEndParser(BoxParser):
    """Output float [n, 6] = x1, y1, x2, y2, score, class (YOLOv10, YOLO26, ultralytics' nms=True, RT-DETR exports).

    Boxes are in model-input pixels, or, `normalized = true`, in 0..1 of the input's width and height. Rows
    are not suppressed again, unless `suppress = true`.
    """

    class Options(BoxOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """[output] keys of parser = "end2end"."""

        normalized: bool = False
        suppress: bool = False

    def __init__(self, model: Model) -> None:
        options = layout.options_of(model, self.Options)
        super().__init__(model, options)
        self.suppresses = options.suppress
        unit = np.array(model.input.size * 2, np.float32)
        self._scale = unit if options.normalized else np.ones(4, np.float32)

    @staticmethod
    def recognize(
        inputs: layout.Shapes, outputs: layout.Shapes, metadata: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """[b, n, 6] with few rows: one-class YOLOX and YOLOv5 have six columns too, but a row a cell or anchor."""
        shape = next(iter(outputs.values()), ())
        if (
            len(outputs) != 1
            or len(shape) != 3
            or shape[2] != 6
            or metadata.get("task", "detect") != "detect"
        ):
            return None
        few = shape[1] is not None and shape[1] <= _MOST_ROWS
        if not few and metadata.get("end2end", "").lower() != "true":
            return None
        if layout.is_grid(shape[1], inputs, anchors=1) or layout.is_grid(shape[1], inputs, anchors=3):
            return None
        return layout.suggest("end2end", None, metadata)

    def check(self, outputs: Sequence[TensorSpec]) -> None:
        """Raises ModelError unless the output has six columns. Once, at load."""
        wanted = "float [batch, rows, 6] = x1, y1, x2, y2, score, class"
        spec = layout.find_float(self.model, outputs, self.tensor, "tensor", 3, wanted)
        if spec.shape[2] != 6:
            raise layout.refusal(self.model, outputs, wanted)

    def head(self) -> Head:
        return self.make_head("corners", scale=(float(self._scale[0]), float(self._scale[1])))

    def decode(self, outputs: Outputs) -> Candidates:
        rows = layout.tensor_of(outputs, self.tensor)
        with np.errstate(all="ignore"):
            best, rejected = self.strongest(layout.as_float32(rows[:, 4]))
            found = layout.as_float32(rows[best])
            classed = (found[:, 5] >= 0) & (found[:, 5] <= MOST_CLASSES)
            rejected += len(found) - int(np.count_nonzero(classed))
            found = found[classed]
            return self.candidates(found[:, :4] * self._scale, found[:, 4], np.rint(found[:, 5]), rejected)
