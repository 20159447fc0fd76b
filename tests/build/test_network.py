"""What TensorRT's builder is told, from 10.3 to 11, and what its refusals mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.build.events import Event, Finished, Phase, Step
from edged.build.network import Building, Built, is_weakly_typed
from edged.build.request import BuildError, Request
from tests.build.builder_fake import FakeTensorRt
from tests.build.made import directory, relu, request_for

ONE = (1, 3, 4, 6)


@pytest.fixture
def asked(tmp_path: Path) -> Request:
    return request_for(directory(tmp_path / "tiny", relu()), engine="tensorrt", precision="fp16")


def built(
    trt: FakeTensorRt, request: Request, cache: bytes = b"", **changes: Any
) -> tuple[Built, list[Event], bytes]:
    told: list[Event] = []
    building = Building(trt.library(), msgspec.structs.replace(request, **changes), told.append)
    made = building.build(building.parse(b"onnx"), cache)
    return made, told, building.timing_cache()


@pytest.mark.parametrize(
    ("major", "changes", "weak"),
    [
        (10, {"precision": "fp32"}, False),
        (10, {"precision": "fp16"}, False),
        (10, {"precision": "best"}, True),
        (10, {"precision": "fp16", "dla": 0}, True),
        (11, {"precision": "fp16"}, False),
        (11, {"precision": "best"}, False),
        (11, {"precision": "fp16", "dla": 1}, False),
    ],
)
def test_networks_are_strongly_typed_but_where_tensorrt_10_is_to_choose(
    asked: Request, major: int, changes: dict[str, Any], weak: bool
) -> None:
    trt = FakeTensorRt(major)
    built(trt, asked, **changes)
    assert is_weakly_typed(trt.library(), msgspec.structs.replace(asked, **changes)) is weak
    assert trt.network_flags == (0 if weak else 2)
    assert ("FP16" in trt.config.flags) is weak


@pytest.mark.parametrize("precision", ["fp32", "fp16", "best"])
def test_tf32_is_off_unless_all_is_allowed(asked: Request, precision: str) -> None:
    trt = FakeTensorRt(11)
    built(trt, asked, precision=precision)
    assert ("TF32" in trt.config.flags) is (precision == "best")


def test_quantized_layers_may_run_in_int8_where_that_is_a_flag(asked: Request) -> None:
    for layers, wanted in ((("QUANTIZE", "CONVOLUTION"), True), (("CONVOLUTION",), False)):
        trt = FakeTensorRt(10, layers=layers)
        built(trt, asked, precision="best")
        assert ("INT8" in trt.config.flags) is wanted


def test_all_that_was_asked_for_is_told(asked: Request) -> None:
    trt = FakeTensorRt(10, layers=("CONVOLUTION",) * 3)
    range_ = {"x": (ONE, ONE, (4, 3, 4, 6))}
    more: dict[str, Any] = {
        "sparse": True,
        "version_compatible": True,
        "hardware_compatible": True,
        "level": 5,
    }
    made, _, _ = built(trt, asked, workspace=77, profiles=(range_, {}, range_), **more)
    config = trt.config
    assert {"SPARSE_WEIGHTS", "VERSION_COMPATIBLE"} <= config.flags
    assert config.hardware_compatibility_level is trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert (config.pools, config.builder_optimization_level) == ({"WORKSPACE": 77}, 5)
    assert config.profiles == [range_, range_]
    assert made.layers == {"fp16": 3}


def test_a_dla_gets_what_it_can_run(asked: Request) -> None:
    trt = FakeTensorRt(10)
    built(trt, asked, dla=1)
    assert (trt.config.default_device_type, trt.config.DLA_core) == (trt.DeviceType.DLA, 1)
    assert "GPU_FALLBACK" in trt.config.flags
    with pytest.raises(BuildError, match="DLA core 2: this GPU's TensorRT has 2"):
        built(FakeTensorRt(10), asked, dla=2)


def test_the_timing_cache_of_the_last_build_goes_in_and_a_new_one_comes_out(asked: Request) -> None:
    assert built(FakeTensorRt(11), asked, b"before")[2] == b"before+"


@pytest.mark.parametrize("refusal", ["not made", "not set"])
def test_a_timing_cache_that_is_refused_is_followed_by_an_empty_one(
    asked: Request, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged one cannot be made; one of another version or GPU cannot be set."""
    trt = FakeTensorRt(10)
    make, put = trt.config.create_timing_cache, trt.config.set_timing_cache
    if refusal == "not made":
        monkeypatch.setattr(trt.config, "create_timing_cache", lambda data: None if data else make(data))
    else:
        monkeypatch.setattr(
            trt.config,
            "set_timing_cache",
            lambda cache, ignore_mismatch: cache.serialize() == b"+" and put(cache, ignore_mismatch),
        )
    assert built(trt, asked, b"foreign")[2] == b"+"


def test_the_monitor_feeds_events(asked: Request) -> None:
    told = built(FakeTensorRt(11), asked)[1]
    name = "Building engine"
    assert told == [Phase(name, None, 2), Step(name, 0), Finished(name)]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Error Code 2: OutOfMemory (Requested size was 5 bytes.)", "out of memory"),
        ("std::bad_alloc", "out of memory"),
        ("no tactics to implement the operation within workspace limit", "--workspace"),
        ("Could not find any implementation for node a due to insufficient workspace", "--workspace"),
        ("CUDA driver version is insufficient for CUDA runtime version", "build where the GPU"),
        ("Unable to load library: libnvinfer_lean.so.10", "lean runtime library"),
        ("Could not find any implementation for node {ForeignNode[a]}", "edged model show"),
    ],
)
def test_a_refusal_says_what_tensorrt_said_and_what_to_do(asked: Request, said: str, remedy: str) -> None:
    with pytest.raises(BuildError) as caught:
        built(FakeTensorRt(10, said=said), asked)
    assert said in caught.value.message
    assert remedy in caught.value.hint


def test_a_profile_that_is_refused_is_numbered(asked: Request) -> None:
    ranges = ({"x": (ONE,) * 3}, {"bad": (ONE,) * 3})
    with pytest.raises(BuildError, match="profile 1 is refused"):
        built(FakeTensorRt(10), asked, profiles=ranges)
