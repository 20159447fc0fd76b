"""What the daemon says of itself to its sinks: changes of units as events, and the device's state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from edged.errors import encodable
from edged.health import Health
from edged.messages import Event, Identity, Message, MessageClass, PipelineState, State, topic
from edged.pipeline import Offer


class Announcer:
    """Used by the main thread. `offers`: of all sinks; others may be put in their place.

    `on_event` sees each event, too.
    """

    def __init__(
        self, identity: Identity, offers: Iterable[Offer], on_event: Callable[[Event], None] | None
    ) -> None:
        self._identity = identity
        self.offers = tuple(offers)
        self._on_event = on_event
        self._states: dict[str, str] = {}
        self._seq = 0

    def event(self, unit: str, state: str, reason: str) -> None:
        """A unit's change of state, or of the reason for it."""
        self._seq += 1
        event = Event(
            device=self._identity.device,
            session_id=self._identity.session_id,
            seq=self._seq,
            at=time.time_ns(),
            unit=unit,
            state=state,
            was=self._states.get(unit),
            reason=encodable(reason),
        )
        self._states[unit] = state
        self._publish("event", event, self._seq, self.offers)
        if self._on_event is not None:
            self._on_event(event)

    def state(
        self,
        state: Literal["online", "offline"],
        healths: Mapping[str, Health],
        offers: Iterable[Offer] | None = None,
    ) -> None:
        """`offers`: only to these."""
        now = time.time_ns()
        body = State(
            device=self._identity.device,
            session_id=self._identity.session_id,
            state=state,
            at=now,
            pipelines={name: PipelineState(h.state, h.reason) for name, h in healths.items()},
        )
        self._publish("state", body, now, self.offers if offers is None else offers)

    def _publish(self, cls: MessageClass, body: Event | State, seq: int, offers: Iterable[Offer]) -> None:
        where = topic(self._identity.device, cls)
        message = Message(where, cls, (self._identity.session_id, "daemon", seq), body)
        for offer in offers:
            offer(message)
