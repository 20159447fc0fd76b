"""Under pressure live pipelines skip frames, the least important first; in a daemon, on a recorded sysfs."""

from __future__ import annotations

import logging
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.config.schema import PressureConfig
from edged.messages import Event
from edged.metrics import Snapshot
from edged.sensors.thread import Sensors
from edged.thinning import LEAST, PATIENT, Thinner, Window
from tests.sensors.trees import orin, zone
from tests.sensors.waits import await_temperature, write
from tests.test_daemon import World, check_accounts, running
from tests.test_pipeline import Rig

C = PressureConfig(hold_s=10, calm_s=30)


def rigs(**pipelines: dict[str, Any]) -> dict[str, Any]:
    return {name: Rig(**keys).pipeline for name, keys in pipelines.items()}


class TestThinner:
    def thinner(self, root: Path, options: PressureConfig = C) -> tuple[Thinner, Sensors]:
        """With readings of the tree, whose thread need not run on."""
        sensors = Sensors(root, period_s=0.01)
        return Thinner(options, sensors), sensors

    def test_each_step_is_told_with_the_pipelines_and_the_reason(self, tmp_path: Path) -> None:
        root = orin(tmp_path)
        write(zone(root, "gpu-thermal"), "97500")
        pipelines = rigs(front={"priority": 1}, left={}, right={})
        thinner, sensors = self.thinner(root)
        with sensors:
            await_temperature(sensors, "gpu-thermal", 97.5)
            said = [n.reason for t in (0, 10, 20, 30) for n in thinner.look(t, pipelines)]
            assert said == [
                *(
                    f"pipelines left, right: every {nth} frame: gpu-thermal at 97.5 °C, limit 95 °C"
                    for nth in ("2nd", "3rd", "4th")
                ),
                "pipeline front: every 2nd frame: gpu-thermal at 97.5 °C, limit 95 °C",
            ]
            assert thinner.use.every == {"front": 2, "left": 4, "right": 4}
            assert (thinner.use.level, thinner.use.most) == (4, 6)
            assert thinner.limited("pipeline left") == "every 4th frame: gpu-thermal at 97.5 °C, limit 95 °C"
            write(zone(root, "gpu-thermal"), "60000")
            await_temperature(sensors, "gpu-thermal", 60)
            news = [n for t in (61, 91, 121, 151) for n in thinner.look(t, pipelines)]
        assert news[0].reason == "pipeline front: every frame again: nothing near a limit for 30 s"
        assert [n.state for n in news] == ["degraded", "degraded", "degraded", "running"]
        assert thinner.limited("pipeline left") == ""
        assert thinner.limited("source a") == ""

    def test_only_live_pipelines_are_held_back(self, tmp_path: Path) -> None:
        root = orin(tmp_path)
        write(zone(root, "gpu-thermal"), "97500")
        pipelines = {"front": Rig().pipeline, "file": Rig(live=False).pipeline, "over": Rig().pipeline}
        pipelines["over"].close()
        thinner, sensors = self.thinner(root)
        with sensors:
            await_temperature(sensors, "gpu-thermal", 97.5)
            thinner.look(0, pipelines)
        assert thinner.use.every == {"front": 2}

    def test_when_all_that_are_held_back_end_it_is_over(self, tmp_path: Path) -> None:
        root = orin(tmp_path)
        write(zone(root, "gpu-thermal"), "97500")
        pipelines = rigs(front={})
        thinner, sensors = self.thinner(root)
        with sensors:
            await_temperature(sensors, "gpu-thermal", 97.5)
            thinner.look(0, pipelines)
            pipelines["front"].close()
            news = thinner.look(1, pipelines)
        assert [(n.state, n.reason) for n in news] == [("running", "there are fewer pipelines to hold back")]
        assert thinner.use.every == {}

    def test_a_sync_group_is_held_back_as_one(self, tmp_path: Path) -> None:
        pipelines = rigs(a={"sync_group": "rig"}, b={"sync_group": "rig", "priority": 2}, c={"priority": 1})
        root = orin(tmp_path)
        write(zone(root, "gpu-thermal"), "97500")
        thinner, sensors = self.thinner(root, msgspec.structs.replace(C, max_every=2))
        with sensors:
            await_temperature(sensors, "gpu-thermal", 97.5)
            thinner.look(0, pipelines)
            assert thinner.use.every == {"a": 1, "b": 1, "c": 2}
            thinner.look(10, pipelines)
            assert thinner.use.every == {"a": 2, "b": 2, "c": 2}

    def test_late_results_count_in_windows_and_anew_after_each_step(self, tmp_path: Path) -> None:
        pipelines = rigs(front={"deadline_ms": 80})
        p = pipelines["front"]
        thinner, _ = self.thinner(tmp_path)
        assert thinner.look(0, pipelines) == []
        p.inferred, p.late = 100, 50
        assert thinner.look(9.9, pipelines) == []
        said = [n.reason for n in thinner.look(10, pipelines)]
        why = "50% of the results of pipeline front older than 80 ms, limit 20%"
        assert said == [f"pipeline front: every 2nd frame: {why}"]
        assert [n for t in range(11, 40) for n in thinner.look(t, pipelines)] == []
        assert thinner.use.level == 1, "nothing was late since"
        assert thinner.look(41, pipelines) != []
        assert thinner.use.level == 0

    def test_alarms_of_before_the_start_are_history(self, tmp_path: Path) -> None:
        root = orin(tmp_path, oc3_event_cnt="7")
        pipelines = rigs(front={})
        thinner, sensors = self.thinner(root)
        with sensors:
            await_temperature(sensors, "gpu-thermal", 48.968)
            assert thinner.look(0, pipelines) == []
            write(root / "sys/class/hwmon/hwmon1/oc3_event_cnt", "8")
            write(
                zone(root, "gpu-thermal"), "49000"
            )  # zones are read before alarms: with this one, the new count
            await_temperature(sensors, "gpu-thermal", 49)
            said = [n.reason for t in (1, 2) for n in thinner.look(t, pipelines)]
        assert said == ["pipeline front: every 2nd frame: the supply was too weak (oc3)"]

    def test_a_limit_of_a_sensor_that_is_not_there_is_told_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        options = PressureConfig(celsius={"gpu-thermal": 90.0}, watts={"VIN": 25.0})
        thinner, sensors = self.thinner(orin(tmp_path), options)
        with caplog.at_level(logging.WARNING), sensors:
            thinner.look(0, {})
            await_temperature(sensors, "gpu-thermal", 48.968)
            thinner.look(1, {})
            thinner.look(2, {})
        there = "VDD_IN, VDD_CPU_GPU_CV, VDD_SOC"
        assert caplog.messages == [f"pressure.watts: no sensor 'VIN' answers now; there are: {there}"]


