"""The words between the core, which decides (supervisor.py), and the daemon, which does it (daemon.py). Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edged.backoff import Backoff
from edged.errors import EdgedError, ExitCode
from edged.escalation import Kind
from edged.units import Report


@dataclass(frozen=True, slots=True)
class Admitted:
    """The memory that was asked for last fits, or was refused with `error`."""

    error: EdgedError | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A signal, a limit of time or the desk asks for the end. `code`: the exit status, if no fault has set it."""

    why: str
    code: ExitCode = ExitCode.OK


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Swap:
    """A change of what runs has been built and is to begin; names are of units and pipelines.

    era: its number; what it brings reports under it. kinds: of all that it brings; backoffs: of cameras among them.
    first: units that open beside the old ones. then: units that open once `before` (sinks, cameras that only one may
    have open) have stopped. leaves: what goes, of those that run now: replaced by one of the same name, or for good.
    serves: sources that stay and serve other pipelines afterwards.
    """

    era: int
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    backoffs: Mapping[str, Backoff] = field(default_factory=dict)
    first: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()


Happening = Report | Admitted | Asked | Tick | Swap


@dataclass(frozen=True, slots=True)
class Start:
    """Start these units of a change."""

    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Admit:
    """Add up the regions of these units (and what else a change wants), and refuse or say that they fit."""

    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Go:
    """Let a unit work."""

    unit: str


@dataclass(frozen=True, slots=True)
class Again:
    """Let a unit that failed try again; `afresh`: with new memory."""

    unit: str
    afresh: bool


@dataclass(frozen=True, slots=True)
class Tell:
    """News of a unit: its phase, or "looping"."""

    unit: str
    state: str
    reason: str = ""
    error: EdgedError | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """Stop these units; others go on. `drop`: forget frames that wait for them, counted."""

    units: tuple[str, ...]
    drop: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """What was built is what runs from now on, under its own names."""


@dataclass(frozen=True, slots=True)
class Settle:
    """The pipelines that left have ended: those that stay take over their counts, runners forget them."""


@dataclass(frozen=True, slots=True)
class Done:
    """The change is over.

    error: it was refused, and nothing of it is left; then `stopped` no longer run and are to come back. hanging: what
    did not stop in time.
    """

    error: EdgedError | None = None
    stopped: tuple[str, ...] = ()
    hanging: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gone:
    """A unit that a change had left behind has stopped at last."""

    unit: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop all units of these kinds. `drop`: forget frames that wait in mailboxes, counted."""

    kinds: tuple[Kind, ...]
    drop: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """Leave, with the units that did not stop in time."""

    code: ExitCode
    hanging: tuple[str, ...] = ()


Action = Start | Admit | Go | Again | Tell | Leave | Commit | Settle | Done | Gone | Stop | Exit
