"""The daemon's last events, for whoever asks: a bounded backlog with the announcer's sequence numbers.

The log is the only buffer: a reader who is slow finds a gap in it, and never holds up who writes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from edged.messages import Event

BACKLOG = 4096  # events; about 1 MB


class EventLog:
    """Any thread. `add` is called by the main thread and never waits: nothing here is held for long."""

    def __init__(self, backlog: int = BACKLOG) -> None:
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=backlog)
        self._wakes: dict[object, Callable[[], None]] = {}

    def add(self, event: Event) -> None:
        """`event.seq` is one more than that of the event before."""
        with self._lock:
            self._events.append(event)
            for wake in self._wakes.values():
                wake()

    def after(self, seq: int, most: int) -> tuple[list[Event], int]:
        """The oldest `most` events kept that come after number `seq`, and how many of those after it are gone."""
        with self._lock:
            events = self._events
            if not events:
                return [], 0
            first = events[0].seq
            begin = max(0, seq + 1 - first)
            found = [events[i] for i in range(begin, min(len(events), begin + most))]
            return found, max(0, first - seq - 1)

    @property
    def last(self) -> int:
        """The number of the newest; 0: there is none yet."""
        with self._lock:
            return self._events[-1].seq if self._events else 0

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """`wake` is called, in the writer's thread, after every `add`; it must be quick. Returns what ends that."""
        key = object()
        with self._lock:
            self._wakes[key] = wake
        return lambda: self._unsubscribe(key)

    def _unsubscribe(self, key: object) -> None:
        with self._lock:
            self._wakes.pop(key, None)
