"""When a unit that failed is tried again, and what of that is news. Pure: no thread, no clock, no I/O.

    up ──fault──► down ──delay──► try ──► first frame: up        a fault while trying: down, a longer delay

A delay is short again only after STABLE_S of being up, and so a unit that comes and goes is tried ever more
seldom, up to its cap. One that fell LOOP_FAULTS times within LOOP_S after it had come up is in a loop: that is
told once, and its coming and going no more, until it stays up or down.
"""

from __future__ import annotations

from collections import deque

from edged.backoff import Backoff
from edged.errors import EdgedError
from edged.escalation import AFRESH

STABLE_S = 10.0
LOOP_FAULTS, LOOP_S = 5, 60.0


class Recovery:
    """The tries of one unit. Times are seconds of a clock that never goes back.

    `down`: it failed, and has not delivered since. `looping`: why it is said to be in a loop, or "".
    `faults`: since the start. `look_at`: what a person is to check then.
    """

    def __init__(self, unit: str, backoff: Backoff, look_at: str = "", faults: int = 0) -> None:
        self.unit = unit
        self.faults = faults
        self._look_at = look_at
        self.failures = 0  # in a row
        self.down = False
        self.looping = ""
        self._backoff = backoff
        self._due_s: float | None = None
        self._down_s = 0.0  # since when it is down
        self._up_s: float | None = None  # since when it is up
        self._falls: deque[float] = deque(maxlen=LOOP_FAULTS)

    def fault(self, now: float, error: EdgedError, chance: float) -> EdgedError | None:
        """It failed. `chance`: a random number in [0, 1). Returns what is to be told of it; None: nothing."""
        if self._up_s is not None:
            self._falls.append(now)
            if now - self._up_s >= STABLE_S:
                self.failures = 0
        if not self.down:
            self._down_s = now
        self.faults += 1
        self.failures += 1
        self.down, self._up_s = True, None
        self._due_s = now + max(error.wait_s, self._backoff.delay_s(self.failures, chance))
        if self.looping:
            return None
        if len(self._falls) == LOOP_FAULTS and now - self._falls[0] <= LOOP_S:
            self.looping = f"{self.unit} comes and goes: {LOOP_FAULTS} faults within {LOOP_S:g} s"
            return EdgedError(
                f"{self.looping}, the last: {error.message}",
                hint=f"{self._look_at}; until it is steady its changes are not told",
            )
        return error

    def up(self, now: float) -> str | None:
        """It delivers. Returns the reason to tell; None: nothing is to be told."""
        was_down, self.down, self._up_s = self.down, False, now
        if self.looping:
            return None
        if not was_down:
            return ""
        return (
            f"after {now - self._down_s:.1f} s and {self.failures} {'try' if self.failures == 1 else 'tries'}"
        )

    def settled(self, now: float) -> bool:
        """Whether a loop has just ended: it has been up for long, or `down` for long."""
        since = self._down_s if self._up_s is None else self._up_s
        if not self.looping or now - since < STABLE_S:
            return False
        self.looping = ""
        self._falls.clear()
        return True

    def due(self, now: float) -> bool:
        """Whether it is to be tried now; true once a fault."""
        if self._due_s is None or now < self._due_s:
            return False
        self._due_s = None
        return True

    @property
    def afresh(self) -> bool:
        """Whether the next try is to make its memory anew."""
        return self.failures % AFRESH == 0
