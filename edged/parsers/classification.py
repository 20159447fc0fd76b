"""Classification: one score a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from edged.config.schema import Positive, Table
from edged.frames import F32, Geometry
from edged.models.model import Model, Task
from edged.parsers import layout
from edged.parsers.base import Candidates, Outputs, Parsed
from edged.parsers.nms import by_score
from edged.tensors import TensorSpec

_SUM_TOLERANCE = 0.02  # of 1: a thousand half-precision probabilities do not add up exactly
_EMBEDDING = 64  # powers of two from here on are more often features than classes


class ClassificationParser:
    """Output float [classes] (or [classes, 1, 1]); the `top` best classes, best first.

    `softmax`: "auto" applies it unless the values already are probabilities (in 0..1, summing to 1); "never"
    is for independent (sigmoid) scores. Neither score_threshold nor iou_threshold is used: a pipeline's
    min_score filters. Values that are not finite are dropped and counted.
    """

    task: Task = "classify"

    class Options(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """[output] keys of parser = "classification"."""

        tensor: str = ""
        top: Positive = 5
        softmax: Literal["auto", "always", "never"] = "auto"

    def __init__(self, model: Model) -> None:
        self.model = model
        self.options = layout.options_of(model, self.Options)
        self.labels = model.output.labels

    @staticmethod
    def recognize(
        inputs: layout.Shapes, outputs: layout.Shapes, metadata: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """[b, classes] from one picture; not where the width is that of an embedding and no labels say otherwise."""
        shape = next(iter(outputs.values()), ())
        picture = [len(s) for s in inputs.values()] == [4]
        if len(outputs) != 1 or not picture or len(shape) not in (2, 4) or set(shape[2:]) - {1}:
            return None
        classes = shape[1]
        if classes is None or classes < 2:
            return None
        if classes >= _EMBEDDING and classes & (classes - 1) == 0 and not layout.metadata_labels(metadata):
            return None
        return layout.suggest("classification", classes, metadata)

    def check(self, outputs: Sequence[TensorSpec]) -> None:
        """Raises ModelError unless the output is one row of scores. Once, at load."""
        wanted = "float [batch, classes]"
        spec = layout.find(self.model, outputs, self.options.tensor, "tensor", wanted)
        if spec.dtype.kind != "f" or len(spec.shape) < 2 or set(spec.shape[2:]) - {1} or spec.shape[1] < 1:
            raise layout.refusal(self.model, outputs, wanted)
        layout.check_labels(self.model, outputs, spec.shape[1])

    def decode(self, outputs: Outputs) -> Candidates:
        """Candidates without boxes: the best classes and their scores."""
        values = layout.as_float32(layout.tensor_of(outputs, self.options.tensor).reshape(-1))
        class_ids = np.flatnonzero(np.isfinite(values))
        rejected = len(values) - len(class_ids)
        scores = values[class_ids]
        with np.errstate(all="ignore"):
            if len(scores) and self._wants_softmax(scores):
                scores = _softmax(scores)
        best = by_score(scores)[: self.options.top]
        return Candidates(scores=scores[best], class_ids=class_ids[best].astype(np.int32), rejected=rejected)

    def finish(self, c: Candidates, g: Geometry) -> Parsed:
        return Parsed(classes=(c.class_ids, c.scores), rejected=c.rejected)

    def _wants_softmax(self, scores: F32) -> bool:
        if self.options.softmax != "auto":
            return self.options.softmax == "always"
        total = float(scores.sum(dtype=np.float64))
        return not (np.min(scores) >= 0 and np.max(scores) <= 1 and abs(total - 1) <= _SUM_TOLERANCE)


def _softmax(values: F32) -> F32:
    """float32 [n], n > 0, finite: shifted by the greatest, so that nothing overflows upward."""
    powers = np.exp(values - np.max(values))
    return np.asarray(powers / powers.sum(), np.float32)