class TestWindow:
    def test_it_waits_for_enough_results_but_not_forever(self) -> None:
        w = Window(0, 0, 0)
        w.look(10, LEAST - 1, LEAST - 1, 10)
        assert w.share == 0.0
        w.look(PATIENT * 10, LEAST - 1, LEAST - 1, 10)
        assert w.share == 1.0
        w.look(2 * PATIENT * 10, LEAST - 1, LEAST - 1, 10)
        assert w.share == 0.0, "one that gives nothing any more is not late"


def test_heat_degrades_a_daemon_and_calm_undoes_it(tmp_path: Path) -> None:
    """On a real source at its own rate: frames are skipped and counted, the least important pipeline's first."""
    world = World(tmp_path)
    world.model()
    world.sink()
    world.pattern("a", rate=100.0)
    world.pattern("b", rate=100.0)
    world.pipeline("front", "a", priority=1)
    world.pipeline("rear", "b")
    options = PressureConfig(max_every=3, hold_s=0.05, calm_s=0.1)
    world.config = msgspec.structs.replace(world.config, pressure=options)
    root = orin(tmp_path / "root")
    hot, cool, well = threading.Event(), threading.Event(), threading.Event()

    def on_event(event: Event) -> None:
        pressure = daemon.snapshot().pressure
        if pressure.level == pressure.most > 0:
            hot.set()
        if hot.is_set() and (event.unit, event.state) == ("pressure", "running"):
            cool.set()
        if cool.is_set() and (event.unit, event.state) == ("pipeline rear", "running"):
            well.set()

    world.on_event = on_event
    sensors = Sensors(root, period_s=0.01)
    daemon = world.daemon(sensors=sensors)
    with sensors, running(daemon):
        world.sinks["bus"].wait_for(20)
        assert daemon.snapshot().pressure.every == {"front": 1, "rear": 1}
        assert daemon.snapshot().pipelines["rear"].skipped == 0
        write(zone(root, "gpu-thermal"), "97500")
        assert hot.wait(20)
        began = len(world.results("rear"))
        world.sinks["bus"].wait_for(len(world.sinks["bus"].messages) + 40)
        seqs = world.seqs("rear")[began:]
        snapshot = daemon.snapshot()
        write(zone(root, "gpu-thermal"), "50000")
        assert cool.wait(20)
        assert well.wait(20)
    assert snapshot.pressure.every == {"front": 3, "rear": 3}
    sent = msgspec.json.decode(msgspec.json.encode(snapshot), type=Snapshot)
    assert (sent.sensors, sent.pressure) == (snapshot.sensors, snapshot.pressure)
    assert len(seqs) > 2
    assert all(b - a >= 3 for a, b in pairwise(seqs)), "every third, or less where one gave way"
    rear = snapshot.pipelines["rear"]
    assert rear.skipped > 0
    assert rear.state == "degraded"
    assert rear.reason.endswith("frame: gpu-thermal at 97.5 °C, limit 95 °C")
    assert any((r.kind, r.name) == ("temperature", "gpu-thermal") for r in snapshot.sensors)
    steps = [e.reason.partition(" frame")[0] for e in world.events if e.unit == "pressure"]
    assert steps == [
        "pipeline rear: every 2nd",
        "pipeline rear: every 3rd",
        "pipeline front: every 2nd",
        "pipeline front: every 3rd",
        "pipeline front: every 2nd",
        "pipeline front: every",
        "pipeline rear: every 2nd",
        "pipeline rear: every",
    ]
    told = [e.reason for e in world.events if e.unit == "pipeline rear" and e.state == "degraded"]
    assert told[0].startswith("every 2nd frame: gpu-thermal")
    assert daemon.snapshot().pressure.level == 0
    check_accounts(daemon)
