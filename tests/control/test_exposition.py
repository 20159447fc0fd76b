"""GET /metrics, as Prometheus's own parsers read it."""

from __future__ import annotations

import math

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from edged.control.answers import Status
from edged.control.exposition import exposition
from edged.metrics import AGES_S, PressureUse, Snapshot
from edged.sensors.readings import Reading
from tests.control.fake import FakeSteering, Served
from tests.control.http import ask

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def status(snapshot: Snapshot | None = None) -> Status:
    return Status(
        device="robot-7",
        session_id="s1",
        version="0.1.0",
        pid=1,
        uptime_s=3.5,
        ready="",
        alive="",
        snapshot=snapshot or FakeSteering().snapshot(),
    )


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (s.name, frozenset(s.labels.items())): s.value for family in prometheus(text) for s in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, frozenset(labels.items())]


def told(snapshot: Snapshot | None = None) -> str:
    return exposition(status(snapshot), "")[0].decode()


def test_counts_are_those_of_the_snapshot() -> None:
    text = told()
    outcomes = {"inferred": 100, "dropped": 2, "failed": 1, "skipped": 5, "lost": 4}
    for outcome, count in outcomes.items():
        assert value(text, "edged_frames_total", pipeline="front", outcome=outcome) == count
    assert value(text, "edged_pipeline_state", pipeline="front", state="running") == 1
    assert value(text, "edged_pipeline_state", pipeline="front", state="faulted") == 0
    assert value(text, "edged_source_faults_total", source="front") == 1
    assert value(text, "edged_messages_total", sink="bus", outcome="published") == 7
    assert value(text, "edged_region_bytes", owner="source front") == 4096
    assert value(text, "edged_uptime_seconds") == 3.5
    assert value(text, "edged_info", device="robot-7", version="0.1.0", session_id="s1") == 1


def test_ages_are_a_histogram_and_stages_a_summary_in_seconds() -> None:
    text = told()
    buckets = [value(text, "edged_result_age_seconds_bucket", pipeline="front", le=str(b)) for b in AGES_S]
    assert buckets == sorted(buckets)
    assert value(text, "edged_result_age_seconds_bucket", pipeline="front", le="+Inf") == 100
    assert value(text, "edged_result_age_seconds_count", pipeline="front") == 100
    assert value(text, "edged_result_age_seconds_sum", pipeline="front") == 2.0
    assert value(text, "edged_stage_seconds", pipeline="front", stage="infer", quantile="0.99") == 0.031
    assert value(text, "edged_stage_seconds_sum", pipeline="front", stage="infer") == 2.0


def test_what_is_not_known_is_absent() -> None:
    text = told()
    assert 'stage="preprocess",quantile' not in text.replace(" ", "")
    assert not [k for k in samples(text) if ("stage", "preprocess") in k[1] and k[0] == "edged_stage_seconds"]
    empty = Snapshot(at=0, wall_s=0.0, pipelines={}, sources={}, sinks={}, regions={})
    names = {name for name, _ in samples(told(empty))}
    assert names == {
        "edged_info",
        "edged_uptime_seconds",
        "edged_ready",
        "edged_alive",
        "edged_pressure_level",
    }


def test_sensors_have_a_metric_a_kind() -> None:
    readings = (
        Reading(kind="temperature", name="cpu-thermal", value=51.5, unit="celsius"),
        Reading(kind="temperature", name="gpu-thermal", value=49.0, unit="celsius"),
        Reading(kind="power", name="VDD_IN", value=7.25, unit="watts"),
        Reading(kind="overcurrents", name="VDD_IN", value=2, unit="total"),
    )
    text = told(msgspec.structs.replace(FakeSteering().snapshot(), sensors=readings))
    assert value(text, "edged_temperature_celsius", sensor="gpu-thermal") == 49.0
    assert value(text, "edged_power_watts", sensor="VDD_IN") == 7.25
    assert value(text, "edged_overcurrents_total", sensor="VDD_IN") == 2
    assert text.count("# TYPE edged_temperature_celsius gauge") == 1
    assert "# TYPE edged_overcurrents_total counter" in text


def test_pressure_and_late_results() -> None:
    pressure = PressureUse(level=2, most=4, reason="hot", every={"front": 3})
    text = told(msgspec.structs.replace(FakeSteering().snapshot(), pressure=pressure))
    assert value(text, "edged_pressure_level") == 2
    assert value(text, "edged_pressure_every", pipeline="front") == 3
    assert value(text, "edged_late_results_total", pipeline="front") == 0


def test_names_that_need_escapes_are_read_back() -> None:
    snapshot = FakeSteering().snapshot()
    odd = 'a "quoted" \\ name\nof two lines'
    snapshot = msgspec.structs.replace(snapshot, regions={odd: snapshot.regions["source front"]})
    assert value(told(snapshot), "edged_region_bytes", owner=odd) == 4096


@pytest.mark.parametrize("accept", ["", "text/plain", OPENMETRICS, "*/*"])
def test_every_form_is_read_by_its_parser_and_has_no_nan(api: Served, accept: str) -> None:
    answer = ask(api.path, "GET", "/metrics", headers={"Accept": accept})
    assert answer.status == 200
    is_open = answer.headers["content-type"].startswith("application/openmetrics-text")
    assert is_open == (accept == OPENMETRICS)
    families = list((openmetrics if is_open else prometheus)(answer.body.decode()))
    assert len(families) > 15
    assert all(not math.isnan(s.value) for f in families for s in f.samples)
    assert all(f.documentation and f.name.startswith("edged") for f in families)
