"""A sink for tests: it records what it is given and fails when told to."""

from __future__ import annotations

import threading
from collections import deque
from typing import ClassVar

from edged.config.schema import Table
from edged.errors import SinkError
from edged.messages import Identity, Message


class FakeOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """None."""


class FakeSink:
    """Records messages. Each entry of `open_faults` and `publish_faults` makes one call raise it.

    Tests set `free` False to make `ready` say busy, and clear `gate` to make `publish` wait (a hung sink).
    Lists are written by the worker's thread; `wait_for` waits until enough has arrived.
    """

    Options: ClassVar[type[FakeOptions]] = FakeOptions
    DELIVER: ClassVar[str] = "latest"

    def __init__(
        self, name: str = "fake", options: FakeOptions | None = None, identity: Identity | None = None
    ) -> None:
        self.name = name
        self.options = options
        self.identity = identity
        self.messages: list[Message] = []
        self.open_faults: deque[Exception] = deque()
        self.publish_faults: deque[Exception] = deque()
        self.opens = 0
        self.closes = 0
        self.free = True
        self.gate = threading.Event()
        self.gate.set()
        self._is_open = False
        self._arrived = threading.Condition()

    def open(self) -> None:
        self.opens += 1
        if self.open_faults:
            raise self.open_faults.popleft()
        self._is_open = True

    def ready(self) -> bool:
        return self.free

    def publish(self, m: Message) -> None:
        if not self._is_open:
            raise SinkError(f"sink '{self.name}' is not open", hint="call open() first")
        self.gate.wait()
        if self.publish_faults:
            raise self.publish_faults.popleft()
        with self._arrived:
            self.messages.append(m)
            self._arrived.notify_all()

    def close(self) -> None:
        self.closes += 1
        self._is_open = False

    def wait_for(self, count: int, timeout_s: float = 5.0) -> list[Message]:
        """What has arrived, as soon as it is `count` messages; AssertionError when it takes too long."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.messages) >= count, timeout_s):
                raise AssertionError(f"{len(self.messages)} of {count} messages in {timeout_s} s")
            return list(self.messages)
