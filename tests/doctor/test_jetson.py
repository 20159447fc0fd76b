"""Power mode, clocks, heat and throttling, on trees as a Jetson has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from edged.doctor import jetson
from edged.doctor.base import Outcome
from edged.doctor.place import Place
from tests.doctor.trees import ORIN, tree

Look = Callable[[Place], Iterable[Outcome]]
PASSIVE = "thermal_zone0__temp"


def look(check: Look, root: Path, **changes: str | None) -> list[tuple[str, str, str]]:
    return [(o.state, o.text, o.remedy) for o in check(Place(root=tree(root, ORIN, **changes)))]


def test_a_good_jetson(tmp_path: Path) -> None:
    model = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert look(jetson.jetson, tmp_path) == [("pass", f"{model}, L4T 36.4.3", "")]
    assert look(jetson.power_mode, tmp_path) == [("pass", "power mode 2 (MAXN_SUPER), cores 0-5", "")]
    assert look(jetson.clocks, tmp_path) == [("pass", "GPU 17000000.gpu: fixed at 1020 MHz", "")]
    assert look(jetson.heat, tmp_path) == [
        ("pass", "1 zones, the hottest cpu-thermal at 49.8 °C; 7.5 W at the input", "")
    ]
    assert look(jetson.throttling, tmp_path) == [("pass", "none of 1 cooling devices is at work", "")]


@pytest.mark.parametrize(
    ("check", "changes", "state", "text", "remedy"),
    [
        (
            jetson.jetson,
            {"nv_tegra_release": "# R35 (release), REVISION: 5.0"},
            "warn",
            "L4T 35.5.0",
            "JetPack 6",
        ),
        (
            jetson.jetson,
            {"nv_tegra_release": None},
            "warn",
            "does not tell its release",
            "dpkg -l nvidia-l4t-core",
        ),
        (
            jetson.power_mode,
            {"nvpmodel__status": "pmode:0000"},
            "warn",
            "mode 0 (15W)",
            "sudo nvpmodel -m 2 ",
        ),
        (jetson.power_mode, {"nvpmodel__status": None}, "warn", "has not said", "sudo nvpmodel -q"),
        (
            jetson.clocks,
            {"gpu__min_freq": "306000000"},
            "warn",
            "306 to 1020 MHz by load, now 1020",
            "jetson_clocks",
        ),
        (
            jetson.clocks,
            {"scaling_min_freq": "729600"},
            "warn",
            "cores (policy0) follow the load",
            "jetson_clocks",
        ),
        (jetson.clocks, {"gpu__max_freq": "fast"}, "fail", "does not tell its clocks", "ls -l"),
        (jetson.heat, {PASSIVE: "99100"}, "warn", "from 99 °C on it is slowed down", "cool it"),
        (jetson.heat, {PASSIVE: "95000"}, "warn", "near 99 °C", "cool it"),
        (
            jetson.heat,
            {PASSIVE: "104500"},
            "fail",
            "104.5 °C: at 104.5 °C the machine ends itself",
            "cool it",
        ),
        (
            jetson.throttling,
            {"device1__cur_state": "5"},
            "warn",
            "cpufreq-cpu0 is at step 5 of 28",
            "cool it",
        ),
        (jetson.throttling, {"device1__cur_state": "28"}, "fail", "step 28 of 28", "cool it"),
        (
            jetson.throttling,
            {"oc3_event_cnt": "7"},
            "warn",
            "too weak 7 times since boot (oc3)",
            "stronger supply",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(
    tmp_path: Path, check: Look, changes: dict[str, str | None], state: str, text: str, remedy: str
) -> None:
    first = next((o for o in look(check, tmp_path, **changes) if o[0] != "pass"), None)
    assert first is not None
    assert first[0] == state
    assert text in first[1]
    assert remedy in f"{first[2]} "


@pytest.mark.parametrize(
    "check", [jetson.jetson, jetson.power_mode, jetson.clocks, jetson.heat, jetson.throttling]
)
def test_elsewhere_it_is_not_here(tmp_path: Path, check: Look) -> None:
    assert [o.state for o in check(Place(root=tmp_path))] == ["not here"]
