from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.config.schema import ModelConfig
from edged.engines.choose import choose_engine, make_engine
from edged.engines.chosen import ChosenEngine
from edged.engines.onnxruntime import OnnxRuntimeEngine
from edged.engines.tensorrt import TensorRtEngine, TensorRtRtxEngine
from edged.errors import EngineError, MissingPackage
from edged.interfaces import Device, Engine, Stream
from edged.models.model import Model
from edged.models.plans import PlanError, PlanStore
from tests import onnx_models
from tests.engines.fake_plan import install
from tests.engines.tensorrt_rig import gpu


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return onnx_models.model_of(onnx_models.relu(tmp_path / "m.onnx"))


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "state" / "plans")


@pytest.fixture
def device() -> Iterator[Device]:
    with gpu() as made:
        yield made


@pytest.fixture
def stream(device: Device) -> Iterator[Stream]:
    made = device.stream()
    yield made
    made.close()


def test_auto_is_onnxruntime_without_a_gpu(model: Model, store: PlanStore) -> None:
    install(store, model.file)
    choice = choose_engine(model, plans=store)
    assert (choice.kind, choice.why) == ("onnxruntime", "onnxruntime: the device is no GPU")
    named = choose_engine(model, "onnxruntime")
    assert (named.kind, named.why) == ("onnxruntime", "")
    with pytest.raises(EngineError, match=r"'tensorflow' is unknown(.|\n)*auto, (.*)onnxruntime"):
        choose_engine(model, "tensorflow")


def test_auto_on_a_gpu_takes_a_plan_that_fits_and_says_why(
    model: Model, store: PlanStore, device: Device
) -> None:
    none = choose_engine(model, "auto", device, store)
    assert none.kind == "onnxruntime"
    assert "no TensorRT plan of this model (edged model build" in none.why
    install(store, model.file, capabilities=("8.7",))
    other = choose_engine(model, "auto", device, store)
    assert other.kind == "onnxruntime"
    assert "no plan fits: tensorrt: no plan fits TensorRT 10.3.0, capability 9.0" in other.why
    install(store, model.file)
    fits = choose_engine(model, "auto", device, store)
    assert (fits.kind, fits.why) == ("tensorrt", "tensorrt: a plan that fits")


def test_auto_without_the_library_is_onnxruntime(model: Model, store: PlanStore, device: Device) -> None:
    install(store, model.file, "tensorrt-rtx", capabilities=("9.0",))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("tensorrt_rtx", "tensorrt_rtx_bindings"):
            patch.setitem(__import__("sys").modules, name, None)
        choice = choose_engine(model, "auto", device, store)
    assert choice.kind == "onnxruntime"
    assert "needs the Python package 'tensorrt_rtx'" in choice.why


def inner(engine: Engine) -> object:
    return engine.inner if isinstance(engine, ChosenEngine) else engine


def test_make_engine_takes_the_options_of_the_configuration(model: Model) -> None:
    for options in (None, OnnxRuntimeEngine.Options(threads=1)):
        engine = make_engine(model, ModelConfig(path="m", options=options))
        assert isinstance(inner(engine), OnnxRuntimeEngine)
        assert engine.facts["engine choice"] == "onnxruntime: the device is no GPU"
        engine.close()
    engine = make_engine(model, ModelConfig(path="m", engine="onnxruntime"))
    assert isinstance(engine, OnnxRuntimeEngine)
    engine.close()


def test_the_plan_of_the_store_runs_with_its_options_or_the_defaults(
    model: Model, store: PlanStore, device: Device, stream: Stream
) -> None:
    install(store, model.file)
    auto = make_engine(
        model, ModelConfig(path="m", options=OnnxRuntimeEngine.Options()), device, stream, store
    )
    assert isinstance(inner(auto), TensorRtEngine)
    assert auto.eager == ""
    assert auto.facts["engine choice"] == "tensorrt: a plan that fits"
    auto.close()
    config = ModelConfig(path="m", engine="tensorrt", options=TensorRtEngine.Options(graph="off"))
    named = make_engine(model, config, device, stream, store)
    assert named.eager == 'graph = "off"'
    named.close()


def test_a_fallback_runs_only_if_said_and_says_that_it_is_one(model: Model, store: PlanStore) -> None:
    with gpu() as device:
        stream = device.stream()
        with pytest.raises(PlanError):
            make_engine(model, ModelConfig(path="m", engine="tensorrt"), device, stream, store)
        stream.close()
    config = ModelConfig(path="m", engine="tensorrt", fallback="onnxruntime")
    engine = make_engine(model, config)  # on the CPU, where TensorRT cannot run
    assert isinstance(inner(engine), OnnxRuntimeEngine)
    assert engine.facts["limited"].startswith(
        "onnxruntime instead of tensorrt: model tiny: engine 'tensorrt' cannot run"
    )
    assert engine.inputs == inner(engine).inputs  # type: ignore[attr-defined]
    engine.close()


def test_what_a_fallback_cannot_mend_is_raised(model: Model, store: PlanStore) -> None:
    broken = onnx_models.unknown_op(model.file.with_name("broken.onnx"))
    config = ModelConfig(path="m", engine="onnxruntime", fallback="onnxruntime")
    with pytest.raises(EngineError, match="Frobnicate"):
        make_engine(onnx_models.model_of(broken), config)


def test_rtx_without_its_package_names_the_extra(
    model: Model, store: PlanStore, device: Device, stream: Stream
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("tensorrt_rtx", "tensorrt_rtx_bindings"):
            patch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(MissingPackage, match="tensorrt_rtx"):
            TensorRtRtxEngine(model, TensorRtRtxEngine.Options(), device, stream, plans=store)
