"""[pressure] and priorities in a configuration."""

from __future__ import annotations

import pytest

from edged.config.load import loads
from edged.config.schema import Config, PressureConfig
from edged.errors import ConfigError

LIVE = "{kind = 'pattern', rate = 30.0}"


def load(pressure: str = "", pipeline: str = "", source: str = LIVE) -> Config:
    return loads(
        f"[pipelines.front]\nsource = {source}\nmodel = 'm'\nsinks = ['s']\n{pipeline}\n"
        f"[models.m]\npath = 'm'\n[sinks.s]\nkind = 'zmq'\n{pressure}\n"
    )


def test_defaults() -> None:
    config = load()
    assert config.pressure == PressureConfig()
    assert config.pressure.causes == ("heat", "power", "deadlines")
    assert config.pipelines["front"].priority == 0
    assert config.warnings == ()


def test_good() -> None:
    config = load("[pressure]\ncelsius = { tj-thermal = 95 }\n[pressure.watts]\nVDD_IN = 25", "priority = -2")
    assert config.pressure.celsius == {"tj-thermal": 95.0}
    assert config.pressure.watts == {"VDD_IN": 25.0}
    assert config.pipelines["front"].priority == -2
    assert load("[pressure]\ncauses = []").pressure.causes == ()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("causes = ['heat', 'noise']", "pressure.causes[1]: 'noise' is unknown"),
        ("max_every = 1", "pressure.max_every: must be at least 2, got 1"),
        ("celsius = { tj = 'hot' }", "pressure.celsius.tj: must be a number, got 'hot'"),
        ("watts = { VDD_IN = 0 }", "pressure.watts.VDD_IN: must be above 0, got 0"),
        ("late_share = 1.0", "pressure.late_share: must be below 1, got 1"),
        ("limit = 3", "pressure.limit: unknown key"),
        (
            "hold_s = 60",
            "pressure.calm_s: is 30, less than hold_s = 60; make it as long at least",
        ),
    ],
)
def test_problems(keys: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"[pressure]\n{keys}")
    assert [str(p) for p in caught.value.problems if said in str(p)], caught.value


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            ("[pressure]\ncauses = ['heat']\nwatts = { A = 1 }", ""),
            'pressure.watts: has no effect: "power" is not in causes',
        ),
        (
            ("", "priority = 1", "{kind = 'pattern'}"),
            "pipelines.front.priority: has no effect: source 'front' is not live, so no frame is skipped",
        ),
    ],
)
def test_what_has_no_effect_is_told(config: tuple[str, ...], said: str) -> None:
    assert load(*config).warnings == (said,)
