"""The estimate is of the last build of the same: of what takes as long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.build.plan import last_build_s
from edged.models.plans import PlanStore
from tests.build.made import directory, relu, request_for
from tests.models.plan_files import install, plan_bytes

ONE, FOUR = (1, 3, 4, 6), (4, 3, 4, 6)
DIMS = ("n", 3, 4, 6)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"engine": "tensorrt-rtx"}, False),
        ({"precision": "fp32"}, False),
        ({"options": {"level": 5}}, False),
        ({"profiles": ({"x": (ONE, ONE, FOUR)},)}, False),
        ({"compatible": "version"}, False),
        ({"capabilities": ("8.6",)}, True),  # of the GPU that was there; the request names none
    ],
)
def test_a_build_of_something_else_is_no_estimate(
    tmp_path: Path, changes: dict[str, Any], same: bool
) -> None:
    folder = directory(tmp_path / "m", relu(DIMS))
    request = request_for(folder, engine="tensorrt", precision="fp16")
    known: dict[str, Any] = {"profiles": request.profiles, "onnx_sha256": request.onnx_sha256, **changes}
    magic = b"vtrt" if known.get("engine") == "tensorrt-rtx" else b"ftrt"
    install(PlanStore(tmp_path / "plans"), tmp_path, plan_bytes(magic=magic), **known)
    assert last_build_s(request, tmp_path) == (1.5 if same else None)


def test_gpus_that_are_named_must_be_those(tmp_path: Path) -> None:
    request = request_for(directory(tmp_path / "m", relu()), precision="fp16", capabilities=("8.6", "8.9"))
    known: dict[str, Any] = {"engine": "tensorrt-rtx", "profiles": ({},), "onnx_sha256": request.onnx_sha256}
    plan = plan_bytes(magic=b"vtrt")
    install(PlanStore(tmp_path / "plans"), tmp_path, plan, capabilities=("8.6", "8.9"), **known)
    assert last_build_s(request, tmp_path) == 1.5
    other = msgspec.structs.replace(request, capabilities=("8.6",))
    assert last_build_s(other, tmp_path) is None
