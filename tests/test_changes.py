"""What is different between two configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.changes import Delta, Difference, difference
from edged.config.schema import (
    Backend,
    Config,
    ControlConfig,
    DeviceConfig,
    ModelConfig,
    PipelineConfig,
    RuntimeConfig,
    SyncConfig,
)
from edged.errors import ConfigError
from edged.models.model import Model, OutputSpec
from edged.tensors import ImageInput


def model(sha256: str = "a") -> Model:
    return Model(
        Path("/m"), "tiny", "1", "raw", Path("/m/m.onnx"), sha256, ImageInput("x", (6, 4)), OutputSpec("raw")
    )


MODELS = {"m": model(), "n": model("n")}


def entry(kind: str = "fake") -> Backend:
    return Backend(kind=kind, options=None)


BASE = Config(
    models={"m": ModelConfig(path="/m"), "n": ModelConfig(path="/n")},
    sources={"a": entry(), "b": entry(), "idle": entry()},
    sinks={"bus": entry()},
    sync_groups={"rig": SyncConfig()},
    pipelines={
        "one": PipelineConfig(source="a", model="m", sinks=("bus",)),
        "two": PipelineConfig(source="b", model="m", sync_group="rig"),
        "three": PipelineConfig(source="a", model="n", sync_group="rig"),
    },
)


def put(config: Config, group: str, **entries: Any) -> Config:
    """With these entries; None takes one away."""
    table = {**getattr(config, group), **entries}
    return msgspec.structs.replace(config, **{group: {k: v for k, v in table.items() if v is not None}})


def diff(new: Config, models: dict[str, Model] = MODELS, **keys: Any) -> Difference:
    return difference(BASE, new, MODELS, models, **keys)


def test_equal_configurations_differ_in_nothing() -> None:
    assert diff(put(BASE, "sinks")) == Difference()


def test_what_no_pipeline_uses_is_no_part() -> None:
    assert diff(put(BASE, "sources", idle=entry("pattern"), more=entry())) == Difference()


def test_what_stands_on_a_replaced_part_is_replaced_with_it() -> None:
    what = diff(put(BASE, "sources", a=entry("pattern")))
    assert what.sources == Delta(("a",), ("a",))
    assert what.pipelines == Delta(("one", "three"), ("one", "three"))
    assert what.models == what.sinks == what.sync_groups == Delta()
    what = diff(put(BASE, "models", m=ModelConfig(path="/m", instances=2)))
    assert (what.models, what.pipelines.start) == (Delta(("m",), ("m",)), ("one", "two"))


def test_a_model_whose_file_is_another_is_another() -> None:
    assert diff(BASE, {**MODELS, "m": model("b")}).models == Delta(("m",), ("m",))


def test_sinks_alone_replace_no_pipeline() -> None:
    log = PipelineConfig(source="a", model="m", sinks=("log",))
    what = diff(put(put(BASE, "sinks", log=entry()), "pipelines", one=log))
    assert what == Difference(sinks=Delta(("log",), ()))


def test_a_sync_group_is_replaced_with_its_tolerance_or_its_members() -> None:
    what = diff(put(BASE, "sync_groups", rig=SyncConfig(tolerance_ms=1.0)))
    assert what.pipelines.start == ("two", "three")
    what = diff(put(BASE, "pipelines", three=None))
    assert what.pipelines == Delta(("two",), ("two", "three"))
    assert (what.models, what.sources) == (Delta((), ("n",)), Delta())


def test_a_source_that_is_over_is_opened_again_for_a_new_pipeline_alone() -> None:
    assert diff(BASE, over={"a"}) == Difference()
    what = diff(put(BASE, "pipelines", more=PipelineConfig(source="a", model="m")), over={"a", "b"})
    assert what.sources == Delta(("a",), ("a",))
    assert what.pipelines.start == ("one", "three", "more")
    assert diff(BASE, restart={"b"}).pipelines.start == ("two",)


@pytest.mark.parametrize(
    ("section", "value", "path"),
    [
        ("device", DeviceConfig(id="other"), "device.id"),
        ("runtime", RuntimeConfig(memory_budget=1), "runtime.memory_budget"),
        ("control", ControlConfig(confirm_s=2.0), "control.confirm_s"),
    ],
)
def test_what_holds_for_the_whole_process_is_refused(section: str, value: object, path: str) -> None:
    with pytest.raises(ConfigError) as e:
        diff(msgspec.structs.replace(BASE, **{section: value}))
    (problem,) = e.value.problems
    assert problem.path == path
    assert problem.hint == "restart edged with this file"


ENTRIES = st.sampled_from([entry("fake"), entry("pattern")])
CONFIGS = st.builds(
    lambda sources, sinks, tolerances, pipelines: Config(
        models=BASE.models,
        sources=sources,
        sinks=sinks,
        sync_groups={n: SyncConfig(tolerance_ms=t) for n, t in tolerances.items()},
        pipelines=pipelines,
    ),
    st.fixed_dictionaries({"a": ENTRIES, "b": ENTRIES}),
    st.dictionaries(st.sampled_from("xy"), ENTRIES),
    st.fixed_dictionaries({"rig": st.sampled_from([1.0, 2.0])}),
    st.dictionaries(
        st.sampled_from("pqr"),
        st.builds(
            lambda source, model, every, group: PipelineConfig(
                source=source, model=model, every=every, sync_group=group
            ),
            st.sampled_from("ab"),
            st.sampled_from("mn"),
            st.sampled_from([1, 2]),
            st.sampled_from([None, "rig"]),
        ),
    ),
)


@given(CONFIGS, CONFIGS, st.sets(st.sampled_from("ab")), st.sets(st.sampled_from("ab")))
def test_starts_and_stops_lead_from_one_set_of_parts_to_the_other(
    old: Config, new: Config, restart: set[str], over: set[str]
) -> None:
    what = difference(old, new, MODELS, MODELS, restart=restart, over=over)
    used = {
        "sources": ({p.source for p in old.pipelines.values()}, {p.source for p in new.pipelines.values()}),
        "models": ({p.model for p in old.pipelines.values()}, {p.model for p in new.pipelines.values()}),
        "pipelines": ({*old.pipelines}, {*new.pipelines}),
        "sinks": ({*old.sinks}, {*new.sinks}),
    }
    for group, (before, after) in used.items():
        delta: Delta = getattr(what, group)
        assert before - {*delta.stop} | {*delta.start} == after, group
        assert {*delta.start} & before <= {*delta.stop}, "what is replaced stops, too"
    for name, p in new.pipelines.items():
        stays = name not in what.pipelines.start
        assert not stays or old.pipelines[name] == p
        assert not stays or p.source not in what.sources.start
        assert not stays or p.model not in what.models.start
    assert not difference(new, new, MODELS, MODELS).pipelines.names
