import numpy as np

from edged.frames import Geometry
from edged.models.model import Model
from edged.parsers.base import Candidates, Outputs, Parsed


class BrightestParser:  # [project.entry-points."edged.parsers"] brightest = "brightest:BrightestParser"
    def __init__(self, model: Model) -> None:
        self.labels = model.output.labels

    def decode(self, outputs: Outputs) -> Candidates:  # a heat map [h, w]: where is its greatest value?
        return Candidates(other=divmod(int(np.argmax(outputs["heat"])), outputs["heat"].shape[1]))

    def finish(self, c: Candidates, g: Geometry) -> Parsed:
        y, x = c.other
        point = g.points_to_source(np.array([[x, y]], np.float32))
        box = np.concatenate((point, np.ones((1, 2), np.float32)), axis=1)
        return Parsed(boxes=box, scores=np.ones(1, np.float32), class_ids=np.zeros(1, np.int32))
