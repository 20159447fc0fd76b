"""The pressure as a pure function: it climbs step by step, the lowest priority first, and comes back to 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.config.schema import PressureConfig
from edged.pressure import Facts, Late, Pressure, every, levels, ordinal, step, worst
from edged.sensors.readings import UNITS, Reading

C = PressureConfig(hold_s=10, calm_s=30)
quiet = settings(deadline=None)  # on a machine that others use, too


def zone(value: float, limit: float | None = 99.0, name: str = "gpu-thermal") -> Reading:
    return Reading(kind="temperature", name=name, value=value, unit=UNITS["temperature"], limit=limit)


def rail(value: float) -> Reading:
    return Reading(kind="power", name="VDD_IN", value=value, unit=UNITS["power"])


def hot(celsius: float) -> Facts:
    return Facts([zone(celsius)])


CALM, NEAR, HOT = hot(50), hot(92), hot(97.5)


class TestEvidence:
    @pytest.mark.parametrize(
        ("facts", "keys", "text", "over"),
        [
            (HOT, {}, "gpu-thermal at 97.5 °C, limit 95 °C", True),
            (hot(95), {}, "gpu-thermal at 95.0 °C, limit 95 °C", True),
            (hot(94.9), {}, "gpu-thermal at 94.9 °C, limit 95 °C", False),
            (hot(90.1), {}, "gpu-thermal at 90.1 °C, limit 95 °C", False),
            (hot(90), {}, None, False),
            (Facts([zone(98, limit=None)]), {}, None, False),
            (Facts([zone(80)]), {"celsius": {"gpu-thermal": 75.0}}, "gpu-thermal at 80.0 °C, limit 75", True),
            (Facts([zone(98)]), {"celsius": {"gpu-thermal": 110.0}}, None, False),
            (Facts([zone(80), zone(97, name="cpu")]), {}, "cpu at 97.0 °C, limit 95 °C", True),
            (Facts([rail(99)]), {}, None, False),
            (Facts([rail(26)]), {"watts": {"VDD_IN": 25.0}}, "VDD_IN at 26.0 W, limit 25 W", True),
            (Facts([rail(24)]), {"watts": {"VDD_IN": 25.0}}, "VDD_IN at 24.0 W, limit 25 W", False),
            (Facts([rail(22)]), {"watts": {"VDD_IN": 25.0}}, None, False),
            (Facts(alarms={"oc1": 0, "oc3": 2}), {}, "the supply was too weak (oc3)", True),
            (
                Facts(late={"front": Late(0.4, 150)}),
                {},
                "40% of the results of pipeline front older than 150 ms, limit 20%",
                True,
            ),
            (Facts(late={"front": Late(0.2, 150)}), {}, "20% of", False),
            (Facts(late={"front": Late(0.1, 150)}), {}, None, False),
            (Facts(late={"front": Late(0.01, 150)}), {"late_share": 0.0}, "1% of", True),
            (Facts(late={"front": Late(0.0, 150)}), {"late_share": 0.0}, None, False),
        ],
    )
    def test_what_counts(self, facts: Facts, keys: dict[str, Any], text: str | None, over: bool) -> None:
        found = worst(facts, msgspec.structs.replace(C, **keys))
        assert (found is None) == (text is None)
        if found is not None and text is not None:
            assert text in found.text
            assert found.over == over

    @pytest.mark.parametrize("cause", ["heat", "power", "deadlines"])
    def test_a_cause_that_is_switched_off_is_not_looked_at(self, cause: Any) -> None:
        facts = Facts([zone(97)], {"front": Late(1.0, 10)}, {"oc1": 1})
        found = worst(facts, PressureConfig(causes=(cause,)))
        assert found is not None
        assert found.text.startswith({"heat": "gpu", "power": "the supply", "deadlines": "100%"}[cause])
        assert worst(facts, PressureConfig(causes=())) is None


def run(facts: Sequence[tuple[float, Facts]], most: int = 3, c: PressureConfig = C) -> list[Pressure]:
    """The pressure after each of (now, what is known)."""
    p, out = Pressure(), []
    for now, f in facts:
        p = step(p, now, f, most, c)
        out.append(p)
    return out


def test_heat_leads_up_a_step_at_a_time_and_calm_back() -> None:
    seen = run([(t, HOT if t < 25 else CALM) for t in range(160)])
    changes = [(t, b.level) for t, (a, b) in enumerate(pairwise([Pressure(), *seen])) if a.level != b.level]
    assert changes == [(0, 1), (10, 2), (20, 3), (54, 2), (84, 1), (114, 0)]
    assert seen[0].reason == "gpu-thermal at 97.5 °C, limit 95 °C"
    assert seen[113].reason, "until it is undone"
    assert seen[114].reason == ""


def test_near_the_limit_nothing_changes() -> None:
    seen = run([(0, HOT), *((t, NEAR) for t in range(1, 1000))])
    assert {p.level for p in seen} == {1}


def test_a_reading_that_is_absent_for_a_moment_undoes_nothing() -> None:
    seen = run([(t, Facts() if t % 29 else NEAR) for t in range(1, 600)], c=C)
    assert {p.level for p in seen} == {0}
    seen = run([(0, HOT), *((t, Facts() if t % 29 else NEAR) for t in range(1, 600))])
    assert {p.level for p in seen} == {1}


def test_when_pipelines_go_the_level_is_one_that_there_is() -> None:
    p = Pressure(level=6, reason="hot", changed_s=0, pressed_s=0)
    assert step(p, 1, HOT, 3, C).level == 3
    gone = step(p, 1, HOT, 0, C)
    assert (gone.level, gone.reason) == (0, "")


def test_without_live_pipelines_there_is_no_level() -> None:
    assert {p.level for p in run([(t, HOT) for t in range(100)], most=levels([], C))} == {0}


facts = st.sampled_from([CALM, NEAR, HOT, Facts(), Facts(alarms={"oc1": 1}), Facts(late={"a": Late(1, 9)})])
times = st.lists(st.tuples(st.floats(0, 40), facts), max_size=200)
configs = st.builds(
    lambda hold, more, n: PressureConfig(hold_s=hold, calm_s=hold + more, max_every=n),
    st.floats(0.1, 30),
    st.floats(0, 60),
    st.integers(2, 6),
)


def timed(gaps: list[tuple[float, Facts]]) -> list[tuple[float, Facts]]:
    now, out = 0.0, []
    for gap, f in gaps:
        now += gap
        out.append((now, f))
    return out


@quiet
@given(times, configs, st.integers(0, 8))
def test_never_two_changes_within_the_hold_time_and_one_level_at_a_time(
    gaps: list[tuple[float, Facts]], c: PressureConfig, most: int
) -> None:
    moments = timed(gaps)
    seen = [Pressure(), *run(moments, most, c)]
    changed = -math.inf
    for (now, f), (a, b) in zip(moments, pairwise(seen), strict=True):
        assert abs(a.level - b.level) <= 1
        assert 0 <= b.level <= most
        assert bool(b.level) == bool(b.reason)
        if a.level == b.level:
            continue
        assert now - changed >= (c.hold_s if b.level > a.level else c.calm_s) - 1e-6
        changed = now
        evidence = worst(f, c)
        assert (evidence is not None and evidence.over) == (b.level > a.level)


@quiet
@given(times, configs, st.integers(0, 8))
def test_calm_brings_everything_back(gaps: list[tuple[float, Facts]], c: PressureConfig, most: int) -> None:
    moments = timed(gaps)
    end = moments[-1][0] if moments else 0.0
    moments += [(end + n * (c.calm_s + 0.001), CALM) for n in range(1, most + 2)]
    assert run(moments, most, c)[-1].level == 0


@quiet
@given(times, configs, st.dictionaries(st.sampled_from("abcdef"), st.integers(-3, 3), min_size=1))
def test_a_lower_priority_is_always_thinned_at_least_as_much(
    gaps: list[tuple[float, Facts]], c: PressureConfig, priorities: dict[str, int]
) -> None:
    most = levels(priorities.values(), c)
    for p in [Pressure(), *run(timed(gaps), most, c)]:
        thinned = every(p.level, priorities, c)
        for a, b in pairwise(sorted(priorities, key=priorities.__getitem__)):
            assert thinned[a] >= thinned[b]
            assert priorities[a] < priorities[b] or thinned[a] == thinned[b]
        assert all(1 <= n <= c.max_every for n in thinned.values())
        assert (p.level == 0) == (set(thinned.values()) == {1})


def test_the_lowest_goes_all_the_way_before_the_next_begins() -> None:
    priorities = {"front": 5, "left": 0, "right": 0}
    assert levels(priorities.values(), C) == 6
    seen = [tuple(every(level, priorities, C).values()) for level in range(7)]
    assert seen == [(1, 1, 1), (1, 2, 2), (1, 3, 3), (1, 4, 4), (2, 4, 4), (3, 4, 4), (4, 4, 4)]


def test_ordinals() -> None:
    assert [ordinal(n) for n in (2, 3, 4, 11, 12, 21, 22, 100)] == [
        *("2nd", "3rd", "4th", "11th", "12th", "21st", "22nd", "100th")
    ]
