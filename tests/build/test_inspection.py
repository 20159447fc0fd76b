"""The inspector's words of several versions, as precisions."""

from __future__ import annotations

from typing import Any

import pytest

from edged.build.inspection import precisions


def layer(**output: str) -> dict[str, Any]:
    return {"Name": "a", "Outputs": [{"Name": "t", **output}]}


@pytest.mark.parametrize(
    ("layers", "counted"),
    [
        ([layer(**{"Format/Datatype": "Row major linear FP16 format"}), layer(Datatype="Half")], {"fp16": 2}),
        ([layer(Datatype="Float"), layer(**{"Format/Datatype": "Row major linear FP32"})], {"fp32": 2}),
        (
            [layer(Datatype="BFloat16"), layer(Datatype="Int8"), layer(Datatype="FP8")],
            {"bf16": 1, "int8": 1, "fp8": 1},
        ),
        ([layer(Datatype="Int64"), {"Name": "without outputs"}, {"Outputs": []}], None),
        ([], None),
    ],
)
def test_the_first_output_tells_a_layers_precision(layers: Any, counted: dict[str, int] | None) -> None:
    assert precisions(layers) == counted
