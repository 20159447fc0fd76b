"""What is asked for is checked against the file before a builder starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.build.request import BuildError, Request
from tests.build.made import directory, relu, request_for

ONE = (1, 3, 4, 6)


@pytest.fixture
def fixed(tmp_path: Path) -> Path:
    return directory(tmp_path / "fixed", relu())


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    return directory(tmp_path / "open", relu(("n", 3, "h", "w")))


def test_a_file_of_fixed_shapes_needs_no_profile(fixed: Path) -> None:
    assert request_for(fixed).profiles == ({},)


def test_open_dimensions_are_those_of_model_toml_unless_said(dynamic: Path) -> None:
    assert request_for(dynamic).profiles == ({"x": (ONE, ONE, ONE)},)
    wide = (ONE, (2, 3, 4, 6), (8, 3, 4, 6))
    assert request_for(dynamic, profiles=[{"x": wide}, {}]).profiles == ({"x": wide}, {"x": (ONE, ONE, ONE)})


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"x": ((2, 3, 4, 6), ONE, (4, 3, 4, 6))}, r"x=2,3,4,6:1,3,4,6:4,3,4,6: dimension 0 is 2, 1, 4"),
        (
            {"x": (ONE, (9, 3, 4, 6), (8, 3, 4, 6))},
            "dimension 0 is 1, 9, 8: it must be 1 <= min <= opt <= max",
        ),
        ({"x": ((0, 3, 4, 6), ONE, ONE)}, "dimension 0 is 0, 1, 1"),
        ({"x": ((1, 3, 4),) * 3}, r"x: float32\[n, 3, h, w\] has 4 dimensions"),
        ({"x": ((1, 1, 4, 6),) * 3}, "dimension 1 is fixed to 3 in the file"),
        ({"x": ((1, 3, 8, 8),) * 3}, r"no profile holds x=1,3,4,6, which model\.toml says"),
        ({"xx": (ONE,) * 3}, "'xx' is no input of the file; did you mean 'x'"),
    ],
)
def test_a_bad_range_of_shapes_is_refused_with_its_place(dynamic: Path, shapes: Any, reason: str) -> None:
    with pytest.raises(BuildError, match=reason) as caught:
        request_for(dynamic, profiles=[shapes])
    assert str(dynamic) in caught.value.message


def test_all_problems_are_told_at_once_and_of_several_profiles_which(dynamic: Path) -> None:
    bad = {"x": ((2, 3, 4, 6), ONE, ONE), "z": (ONE,) * 3}
    with pytest.raises(BuildError) as caught:
        request_for(dynamic, profiles=[{"x": (ONE,) * 3}, bad], level=9)
    lines = caught.value.message.splitlines()
    assert len(lines) == 3
    assert sum("profile 1: " in line for line in lines) == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"version_compatible": True}, "TensorRT-RTX has no version- or hardware-compatible plans"),
        ({"hardware_compatible": True}, "TensorRT-RTX has no version- or hardware-compatible plans"),
        ({"dla": 0, "precision": "fp16"}, "TensorRT-RTX has no DLA"),
        ({"engine": "tensorrt", "capabilities": ("8.7",)}, "TensorRT builds for the GPU at hand"),
        ({"engine": "tensorrt", "dla": 0, "precision": "fp32"}, "a DLA computes in FP16"),
        ({"workspace": 0}, "a workspace of .* leaves layers no memory"),
        ({"workspace": 4096}, "a workspace of .* leaves layers no memory"),
        ({"keep_fp32": ("a*",)}, "--keep-fp32 is for --precision fp16"),
        ({"level": 6}, "optimization level 6 is not from 0 to 5"),
        ({"samples": "/none"}, "'/none' is no folder of pictures"),
    ],
)
def test_what_the_engine_cannot_do_is_refused(fixed: Path, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(BuildError, match=reason):
        request_for(fixed, **options)


def test_a_dla_runs_one_shape(dynamic: Path) -> None:
    wide = {"x": (ONE, ONE, (2, 3, 4, 6))}
    with pytest.raises(BuildError, match="a DLA runs one shape only"):
        request_for(dynamic, engine="tensorrt", precision="fp16", dla=0, profiles=[wide])


def test_the_builders_process_reads_what_was_asked(dynamic: Path) -> None:
    asked = request_for(dynamic, precision="fp16", sparse=True, keep_fp32=("a*",), memory=1 << 30)
    assert msgspec.json.decode(msgspec.json.encode(asked), type=Request) == asked
    assert asked.options == {"sparse": True, "keep_fp32": ["a*"]}
