"""An engine together with why it was chosen, and what it is limited by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edged.interfaces import Engine, Execution, Stream
from edged.memory import Region, Want
from edged.tensors import TensorSpec, TensorView


class ChosenEngine:
    """`inner` with more facts: `why` it is this one, and `limited`: why that is not what was asked for; "": it is.

    Everything else is the engine's own; executions are those that it made.
    """

    def __init__(self, inner: Engine, why: str = "", limited: str = "") -> None:
        self.inner = inner
        self.said = {k: v for k, v in (("engine choice", why), ("limited", limited)) if v}

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.inner.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.inner.outputs

    @property
    def file_hash(self) -> str:
        return self.inner.file_hash

    @property
    def eager(self) -> str:
        return self.inner.eager

    @property
    def facts(self) -> Mapping[str, str]:
        return {**self.inner.facts, **self.said}

    def wants(self) -> Sequence[Want]:
        return self.inner.wants()

    def bind(self, views: Mapping[str, TensorView], region: Region) -> Execution:
        return self.inner.bind(views, region)

    def warm_up(self, execution: Execution, stream: Stream) -> None:
        self.inner.warm_up(execution, stream)

    def close(self) -> None:
        self.inner.close()
