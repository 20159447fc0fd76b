"""CenterFace: faces and five landmarks as points of a heat map (Xu et al., arXiv:1911.03599).

The formulas are those of the authors' demo (github.com/Star-Clouds/CenterFace, prj-python/centerface.py).
It differs in one thing: the demo moves a box that begins outside the picture to its edge, size unchanged;
here it is clipped, and landmarks count from the corner where the face is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edged.config.schema import Positive, Table
from edged.models.model import Model
from edged.parsers import layout
from edged.parsers.base import Candidates, Outputs
from edged.parsers.select import BoxOptions, BoxParser, corners
from edged.tensors import TensorSpec

_STRIDE = 4
_CHANNELS = {"heatmap": 1, "scale": 2, "offset": 2, "landmarks": 10}


class CenterFaceParser(BoxParser):
    """Outputs float, all [channels, H / 4, W / 4]: a score a cell, log size (h, w), offset (y, x), landmarks.

    Size = exp(value) * 4, centre = (cell + offset + 0.5) * 4, landmark = corner + value * size; landmarks
    come as y, x pairs: eyes, nose, mouth corners. `landmarks = ""` for exports without them.
    """

    class Options(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """[output] keys of parser = "centerface": the names of its outputs."""

        heatmap: str = "537"
        scale: str = "538"
        offset: str = "539"
        landmarks: str = "540"
        max_candidates: Positive = 1000

    def __init__(self, model: Model) -> None:
        self.options = o = layout.options_of(model, self.Options)
        super().__init__(model, BoxOptions(max_candidates=o.max_candidates))
        self.labels = model.output.labels or ("face",)

    @staticmethod
    def recognize(
        inputs: layout.Shapes, outputs: layout.Shapes, metadata: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """Outputs of 1, 2, 2 and 10 channels, in this order, over one grid at a quarter of the input."""
        shapes = list(outputs.values())
        if [s[1] if len(s) == 4 else None for s in shapes] != list(_CHANNELS.values()):
            return None
        size, grids = layout.image_size(inputs), {s[2:] for s in shapes}
        if len(grids) != 1 or (
            size and None not in grids and grids != {(size[1] // _STRIDE, size[0] // _STRIDE)}
        ):
            return None
        return {"parser": "centerface", **dict(zip(_CHANNELS, outputs, strict=True)), "labels": ["face"]}

    def check(self, outputs: Sequence[TensorSpec]) -> None:
        """Raises ModelError unless every output is there with its channels and grid. Once, at load."""
        w, h = (n // _STRIDE for n in self.model.input.size)
        for key, channels in _CHANNELS.items():
            name = getattr(self.options, key)
            if key == "landmarks" and not name:
                continue
            wanted = f'{key} = "{name}" as float [batch, {channels}, {h}, {w}]'
            spec = layout.find_float(self.model, outputs, name, key, 4, wanted)
            if spec.shape[1:] != (channels, h, w):
                raise layout.refusal(self.model, outputs, wanted)
        layout.check_labels(self.model, outputs, 1)

    def decode(self, outputs: Outputs) -> Candidates:
        o = self.options
        heat = outputs[o.heatmap][0]
        with np.errstate(all="ignore"):
            best, rejected = self.strongest(layout.as_float32(heat.reshape(-1)))
            row, column = np.divmod(best.astype(np.float32), np.float32(max(heat.shape[1], 1)))
            h, w = np.exp(_take(outputs[o.scale], best)) * _STRIDE
            dy, dx = _take(outputs[o.offset], best)
            boxes = corners((column + dx + 0.5) * _STRIDE, (row + dy + 0.5) * _STRIDE, w, h)
            points = None
            if o.landmarks:
                pairs = _take(outputs[o.landmarks], best).reshape(5, 2, -1)
                x, y = boxes[:, 0] + pairs[:, 1] * w, boxes[:, 1] + pairs[:, 0] * h
                points = np.stack((x.T, y.T), axis=2)
            scores = layout.as_float32(heat.reshape(-1)[best])
            return self.candidates(boxes, scores, np.zeros(len(best), np.int32), rejected, points)


def _take(planes: Any, cells: Any) -> Any:
    """float32 [channels, n]: the values of `planes` [channels, h, w] at flat positions."""
    return layout.as_float32(planes.reshape(len(planes), -1)[:, cells])
