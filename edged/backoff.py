"""How long to wait before something that failed is tried again."""

from __future__ import annotations

from dataclasses import dataclass

JITTER = 0.25  # at most so much shorter, so that things that failed together do not come back together


@dataclass(frozen=True, slots=True)
class Backoff:
    """Capped exponential back-off with jitter: `first_s`, twice that, and so on, never above `cap_s`."""

    first_s: float
    cap_s: float

    def delay_s(self, failures: int, chance: float) -> float:
        """The wait after the `failures`-th failure in a row (from 1). `chance`: a random number in [0, 1)."""
        doublings = min(max(failures, 1) - 1, 32)
        return min(self.cap_s, self.first_s * 2.0**doublings) * (1 - JITTER * chance)
