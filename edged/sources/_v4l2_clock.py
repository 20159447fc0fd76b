"""A driver's timestamps and sequence numbers, judged and made edged's own. Pure: times are arguments.

A driver may stamp with a clock that is not CLOCK_MONOTONIC though it says so (Tegra's is seconds off), or not at
all. A stamp too long ago for a picture that was just taken is not believed. After one in the future none is until
the next open: vivid stamps the end of a frame that it has only begun, and a picture that is taken late would make
such a clock look right.
"""

from __future__ import annotations

from edged.frames import TimestampSource

OLDEST_NS = 2_000_000_000  # a picture is not older than this when it is taken from the driver
MEASURED = 10  # pictures after open over which the clock's offset is measured
_MASK = 0xFFFFFFFF
STUCK = 5  # pictures in a row with one number: this driver does not count


class DriverClock:
    """Capture times since an open. `fact` says in words where they come from; "" until that is known."""

    def __init__(self) -> None:
        self.fact = ""
        self.replaced = 0  # stamps that were not believed
        self._seen = 0
        self._ahead = False
        self._delay_ns = OLDEST_NS

    def captured(self, stamp_ns: int | None, now_ns: int) -> tuple[int, TimestampSource]:
        """CLOCK_MONOTONIC of a picture that was dequeued at `now_ns`; `stamp_ns` None: no such stamp was given."""
        if stamp_ns is None:
            self.fact = self.fact or "time of dequeuing: the driver gives no monotonic stamps"
            return now_ns, "dequeue"
        delay = now_ns - stamp_ns
        self._ahead = self._ahead or delay < 0
        if self._ahead or stamp_ns <= 0 or delay > OLDEST_NS:
            if self.replaced == 0:
                self.fact = f"time of dequeuing: the driver's stamps are {_wrong(stamp_ns, delay)}"
            self.replaced += 1
            return now_ns, "dequeue"
        if self._seen < MEASURED:
            self._seen += 1
            self._delay_ns = min(self._delay_ns, delay)
            if self._seen == MEASURED and not self.replaced:
                self.fact = f"the driver's, at least {self._delay_ns / 1e6:.1f} ms before dequeuing"
        return stamp_ns, "driver"


def _wrong(stamp_ns: int, delay: int) -> str:
    if stamp_ns <= 0:
        return "zero"
    return f"{abs(delay) / 1e9:.3f} s {'ahead of' if delay < 0 else 'behind'} CLOCK_MONOTONIC"


class Sequence:
    """A driver's 32-bit numbers as a count that rises: gaps are kept, wraps and restarts are not gaps."""

    def __init__(self) -> None:
        self.fact = ""
        self._last: int | None = None
        self._stuck = 0

    def step(self, raw: int) -> int:
        """How far this picture is behind the one before: 1, or more where pictures were lost. The first: 1."""
        before, self._last = self._last, raw
        ahead = 1 if before is None else (raw - before) & _MASK
        self._stuck = self._stuck + 1 if ahead == 0 else 0
        if self._stuck == STUCK:
            self.fact = f"the driver stays at {raw}: pictures lost before edged are not known"
        # a repeated number is another picture; one that fell is a driver that began again
        return ahead if 0 < ahead <= _MASK // 2 else 1
