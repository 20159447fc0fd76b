"""The model's tensors as they are, for programs that parse themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edged.config.schema import Table
from edged.frames import Geometry
from edged.messages import Tensor
from edged.models.model import Model, Task
from edged.parsers import layout
from edged.parsers.base import Candidates, Outputs, Parsed
from edged.tensors import TensorSpec


class RawParser:
    """All outputs, or those in `tensors`, without the batch dimension; NaN and inf stay as the model gave them."""

    task: Task = "raw"

    class Options(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """[output] keys of parser = "raw". `tensors`: names of the outputs to publish; empty: all."""

        tensors: tuple[str, ...] = ()

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tensors = layout.options_of(model, self.Options).tensors
        self.labels = model.output.labels

    @staticmethod
    def recognize(
        inputs: layout.Shapes, outputs: layout.Shapes, metadata: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """Every graph would do, so none is recognized."""
        return None

    def check(self, outputs: Sequence[TensorSpec]) -> None:
        """Raises ModelError for a name that the model does not have. Once, at load."""
        names = [o.name for o in outputs]
        for name in self.tensors:
            if name not in names:
                remedy = f"set tensors under [output] in model.toml to some of: {', '.join(names)}"
                raise layout.refusal(self.model, outputs, f'the output "{name}"', remedy)

    def decode(self, outputs: Outputs) -> Candidates:
        """`other` = name -> messages.Tensor; copies, owned by the caller."""
        return Candidates(other={n: _tensor(outputs[n]) for n in self.tensors or outputs})

    def finish(self, c: Candidates, g: Geometry) -> Parsed:
        return Parsed(tensors=c.other, rejected=c.rejected)


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    little = np.asarray(array, array.dtype.newbyteorder("<"))
    return Tensor(little.dtype.name, list(little.shape), little.tobytes())
