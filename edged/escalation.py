"""What a fault means, as one table: from the smallest remedy to the largest. Pure values.

    1 retry      within the part, told by nobody else: a source skips a spoilt picture, a sink publishes again
    2 reopen     a camera is closed and opened again, ever more seldom                        (recovery.py)
    3 afresh     every 4th time in a row with new memory: its pipelines begin anew
    4 restart    a runner lets go of engine, stream and memory and loads its model again
    5 exit       a runner that fell again and again right after its restarts: the daemon ends with the code
                 of its error, and systemd starts a new process

Each step is an event with its reason, and a line in the journal (supervisor.py tells them). What no step mends and
nobody notices, a call that never returns, is the watchdog's (liveness.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edged.backoff import Backoff

Kind = Literal["source", "camera", "runner", "sink", "remote-sink", "pipeline"]
Verdict = Literal["refuse to start", "lose it", "try again", "it retries"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What a fault of a kind of unit means, while booting (or being added by a change) and later.

    refuse to start: the daemon does not start; a change is undone.  lose it: it ends, others go on, and the exit
    status shows it.  try again: the supervisor says when, by `backoff`; after AFRESH failures in a row with new memory,
    after `tries` (None: never) the daemon ends.  it retries: it does so by itself.
    `look_at`: what a person is to check when it comes and goes.
    """

    at_boot: Verdict
    later: Verdict
    backoff: Backoff | None = None  # a camera has its source's own
    tries: int | None = None
    look_at: str = ""


AFRESH = 4  # failures in a row after which memory is made anew, too
_CABLE = "check cable, power supply and USB bandwidth"
_MODEL = "check its model and engine (edged model trial), and what else uses the device"

# A sink's worker retries by itself; at boot only a remote sink may be down (a robot starts without its broker, but not
# with its socket taken). One that was open is later, too: a disk that is full already when the first state is told
# must not keep a robot from looking.
FAULTS: dict[Kind, Fault] = {
    "source": Fault("refuse to start", "lose it"),
    "camera": Fault("try again", "try again", look_at=_CABLE),
    "runner": Fault("refuse to start", "try again", Backoff(0.5, 8.0), tries=3, look_at=_MODEL),
    "sink": Fault("refuse to start", "it retries"),
    "remote-sink": Fault("it retries", "it retries"),
    "pipeline": Fault("lose it", "lose it"),
}
