"""Plans that may not be loaded: told before TensorRT sees them, and where it refuses, its words with the remedy."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.devices.cpu import CpuDevice
from edged.engines import tensorrt_library
from edged.engines._tensorrt_errors import failed
from edged.engines._tensorrt_plan import check_plan, mapped
from edged.engines.tensorrt import TensorRtEngine
from edged.engines.tensorrt_library import library
from edged.errors import EngineError, MissingPackage
from edged.memory import Budget
from edged.models.plans import Plan, PlanError, PlanStore
from tests import onnx_models
from tests.cuda.standin import standin, standin_device
from tests.engines.fake_plan import PlanFacts, install, pack, sidecar
from tests.engines.fake_rules import RULES
from tests.engines.fake_tensorrt import fake_tensorrt
from tests.engines.tensorrt_rig import gpu, loaded, tensorrt_of
from tests.searching import examples


@pytest.fixture
def relu(tmp_path: Path) -> Path:
    return onnx_models.relu(tmp_path / "model.onnx")


def refusal(file: Path, flavour: str = "tensorrt", **how: Any) -> EngineError:
    """The error of loading; as TensorRT said it, if it was asked."""
    with pytest.raises(EngineError) as e, loaded(file, flavour=flavour, **how):
        pass
    return e.value


def test_a_plan_that_fits_is_loaded_and_says_what_it_is(relu: Path) -> None:
    with loaded(relu) as at:
        facts = at.engine.facts
        assert "tensorrt 10.3.0, plan" in facts["engine"]
        assert "(fp32, for 9.0), profile 0" in facts["engine"]
        assert "4.0 KiB for weights, 8.0 KiB for activations" in facts["engine memory"]
        assert "limited" not in facts
        assert at.engine.file_hash == at.engine.plan.sidecar.plan_sha256


@pytest.mark.parametrize(
    ("flavour", "version", "lean"),
    [("tensorrt", "10.3.0", False), ("tensorrt", "11.4.0.106", False), ("tensorrt", "10.16.1.11", True),
     ("tensorrt-rtx", "1.7.1.116", False)],
)  # fmt: skip
def test_every_version_goes_one_way(relu: Path, flavour: str, version: str, lean: bool) -> None:
    with loaded(relu, flavour=flavour, version=version, lean=lean) as at:
        execution = at.engine.bind(at.views, at.region)
        at.engine.warm_up(execution, at.stream)
        at.feed(-3)
        execution.enqueue(at.stream)
        assert (at.result() == 0).all()
        assert at.engine.library.lean is lean


@pytest.mark.parametrize(
    ("changes", "facts", "words"),
    [
        ({"version": "10.7.0"}, None, r"no plan fits TensorRT 10\.3\.0, .*; there: TensorRT 10\.7\.0, capability 9\.0"),
        ({"capabilities": ("8.7",)}, None, r"capability 9\.0 .*; there: TensorRT 10\.3\.0, capability 8\.7"),
    ],
)  # fmt: skip
def test_a_plan_for_another_version_or_gpu_names_both_sides_and_the_command(
    relu: Path, changes: dict[str, Any], facts: PlanFacts | None, words: str
) -> None:
    with fake_tensorrt(version="10.3.0"), standin():
        device = standin_device()
        with device.current(), ExitStack() as stack:
            stream = device.stream()
            stack.callback(stream.close)
            with pytest.raises(PlanError, match=words) as e:
                tensorrt_of(relu, device, stream, facts=facts, **changes)
        device.close()
    assert "edged model build" in e.value.hint
    assert RULES.deserialized == 0


def test_what_tensorrt_itself_refuses_is_told_in_our_words_and_in_its_own(relu: Path) -> None:
    # both let the sidecar pass
    with fake_tensorrt(version="10.3.0"), standin():
        device = standin_device()
        with device.current():
            stream = device.stream()
            with pytest.raises(
                EngineError, match=r"built by TensorRT 10\.2\.0\.26, this is 10\.3\.0\.26"
            ) as version:
                tensorrt_of(relu, device, stream, version="10.2.0", compatible="version")
            stream.close()
        device.close()
    assert 'says: "' in version.value.message
    assert "expecting library version" in version.value.message
    (relu.parent / "gpu").mkdir()  # another store
    other = onnx_models.relu(relu.parent / "gpu" / "model.onnx")
    gpu = refusal(other, facts=PlanFacts(capability="8.7"), capabilities=("8.7",), compatible="hardware")
    assert "built for GPUs of capability 8.7, this one has 9.0" in gpu.message
    for e in (version.value, gpu):
        assert e.hint.startswith("edged model build")
    assert RULES.deserialized == 1


def test_a_plan_with_code_for_the_host_is_allowed_when_it_was_asked_for(relu: Path) -> None:
    assert "carries code for the host" in refusal(relu, facts=PlanFacts(host_code=True)).message
    with loaded(relu, facts=PlanFacts(host_code=True), compatible="version"):
        pass


@pytest.mark.parametrize(
    ("said", "meaning", "remedy"),
    [
        ("[stdArchiveReader.cpp::StdArchiveReader::32] Error Code 1: Serialization (Serialization assertion "
         "magicTagRead == kMAGIC_TAG failed.Magic tag does not match)", "no plan of TensorRT 10.3.0", "model build"),
        ("Error Code 1: Serialization (stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match. "
         "Note: Current Version: 237, Serialized Engine Version: 239)", "format 239, TensorRT 10.3.0 reads format 237",
         "model build"),
        ("IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion header.pad == "
         "expectedPlatformTag failed.Platform specific tag mismatch detected.)", "another platform", "on this device"),
        ("Error Code 6: API Usage Error (CUDA initialization failure with error: 35)", "CUDA cannot be used", "doctor"),
        ("Error Code 2: OutOfMemory (Requested size was 4096 bytes.)", "not enough memory", "memory_budget"),
        ("Error Code 9: something new", "something new", "doctor"),
    ],
)  # fmt: skip
def test_published_texts_have_a_meaning_and_a_remedy(said: str, meaning: str, remedy: str) -> None:
    with fake_tensorrt():
        found = library("tensorrt")
        found.logger.log(found.module.ILogger.Severity.ERROR, said)
        e = failed(found, "model m", "it fails")
        assert meaning in e.message
        assert "stdArchiveReader.cpp" not in e.message
        assert remedy in e.hint
        assert found.logger.take() == []


class Damaged:
    """A store with one plan, whose file a test overwrites."""

    def __init__(self, folder: Path) -> None:
        self.onnx = onnx_models.relu(folder / "model.onnx")
        self.store = PlanStore(folder / "state" / "plans")
        self.plan = install(self.store, self.onnx)
        self.whole = self.plan.path.read_bytes()


@given(data=st.data())
@examples(60)
def test_a_damaged_plan_is_told_without_tensorrt_seeing_it(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder, fake_tensorrt(), standin():
        d = Damaged(Path(folder))
        size = len(d.whole)
        kind = data.draw(st.sampled_from(["flipped", "cut", "longer", "header", "foreign"]))
        at = data.draw(st.integers(0, size - 1))
        damaged = {
            "flipped": d.whole[:at]
            + bytes([d.whole[at] ^ data.draw(st.integers(1, 255))])
            + d.whole[at + 1 :],
            "cut": d.whole[:at],
            "longer": d.whole + data.draw(st.binary(min_size=1, max_size=64)),
            "header": d.whole[:24] + bytes([10, 3, 1, 26]) + d.whole[28:],
            "foreign": data.draw(st.binary(max_size=256)),
        }[kind]
        d.plan.path.write_bytes(damaged)
        device = standin_device()
        with device.current():
            stream = device.stream()
            with pytest.raises(PlanError) as e:
                TensorRtEngine(
                    onnx_models.model_of(d.onnx), TensorRtEngine.Options(), device, stream, plans=d.store
                )
            stream.close()
        device.close()
        assert RULES.deserialized == 0
        assert "edged model build" in e.value.hint


def test_each_difference_between_a_plan_and_this_machine_has_its_words(tmp_path: Path, relu: Path) -> None:
    plan = pack(relu.read_bytes())
    s = sidecar(relu, plan)
    cases: list[tuple[bytes, Any, str, str]] = [
        (b"PK\x03\x04 a foreign file of some length", s, "9.0", "not a TensorRT plan: it begins with 50 4b"),
        (b"", s, "9.0", "it is empty"),
        (pack(b"", "tensorrt-rtx"), s, "9.0", "a plan of TensorRT-RTX 1.7.1.116, not of TensorRT"),
        (plan[:-5], s, "9.0", "it is cut short or another file"),
        (
            plan[:24] + bytes([9, 0, 0, 1]) + plan[28:],
            s,
            "9.0",
            "says of itself that TensorRT 9.0.0.1 built it",
        ),
        (
            plan[:24] + bytes([9, 0, 0, 1]) + plan[28:],
            None,
            "9.0",
            "was built by TensorRT 9.0.0.1; this is 10.3.0",
        ),
        (plan, s, "8.7", "is for GPUs of capability 9.0; this one has 8.7"),
        (plan, sidecar(relu, plan, version="10.3.0.26.9"), "9.0", ""),
    ]
    with fake_tensorrt():
        for data, beside, capability, words in cases:
            file = tmp_path / "strange.plan"
            file.write_bytes(data)
            if not words:
                with mapped(file) as pages:
                    check_plan(file, pages, library("tensorrt"), capability, "m", beside)
                continue
            with pytest.raises(PlanError) as e, mapped(file) as pages:
                check_plan(file, pages, library("tensorrt"), capability, "m", beside)
            assert words in e.value.message, e.value
            assert str(file) in e.value.message
            assert "edged model build" in e.value.hint
    assert RULES.deserialized == 0


def test_weights_that_do_not_fit_the_budget_are_refused_with_figures(relu: Path) -> None:
    with fake_tensorrt(), standin():
        device = standin_device(Budget(1 << 20))
        with device.current():
            stream = device.stream()
            with pytest.raises(EngineError, match=r"not enough memory.*runtime\.memory_budget is 1\.0 MiB"):
                tensorrt_of(relu, device, stream, facts=PlanFacts(weights=2 << 20))
            stream.close()
        assert device.budget.held == 0
        device.close()


def test_it_runs_on_a_gpu_only(relu: Path) -> None:
    for where in (None, CpuDevice()):
        with pytest.raises(EngineError, match="engine 'tensorrt' cannot run on the CPU") as e:
            TensorRtEngine(onnx_models.model_of(relu), TensorRtEngine.Options(), where, None)
        assert "onnxruntime" in e.value.hint


def test_without_tensorrt_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in tensorrt_library._MODULES.values():
        for name in names:
            monkeypatch.setitem(__import__("sys").modules, name, None)
    library.cache_clear()
    with pytest.raises(MissingPackage, match="'tensorrt'") as e:
        library("tensorrt")
    assert "python3-libnvinfer" in e.value.hint
    with pytest.raises(MissingPackage, match="'tensorrt_rtx'") as e:
        library("tensorrt-rtx")
    assert "edged[trt-rtx]" in e.value.hint


def test_a_lean_runtime_builds_nothing() -> None:
    with fake_tensorrt(lean=True, version="10.16.1.11"):
        assert str(library("tensorrt")) == "tensorrt 10.16.1.11 (lean)"
        with pytest.raises(EngineError, match="is lean and builds nothing"):
            library("tensorrt", build=True)


def test_a_dla_core_that_is_not_there_is_refused(relu: Path) -> None:
    e = refusal(relu, options={"dla_core": 1}, built_with={"dla": 0})
    assert "there is no DLA core 1" in e.message


def test_a_plan_for_a_dla_runs_only_where_that_was_asked_for(relu: Path) -> None:
    e = refusal(relu, built_with={"dla": 0})
    assert "there: TensorRT 10.3.0, capability 9.0, fp32, DLA core 0" in e.message
    (relu.parent / "other").mkdir()
    e = refusal(onnx_models.relu(relu.parent / "other" / "model.onnx"), options={"dla_core": 1})
    assert e.hint.endswith("--engine tensorrt --dla 1")


def test_what_was_verified_is_what_is_loaded(relu: Path) -> None:
    """Whoever puts another file into its place meanwhile is too late."""

    class Swapped(PlanStore):
        def verify(self, plan: Plan, pages: Any = None) -> None:
            super().verify(plan, pages)
            other = plan.path.with_name("other")
            other.write_bytes(b"another file")
            other.replace(plan.path)

    store = Swapped(relu.parent / "plans")
    install(store, relu)
    with gpu() as device:
        stream = device.stream()
        engine = TensorRtEngine(
            onnx_models.model_of(relu), TensorRtEngine.Options(), device, stream, plans=store
        )
        engine.close()
        stream.close()
    assert RULES.deserialized == 1
