"""A parser that finds what it was told to, whatever the outputs hold. For tests of what comes after parsing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edged.models.model import Model
from edged.parsers.base import Candidates, Outputs
from edged.parsers.end2end import MOST_CLASSES
from edged.parsers.select import BoxOptions, BoxParser, strongest
from edged.tensors import TensorSpec


class FakeParser(BoxParser):
    """`found`: rows of x1, y1, x2, y2 (model-input pixels), score, class; filtered and finished as real ones are."""

    def __init__(self, model: Model, found: Sequence[Sequence[float]] = ()) -> None:
        super().__init__(model, BoxOptions())
        self.found = np.array(found, np.float32).reshape(-1, 6)
        self.decoded = 0  # calls so far

    def check(self, outputs: Sequence[TensorSpec]) -> None:
        """Any outputs do."""

    def decode(self, outputs: Outputs) -> Candidates:
        self.decoded += 1
        with np.errstate(all="ignore"):
            best, rejected = strongest(self.found[:, 4], self.score_threshold, self.max_candidates)
            found = self.found[best]
            classed = (found[:, 5] >= 0) & (found[:, 5] <= MOST_CLASSES)  # False for NaN
            rejected += len(found) - int(np.count_nonzero(classed))
            found = found[classed]
            return self.candidates(found[:, :4], found[:, 4], found[:, 5], rejected)
