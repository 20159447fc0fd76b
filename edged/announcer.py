"""What the daemon says of itself to its sinks: changes of units as events, and the device's state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Literal

from edged.messages import Event, Identity, Message, MessageClass, State, topic
from edged.pipeline import Offer
from edged.units import Report


class Announcer:
    """Used by the main thread. `on_event` sees each event, too."""

    def __init__(
        self,
        identity: Identity,
        offers: Iterable[Offer],
        pipelines: Iterable[str],
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self._identity = identity
        self._offers = tuple(offers)
        self._pipelines = tuple(pipelines)
        self._on_event = on_event
        self._phases: dict[str, str] = {}  # as told; a unit itself may be further by now
        self._seq = 0

    def report(self, r: Report) -> None:
        """An event for what changed; a change of a pipeline is a new state of the device, too."""
        was = self._phases.get(r.unit)
        if r.phase in (was, "stopped"):  # that its thread ended is no news: how it ended was told
            return
        self._phases[r.unit] = r.phase
        self._seq += 1
        event = Event(
            device=self._identity.device,
            session_id=self._identity.session_id,
            seq=self._seq,
            at=time.time_ns(),
            unit=r.unit,
            state=r.phase,
            was=was,
            reason="" if r.error is None else r.error.message,
        )
        self._publish("event", event, self._seq)
        if r.unit.startswith("pipeline "):
            self.state("online")
        if self._on_event is not None:
            self._on_event(event)

    def state(self, state: Literal["online", "offline"]) -> None:
        now = time.time_ns()
        body = State(
            device=self._identity.device,
            session_id=self._identity.session_id,
            state=state,
            at=now,
            pipelines={name: self._phases.get(f"pipeline {name}", "starting") for name in self._pipelines},
        )
        self._publish("state", body, now)

    def _publish(self, cls: MessageClass, body: Event | State, seq: int) -> None:
        where = topic(self._identity.device, cls)
        message = Message(where, cls, (self._identity.session_id, "daemon", seq), body)
        for offer in self._offers:
            offer(message)
