"""The layouts that ultralytics' exporters write: YOLOv5 (and v7) rows, YOLOv8 (v9, 11, 12) columns.

Boxes are decoded in the graph: centre and size in model-input pixels (docs.ultralytics.com/modes/export).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from edged.models.model import Model
from edged.parsers import layout
from edged.parsers.base import Candidates, Head, Outputs
from edged.parsers.select import BoxOptions, BoxParser, corners
from edged.tensors import TensorSpec


class Yolov5Parser(BoxParser):
    """Output float [n, 5 + classes] = cx, cy, w, h, objectness, class scores; score = objectness * best class."""

    class Options(BoxOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """[output] keys of parser = "yolov5"."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, layout.options_of(model, self.Options))

    @staticmethod
    def recognize(
        inputs: layout.Shapes, outputs: layout.Shapes, metadata: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """[b, n, 5 + classes] with three rows a cell; with open dimensions only where labels confirm it."""
        shape = next(iter(outputs.values()), ())
        if len(shape) != 3 or shape[2] is None or shape[2] < 6 or metadata.get("task", "detect") != "detect":
            return None
        named = shape[1] is None and len(layout.metadata_labels(metadata)) == shape[2] - 5
        if not named and not layout.is_grid(shape[1], inputs, anchors=3):
            return None
        # older exports give the three raw heads as well, after the decoded rows
        more = {"tensor": next(iter(outputs))} if len(outputs) > 1 else {}
        return layout.suggest("yolov5", shape[2] - 5, metadata, **more)

    def check(self, outputs: Sequence[TensorSpec]) -> None:
        """Raises ModelError unless the output is rows of this layout. Once, at load."""
        wanted = "float [batch, rows, 5 + classes] with more rows than columns"
        spec = layout.find_float(self.model, outputs, self.tensor, "tensor", 3, wanted)
        _, rows, columns = spec.shape
        if columns < 6 or rows <= columns:
            raise layout.refusal(self.model, outputs, wanted)
        layout.check_labels(self.model, outputs, columns - 5)

    def head(self) -> Head:
        return self.make_head("rows")

    def decode(self, outputs: Outputs) -> Candidates:
        rows = layout.tensor_of(outputs, self.tensor)
        with np.errstate(all="ignore"):
            over = np.flatnonzero(~(rows[:, 4] < self.score_threshold))  # class scores are at most 1
            found = layout.as_float32(rows[over])
            class_ids = found[:, 5:].argmax(axis=1)
            scores = found[:, 4] * found[np.arange(len(over)), class_ids + 5]
            best, rejected = self.strongest(scores)
            return self.candidates(corners(*found[best, :4].T), scores[best], class_ids[best], rejected)


class Yolov8Parser(BoxParser):
    """Output float [4 + classes + keypoints * keypoint_values, n] = cx, cy, w, h, class scores, keypoints.

    Pose models (`keypoints` > 0) give x, y and, with `keypoint_values` = 3, a visibility, which is not used.
    """

    class Options(BoxOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """[output] keys of parser = "yolov8"."""

        keypoints: Annotated[int, Meta(ge=0, le=1000)] = 0
        keypoint_values: Annotated[int, Meta(ge=2, le=3)] = 3

    def __init__(self, model: Model) -> None:
        self.options = layout.options_of(model, self.Options)
        super().__init__(model, self.options)
        self._tail = self.options.keypoints * self.options.keypoint_values

    @staticmethod
    def recognize(
        inputs: layout.Shapes, outputs: layout.Shapes, metadata: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """[b, 4 + classes, n] with one column a cell; with open dimensions only where labels confirm it.

        56 rows are 52 classes or 17 keypoints: without the exporter's metadata neither is assumed.
        """
        shape = next(iter(outputs.values()), ())
        task = metadata.get("task", "")
        if len(outputs) != 1 or len(shape) != 3 or task not in ("", "detect", "pose"):
            return None
        rows, labels = shape[1], layout.metadata_labels(metadata)
        if rows is None or rows < 5 or (shape[2] is not None and shape[2] <= rows):
            return None
        if not (shape[2] is None and labels) and not layout.is_grid(shape[2], inputs, anchors=1):
            return None
        if task == "pose":
            return _recognize_pose(rows, metadata)
        if rows == 4 + 1 + 17 * 3 and not labels:
            return None
        return layout.suggest("yolov8", rows - 4, metadata)

    def check(self, outputs: Sequence[TensorSpec]) -> None:
        """Raises ModelError unless the output is columns of this layout. Once, at load."""
        tail = f" + {self._tail} (keypoints)" if self._tail else ""
        wanted = f"float [batch, 4 + classes{tail}, columns] with more columns than rows"
        spec = layout.find_float(self.model, outputs, self.tensor, "tensor", 3, wanted)
        _, rows, columns = spec.shape
        if rows < 5 + self._tail or columns <= rows:
            raise layout.refusal(self.model, outputs, wanted)
        layout.check_labels(self.model, outputs, rows - 4 - self._tail)

    def head(self) -> Head:
        o = self.options
        return self.make_head("columns", keypoints=o.keypoints, keypoint_values=o.keypoint_values)

    def decode(self, outputs: Outputs) -> Candidates:
        columns = layout.tensor_of(outputs, self.tensor)
        end = len(columns) - self._tail
        with np.errstate(all="ignore"):
            scores = layout.as_float32(columns[4:end]).max(axis=0)
            best, rejected = self.strongest(scores)
            found = layout.as_float32(columns[:, best])
            points = None
            if self._tail:
                shape = (self.options.keypoints, self.options.keypoint_values, len(best))
                points = np.ascontiguousarray(found[end:].reshape(shape)[:, :2].transpose(2, 0, 1))
            boxes, class_ids = corners(*found[:4]), found[4:end].argmax(axis=0)
            return self.candidates(boxes, scores[best], class_ids, rejected, points)


def _recognize_pose(rows: int, metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """`kpt_shape` = "[17, 3]" is the number of keypoints and of values each has."""
    match layout.metadata_value(metadata, "kpt_shape"):
        case [int(count), int(values)] if rows > 4 + count * values:
            more = {} if values == 3 else {"keypoint_values": values}
            return layout.suggest("yolov8", rows - 4 - count * values, metadata, keypoints=count, **more)
    return None
