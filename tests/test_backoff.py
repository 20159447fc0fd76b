from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edged.backoff import JITTER, Backoff


def test_waits_double_up_to_the_cap() -> None:
    b = Backoff(first_s=0.2, cap_s=2.0)
    assert [b.delay_s(n, 0.0) for n in (1, 2, 3, 4, 5, 6)] == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_within_its_jitter_of_the_step(failures: int, chance: float) -> None:
    b = Backoff(first_s=0.5, cap_s=10.0)
    whole, waited = b.delay_s(failures, 0.0), b.delay_s(failures, chance)
    assert whole * (1 - JITTER) <= waited <= whole <= 10.0
