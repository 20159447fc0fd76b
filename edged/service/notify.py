"""What systemd is told (sd_notify): still loading, ready, alive, reloading, stopping, and how it goes.

    Facts, at each tick ──► step(told, now, facts): pure ──► lines ──► $NOTIFY_SOCKET

READY once; EXTEND_TIMEOUT while it loads; WATCHDOG only while it is alive, so that a hung process is killed and
started again. RELOADING … READY is what systemd 249 knows of a reload.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf

from edged.errors import MissingPackage
from edged.health import Health

EXTEND_S = 30.0  # how much more time a start asks for, again and again
STATUS_LENGTH = 200  # characters of `systemctl status`'s one line

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """How the daemon is now. `not_ready`, `not_alive`: why; "": it is. `status`: how it goes, in a line."""

    not_ready: str = ""
    not_alive: str = ""
    reloading: bool = False
    stopping: bool = False
    status: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What systemd knows. Times are on the clock of `step`: when more time was asked for, when the dog was fed."""

    ready: bool = False
    reloading: bool = False
    stopping: bool = False
    status: str = ""
    extended_s: float = -inf
    fed_s: float = -inf


def step(told: Told, now: float, facts: Facts, watchdog_s: float | None = None) -> tuple[Told, list[str]]:
    """What is news at `now` (CLOCK_MONOTONIC, seconds). `watchdog_s`: silence after which systemd kills; None: never.

    A start that hangs is not given more time, and a reload that waits is not one that hangs.
    """
    lines: list[str] = []
    starting = not told.ready and not facts.stopping
    if starting and not facts.not_ready:
        told = replace(told, ready=True)
        lines.append("READY=1")
    elif starting and not facts.not_alive and now - told.extended_s >= EXTEND_S / 3:
        told = replace(told, extended_s=now)
        lines.append(f"EXTEND_TIMEOUT_USEC={EXTEND_S * 1e6:.0f}")
    if told.ready and told.reloading != facts.reloading:
        told = replace(told, reloading=facts.reloading)
        lines += ["RELOADING=1", f"MONOTONIC_USEC={now * 1e6:.0f}"] if facts.reloading else ["READY=1"]
    if facts.stopping and not told.stopping:
        told = replace(told, stopping=True)
        lines.append("STOPPING=1")
    if watchdog_s is not None and not facts.not_alive and now - told.fed_s >= watchdog_s / 2:
        told = replace(told, fed_s=now)
        lines.append("WATCHDOG=1")
    status = " ".join(facts.status.split())[:STATUS_LENGTH]
    if status != told.status:
        told = replace(told, status=status)
        lines.append(f"STATUS={status}")
    return told, lines


def watchdog_period_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """The unit's WatchdogSec; None: nobody watches this process."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 or None


def status_of(healths: Mapping[str, Health]) -> str:
    """One line on all pipelines: those that do not run first, by name and reason."""
    ill = [f"{name} {health}" for name, health in healths.items() if health.state != "running"]
    well = len(healths) - len(ill)
    return "; ".join([*ill, f"{well} of {len(healths)} pipelines running"])


class Notifier:
    """Tells systemd what is news; without $NOTIFY_SOCKET it does nothing. Used by the main thread.

    MissingPackage where systemd waits for words and systemd-python is absent: it would wait in vain.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = _sender() if environment.get("NOTIFY_SOCKET") else None
        self._watchdog_s = watchdog_period_s(environment)
        self._clock = clock
        self._told = Told()
        self._failed = False

    def tick(self, facts: Facts) -> None:
        if self._send is None:
            return
        self._told, lines = step(self._told, self._clock(), facts, self._watchdog_s)
        if not lines:
            return
        try:
            self._send("\n".join(lines))
        except (
            OSError
        ) as e:  # systemd starts anew, perhaps: what it must know comes again, or its watchdog acts
            if not self._failed:
                log.warning("systemd takes no notification (%s): %s", ", ".join(lines), e)
            self._failed = True


def _sender() -> Callable[[str], object]:
    try:
        from systemd import daemon
    except ImportError as e:
        raise MissingPackage(
            "systemd-python", needed_by="a unit with Type=notify (NOTIFY_SOCKET is set)", extra="systemd"
        ) from e
    send: Callable[[str], object] = daemon.notify
    return send
