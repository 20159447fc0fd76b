"""A loaded plan: profiles and shapes, memory, streams, graphs, layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edged.errors import EngineError
from edged.frames import Memory
from edged.memory import Want
from tests import onnx_models
from tests.engines.fake_context import IExecutionContext
from tests.engines.fake_plan import PlanFacts
from tests.engines.fake_rules import RULES
from tests.engines.tensorrt_rig import Loaded, gpu, loaded, tensorrt_of

OPEN = (1, 3, "h", "w")
# two profiles: up to 4x6, and 8x8 exactly
PROFILES = [
    {"x": [[1, 3, 2, 2], [1, 3, 4, 6], [1, 3, 4, 6]]},
    {"x": [[1, 3, 8, 8], [1, 3, 8, 8], [1, 3, 8, 8]]},
]


@pytest.fixture
def relu(tmp_path: Path) -> Path:
    return onnx_models.relu(tmp_path / "model.onnx")


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    return onnx_models.relu(tmp_path / "model.onnx", OPEN, OPEN)


def run(at: Loaded, value: float = 2) -> float:
    execution = at.engine.bind(at.views, at.region)
    at.engine.warm_up(execution, at.stream)
    at.feed(value)
    execution.enqueue(at.stream)
    found = at.result()
    execution.close()
    assert (found == found.flat[0]).all()
    return float(found.flat[0])


@pytest.mark.parametrize(("shape", "profile"), [((1, 3, 4, 6), 0), ((1, 3, 8, 8), 1)])
def test_the_profile_is_the_first_that_the_shapes_fit(
    dynamic: Path, shape: tuple[int, ...], profile: int
) -> None:
    facts = PlanFacts(profiles=PROFILES)
    with loaded(dynamic, facts=facts, model={"shapes": {"x": shape}}) as at:
        assert at.engine.inputs[0].shape == at.engine.outputs[0].shape == shape
        assert f"profile {profile}" in at.engine.facts["engine"]
        assert run(at) == 2


def test_options_choose_shape_and_profile_before_the_model(dynamic: Path) -> None:
    options = {"shapes": {"x": (1, 3, 8, 8)}, "profile": 1}
    with loaded(dynamic, facts=PlanFacts(profiles=PROFILES), options=options) as at:
        assert at.engine.inputs[0].shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shapes": {"x": (1, 3, 9, 9)}},
         r"no profile for 'x' \[1, 3, 9, 9\]; profile 0: 'x' from \[1, 3, 2, 2\] to \[1, 3, 4, 6\]; profile 1"),
        ({"profile": 1}, r"no profile for 'x' \[1, 3, 4, 6\]; profile 1: 'x' from \[1, 3, 8, 8\]"),
        ({"profile": 2}, "no profile 2; it has 2"),
        ({"shapes": {"x": (1, 4, 4, 6)}}, r"float32\[1, 3, \?, \?\] in the plan, model.toml makes it \[1, 4, 4, 6\]"),
        ({"shapes": {"z": (1,)}}, "no input 'z'; it has 'x'"),
    ],
)  # fmt: skip
def test_shapes_that_no_profile_has_are_refused_with_the_ranges(
    dynamic: Path, options: dict[str, object], words: str
) -> None:
    with (
        pytest.raises(EngineError, match=words) as e,
        loaded(dynamic, facts=PlanFacts(profiles=PROFILES), options=options),
    ):
        pass
    assert e.value.hint


def test_a_load_that_fails_leaves_nothing_of_tensorrt_even_while_its_error_is_kept(dynamic: Path) -> None:
    with gpu() as device:
        stream = device.stream()
        with pytest.raises(EngineError) as e:
            tensorrt_of(dynamic, device, stream, facts=PlanFacts(profiles=PROFILES), options={"profile": 1})
        assert RULES.engines == 0
        stream.close()
    assert e.value.__traceback__ is not None


def test_an_output_whose_shape_follows_the_picture_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(EngineError, match="depends on the picture"),
        loaded(onnx_models.nonzero(tmp_path / "m.onnx")),
    ):
        pass


def test_an_element_type_that_numpy_lacks_is_refused(relu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.engines.fake_enums import DataType
    from tests.engines.fake_tensorrt import ICudaEngine

    monkeypatch.setattr(ICudaEngine, "get_tensor_dtype", lambda self, name: DataType.BF16)
    with pytest.raises(EngineError, match="'x' has elements of BF16"), loaded(relu):
        pass


def test_activations_are_the_regions_and_all_executions_share_them(relu: Path) -> None:
    with loaded(relu, facts=PlanFacts(activations=12345)) as at:
        assert at.engine.wants() == [Want("engine.activations", 12345, Memory.DEVICE)]
        first, second = (at.engine.bind(at.views, at.region) for _ in range(2))
        for execution in (first, second, first):
            execution.enqueue(at.stream)
        at.stream.synchronize()
    with loaded(relu, facts=PlanFacts(activations=0)) as at:
        assert at.engine.wants() == ()
        assert run(at) == 2


def test_an_allocation_while_running_is_seen_counted_and_told(
    relu: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with loaded(relu) as at:
        execution = at.engine.bind(at.views, at.region)
        RULES.asks = 1000
        at.engine.warm_up(execution, at.stream)
        assert at.engine.memory.unplanned == 0, "while warming up it is planned"
        at.region.freeze()
        for _ in range(2):
            RULES.asks = 3000
            execution.enqueue(at.stream)
        at.stream.synchronize()
        assert (at.engine.memory.unplanned, at.engine.memory.unplanned_bytes) == (2, 6000)
        assert at.engine.facts["limited"] == "allocates while running: was given 5.9 KiB in 2 pieces"
    assert caplog.text.count("asks for 2.9 KiB while running") == 1


def test_under_strict_memory_it_is_refused_and_the_inference_fails(relu: Path) -> None:
    with loaded(relu, options={"strict_memory": True}) as at:
        execution = at.engine.bind(at.views, at.region)
        at.engine.warm_up(execution, at.stream)
        at.region.freeze()
        RULES.asks = 3000
        with pytest.raises(EngineError, match=r"2\.9 KiB while running, and strict_memory is on"):
            execution.enqueue(at.stream)
        execution.enqueue(at.stream)
        at.stream.synchronize()


def test_an_inference_that_is_refused_says_why(relu: Path) -> None:
    with loaded(relu) as at:
        execution = at.engine.bind(at.views, at.region)
        RULES.refuses = True
        with pytest.raises(EngineError, match=r"inference cannot be queued: .*it was told to"):
            execution.enqueue(at.stream)


def test_an_error_that_is_kept_keeps_nothing_of_tensorrt(relu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with loaded(relu) as at:
        execution = at.engine.bind(at.views, at.region)
        RULES.refuses = True
        with pytest.raises(EngineError) as queued:
            execution.enqueue(at.stream)
        monkeypatch.setattr(IExecutionContext, "set_tensor_address", lambda *_: False)
        with pytest.raises(EngineError) as bound:
            at.engine.bind(at.views, at.region)
        monkeypatch.setattr(IExecutionContext, "infer_shapes", lambda _: ["x"])
        with pytest.raises(EngineError) as made:
            at.engine.bind(at.views, at.region)
    # the fake has seen the contexts and the engine go before the memory
    assert all(e.value.__traceback__ is not None for e in (queued, bound, made))


def test_what_an_error_kept_is_no_fault_of_a_later_test(relu: Path) -> None:
    kept = []

    def fail() -> None:
        with loaded(relu) as at:
            kept.append(at.engine.engine)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with loaded(relu) as at:
        kept.clear()
        assert run(at) == 2


def test_a_context_that_cannot_be_made_says_why(relu: Path) -> None:
    with loaded(relu) as at:
        at.engine.bind(at.views, at.region)  # the spare one
        RULES.no_context = True
        with pytest.raises(EngineError, match="no execution context can be made"):
            at.engine.bind(at.views, at.region)


def test_auxiliary_streams_are_ours(relu: Path) -> None:
    with loaded(relu, facts=PlanFacts(aux_streams=3)) as at:
        assert run(at) == 2
        assert RULES.own_streams == 0


def test_the_default_stream_is_refused(relu: Path) -> None:
    class Default:
        handle = 0

    with loaded(relu) as at:
        execution = at.engine.bind(at.views, at.region)
        with pytest.raises(EngineError, match="default stream"):
            execution.enqueue(Default())  # type: ignore[arg-type]


def test_a_graph_is_captured_after_one_eager_run_and_replays(dynamic: Path) -> None:
    with loaded(dynamic, facts=PlanFacts(profiles=PROFILES)) as at:
        execution = at.engine.bind(at.views, at.region)
        at.engine.warm_up(execution, at.stream)
        assert (RULES.eager_runs, at.engine.eager) == (1, "")
        at.region.freeze()
        graph = at.stream.capture(lambda: execution.enqueue(at.stream))
        for value in (5, -5):
            at.feed(value)
            graph.launch()
            assert (at.result() == max(value, 0)).all()
        assert RULES.eager_runs == 1
        graph.close()
    with loaded(dynamic, facts=PlanFacts(profiles=PROFILES), options={"graph": "off"}) as at:
        assert at.engine.eager == 'graph = "off"'


def test_closing_the_engine_first_takes_its_executions_along(relu: Path) -> None:
    with loaded(relu) as at:
        execution = at.engine.bind(at.views, at.region)
        at.engine.close()
        at.engine.close()
        assert RULES.engines == 0, "somebody keeps the engine alive"
        with pytest.raises(EngineError, match="after close"):
            execution.enqueue(at.stream)


def test_memory_of_the_host_is_refused(relu: Path) -> None:
    with loaded(relu) as at, pytest.raises(EngineError, match="works on a GPU"):
        at.engine.bind({**at.views, "x": replace(at.views["x"], memory=Memory.HOST)}, at.region)


def test_layers_and_their_times_on_demand(relu: Path) -> None:
    with loaded(relu) as at:
        execution = at.engine.bind(at.views, at.region)
        assert at.engine.layers(execution) == [{"Name": "all", "LayerType": "kgen"}]
        (time,) = at.engine.layer_times(execution, at.stream, runs=3)
        assert (time.name, time.ms) == ("all", 0.25)
    with (
        loaded(relu, version="10.16.1.11", lean=True) as at,
        pytest.raises(EngineError, match="no engine inspector"),
    ):
        at.engine.layers()


def test_rtx_compiles_its_kernels_when_it_is_loaded(relu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.engines import fake_enums, fake_tensorrt

    made: list[fake_tensorrt.IRuntimeConfig] = []
    plain = fake_tensorrt.IRuntimeConfig

    def config(self: object) -> fake_tensorrt.IRuntimeConfig:
        made.append(plain())
        return made[-1]

    monkeypatch.setattr(fake_tensorrt.RtxEngine, "create_runtime_config", config)
    with loaded(relu, flavour="tensorrt-rtx") as at:
        assert run(at) == 2
    eager = fake_enums.DynamicShapesKernelSpecializationStrategy.EAGER
    assert [c.dynamic_shapes_kernel_specialization_strategy for c in made] == [eager]
