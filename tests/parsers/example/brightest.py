from collections.abc import Sequence

import numpy as np

from edged.config.schema import Table
from edged.frames import Geometry
from edged.models.model import Model
from edged.parsers.base import Candidates, Outputs, Parsed
from edged.tensors import TensorSpec


class BrightestParser:  # [project.entry-points."edged.parsers"] brightest = "brightest:BrightestParser"
    class Options(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
        tensor: str = "heat"  # a key of [output] in model.toml

    def __init__(self, model: Model) -> None:
        self.labels, self.tensor = model.output.labels, model.output.options.tensor

    def check(self, outputs: Sequence[TensorSpec]) -> None:
        """Any outputs do; a ModelError raised here refuses the model at load."""

    def decode(self, outputs: Outputs) -> Candidates:  # a heat map [h, w]: where is its greatest value?
        return Candidates(other=divmod(int(np.argmax(outputs[self.tensor])), outputs[self.tensor].shape[1]))

    def finish(self, c: Candidates, g: Geometry) -> Parsed:
        corner = g.points_to_source(np.array([c.other[::-1]], np.float32))
        boxes = np.concatenate((corner, np.ones((1, 2), np.float32)), axis=1)
        return Parsed(boxes, scores=np.ones(1, np.float32), class_ids=np.zeros(1, np.int32))
