"""What is found and read below a recorded sysfs, and that what is absent is absent."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from edged.sensors import thread
from edged.sensors.discover import discover, look
from edged.sensors.hwmon import total_w
from edged.sensors.readings import KINDS, UNITS, Reading
from edged.sensors.thread import Sensors
from tests.doctor.trees import tree
from tests.sensors.trees import REFUSES, orin, zone
from tests.sensors.waits import await_temperature, write


def read(root: Path) -> dict[tuple[str, str], Reading]:
    return {(r.kind, r.name): r for r in look(root)}


def test_all_of_an_orin(tmp_path: Path) -> None:
    values = {k: r.value for k, r in read(orin(tmp_path)).items()}
    assert values == {
        ("temperature", "cpu-thermal"): 51.312,
        ("temperature", "gpu-thermal"): 48.968,
        ("temperature", "soc0-thermal"): 49.062,
        ("temperature", "soc1-thermal"): 48.593,
        ("temperature", "soc2-thermal"): 48.718,
        ("temperature", "tj-thermal"): 51.312,
        ("throttling", "cpufreq-cpu0"): 0,
        ("throttling", "cpufreq-cpu4"): 0,
        ("throttling", "devfreq-17000000.gpu"): 0,
        ("voltage", "VDD_IN"): 5.032,
        ("current", "VDD_IN"): 1.512,
        ("power", "VDD_IN"): 7.608384,
        ("voltage", "VDD_CPU_GPU_CV"): 5.024,
        ("current", "VDD_CPU_GPU_CV"): 0.392,
        ("power", "VDD_CPU_GPU_CV"): 1.969408,
        ("voltage", "VDD_SOC"): 5.024,
        ("current", "VDD_SOC"): 0.496,
        ("power", "VDD_SOC"): 2.491904,
        ("overcurrents", "oc1"): 0,
        ("overcurrents", "oc2"): 0,
        ("overcurrents", "oc3"): 0,
        ("fan_speed", "pwm_tach"): 2045,
        ("fan_duty", "pwmfan"): 0.4,
        ("frequency", "gpu"): 624_750_000,
        ("frequency", "nvenc"): 0,
        ("frequency", "vic"): 729_600_000,
        ("load", "gpu"): 0.437,
        ("frequency", "cpu0"): 1_190_400_000,
        ("frequency", "cpu4"): 1_190_400_000,
    }


def test_limits_are_the_kernels_own(tmp_path: Path) -> None:
    found = read(orin(tmp_path))
    gpu, tj = found["temperature", "gpu-thermal"], found["temperature", "tj-thermal"]
    assert (gpu.limit, gpu.critical) == (99.0, 104.5)
    assert (tj.limit, tj.critical) == (None, 104.5), "its other trip points switch the fan"
    assert found["frequency", "gpu"].limit == 1_020_000_000
    assert found["frequency", "cpu0"].limit == 1_728_000_000
    assert found["throttling", "cpufreq-cpu0"].limit == 28


def test_units_follow_from_the_kind(tmp_path: Path) -> None:
    found = read(orin(tmp_path))
    assert set(UNITS) == set(KINDS)
    assert {kind for kind, _ in found} == set(KINDS), "the tree has every kind"
    assert all(r.unit == UNITS[r.kind] for r in found.values())


def test_the_boards_own_rail_is_the_total(tmp_path: Path) -> None:
    assert total_w(look(orin(tmp_path))) == pytest.approx(7.608384)
    assert total_w(look(tmp_path / "nowhere")) is None


def test_a_machine_without_sensors_has_no_readings(tmp_path: Path) -> None:
    assert discover(tmp_path) == ()


@pytest.mark.parametrize("text", [None, "?", "", "hot", "-256000"])
def test_what_does_not_answer_is_absent_that_time(tmp_path: Path, text: str | None) -> None:
    root = orin(tmp_path)
    sensors = discover(root)
    file = zone(root, "gpu-thermal")
    file.unlink()
    if text == "?":
        file.symlink_to(REFUSES)
    elif text is not None:
        file.write_text(text)
    gpu = next(s for s in sensors if (s.kind, s.name) == ("temperature", "gpu-thermal"))
    assert gpu.read() is None
    file.unlink(missing_ok=True)
    file.write_text("61000")
    again = gpu.read()
    assert again is not None
    assert again.value == 61.0, "it is not forgotten"


def test_a_rail_that_is_switched_off_has_no_watts(tmp_path: Path) -> None:
    found = read(orin(tmp_path, hwmon0__curr3_input="?"))
    assert ("voltage", "VDD_SOC") in found
    assert ("current", "VDD_SOC") not in found
    assert ("power", "VDD_SOC") not in found


def test_an_ina238_tells_watts_itself_and_is_named_by_its_device_tree(tmp_path: Path) -> None:
    h = "sys/class/hwmon/hwmon5"
    files = {
        f"{h}/name": "ina238",
        f"{h}/label": "VIN",
        f"{h}/in0_input": "12",  # of the shunt
        f"{h}/in1_input": "19000",
        f"{h}/curr1_input": "2100",
        f"{h}/power1_input": "39800000",
    }
    found = read(tree(tmp_path, files))
    assert {k: r.value for k, r in found.items()} == {
        ("voltage", "VIN"): 19.0,
        ("current", "VIN"): 2.1,
        ("power", "VIN"): 39.8,
    }


def test_names_that_repeat_are_numbered(tmp_path: Path) -> None:
    files = {f"sys/class/thermal/thermal_zone{n}/type": "acpitz" for n in (2, 10, 0)}
    files |= {f"sys/class/thermal/thermal_zone{n}/temp": f"{30_000 + n}" for n in (2, 10, 0)}
    names = {r.name: r.value for r in look(tree(tmp_path, files))}
    assert names == {"acpitz": 30.0, "acpitz 2": 30.002, "acpitz 3": 30.01}


def test_names_do_not_depend_on_the_numbers_of_hwmon_devices(tmp_path: Path) -> None:
    before = {(s.kind, s.name) for s in discover(orin(tmp_path))}
    hwmon = tmp_path / "sys/class/hwmon"
    for was, now in (("hwmon0", "hwmon9"), ("hwmon3", "hwmon0"), ("hwmon9", "hwmon3")):
        (hwmon / was).rename(hwmon / now)
    assert {(s.kind, s.name) for s in discover(tmp_path)} == before


class TestThread:
    def test_readings_come_and_follow_what_the_files_say(self, tmp_path: Path) -> None:
        root = orin(tmp_path)
        with Sensors(root, period_s=0.01) as sensors:
            await_temperature(sensors, "gpu-thermal", 48.968)
            write(zone(root, "gpu-thermal"), "97500")
            await_temperature(sensors, "gpu-thermal", 97.5)

    def test_it_ends_when_told(self, tmp_path: Path) -> None:
        with Sensors(orin(tmp_path), period_s=100):
            assert "sensors" in {t.name for t in threading.enumerate()}
        assert "sensors" not in {t.name for t in threading.enumerate()}

    def test_before_it_starts_there_are_none_and_stopping_is_legal(self, tmp_path: Path) -> None:
        sensors = Sensors(orin(tmp_path))
        assert sensors.readings == ()
        sensors.stop()

    def test_a_driver_that_hangs_holds_up_nobody_and_its_readings_grow_old(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(thread, "STALE_S", 0.0)
        monkeypatch.setattr(thread, "JOIN_S", 0.01)
        root = orin(tmp_path)
        file = zone(root, "gpu-thermal")
        file.unlink()
        os.mkfifo(file)  # opening it waits for a writer
        sensors = Sensors(root)
        sensors.start()
        sensors.stop()
        assert sensors.readings == ()
        file.write_text("50000")  # lets the thread go
        sensors._thread.join(10)
        assert not sensors._thread.is_alive()
        assert sensors.readings == ()
