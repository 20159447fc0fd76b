"""What the main thread tells: events and states to the sinks, lines to the journal, errors to the snapshot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from edged.announcer import Announcer
from edged.board import Board, Change
from edged.errors import EdgedError
from edged.happenings import Tell
from edged.messages import Event, Identity
from edged.parts import Parts
from edged.pipeline import Offer
from edged.supervisor import Core

MAX_ERRORS = 100  # kept for the snapshot; all are logged

log = logging.getLogger(__name__)


class Telling:
    """Used by the main thread; `errors` and `board.healths` may be read by any."""

    def __init__(
        self,
        identity: Identity,
        core: Core,
        parts: Parts,
        offers: Sequence[Offer],
        limited: Callable[[str], str],
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self.errors: list[EdgedError] = []
        self.board = Board(parts.pipelines, parts.needs, limited)
        self._core = core
        self._announcer = Announcer(identity, offers, on_event)

    def look(self, now: float) -> None:
        """Step the health of every pipeline, and tell what is news."""
        self._announce(self.board.look(now, self._core))

    def news(self, news: Tell) -> None:
        """An event for the sinks, and a line where something is wrong, or right again."""
        self._announcer.event(news.unit, news.state, news.reason)
        recovers = news.unit in self._core.recoveries
        if news.error is not None:
            self.error(news.error, "; it is tried again" if recovers else "", news.unit)
        elif recovers and news.reason:
            verb = "running again" if news.state == "running" else "stays away:"
            log.warning("%s: %s %s", news.unit, verb, news.reason, extra={"edged_unit": news.unit})

    def event(self, unit: str, state: str, reason: str) -> None:
        """What no part has reported."""
        self._announcer.event(unit, state, reason)

    def error(self, error: EdgedError, then: str = "", unit: str = "") -> None:
        """`then`: what edged does about it. `unit`: whose error it is, for the journal."""
        self.errors.append(error)
        del self.errors[:-MAX_ERRORS]
        log.error("%s%s", error, then, extra={"edged_unit": unit})

    def state(self, state: Literal["online", "offline"], offers: Iterable[Offer] | None = None) -> None:
        """`offers`: only to these."""
        self._announcer.state(state, self.board.healths, offers)

    def reroute(self, offers: Sequence[Offer], leaving: Iterable[Offer]) -> None:
        """Other sinks are told from now on; for those that leave, edged is gone."""
        self._announcer.offers = tuple(offers)
        self.state("offline", leaving)

    def swap(self, now: float, before: Mapping[str, object], parts: Parts, offers: Sequence[Offer]) -> None:
        """Others run from now on; `before`: the pipelines till now."""
        self._announcer.offers = tuple(offers)
        for name in before.keys() - parts.pipelines.keys():
            self._announcer.event(f"pipeline {name}", "stopped", "no longer configured")
        self._announce(self.board.swap(now, parts.pipelines, parts.needs))
        self.look(now)
        self.state("online")

    def _announce(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._announcer.event(f"pipeline {change.pipeline}", change.now.state, change.now.reason)
            self.state("online")
