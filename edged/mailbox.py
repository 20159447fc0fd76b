"""The bounded hand-over between a source's thread and a runner's: one frame, newest wins or blocking.

All mailboxes that a model's runners serve share one `Bell`, so a runner sleeps on all of them at once.
Counts are exact: offered = taken + dropped + (0 or 1 held).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edged.frames import Frame


class Bell:
    """A condition shared by the mailboxes of one model's pipelines and the runners that empty them."""

    def __init__(self) -> None:
        self.condition = threading.Condition(threading.Lock())
        self.served = 0  # frames taken from all these mailboxes; guarded by the condition

    def ring(self) -> None:
        with self.condition:
            self.condition.notify_all()


class Mailbox:
    """Holds at most one frame, and owns the lease of the one it holds. Thread-safe.

    `live` (newest wins): `put` never waits; it replaces and releases the older frame and counts it as
    dropped. Not live: `put` waits until the frame before was taken (back-pressure).

    `keeps(held, new)`, if given, may keep the frame that a live mailbox holds: then the new one is dropped. It is
    called with the bell's condition held. `passed` counts the frames that were dropped so behind the one held.

    A runner chooses among mailboxes under the bell's condition: methods whose names end in `_locked` are
    called with it held.
    """

    def __init__(
        self, bell: Bell, *, live: bool, keeps: Callable[[Frame, Frame], bool] | None = None
    ) -> None:
        self.live = live
        self.bell = bell
        self._keeps = keeps
        self._frame: Frame | None = None
        self._closed = False
        self.offered = 0
        self.dropped = 0
        self.taken = 0
        self.passed = 0
        self.waits_ns = 0  # CLOCK_MONOTONIC, since when it has not been empty; 0: it is

    def put(self, frame: Frame, timeout_s: float | None = None) -> bool:
        """Hand a frame over; its lease becomes the mailbox's. False: closed or timed out, lease kept by the caller."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        with self.bell.condition:
            while not self.live and self._frame is not None and not self._closed:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self.bell.condition.wait(left)
            if self._closed:
                return False
            self.offered += 1
            gone = self._frame
            if gone is None:
                self.waits_ns = time.monotonic_ns()
            if gone is not None and self._keeps is not None and self._keeps(gone, frame):
                gone, self.passed = frame, self.passed + 1
            else:
                self._frame, self.passed = frame, 0
            if gone is not None:
                self.dropped += 1
            self.bell.condition.notify_all()
        if gone is not None:
            gone.release()
        return True

    @property
    def closed(self) -> bool:
        return self._closed

    def peek_locked(self) -> Frame | None:
        """The frame held; the lease stays the mailbox's."""
        return self._frame

    def take_locked(self) -> Frame | None:
        """Take the frame; its lease becomes the caller's. None when there is none."""
        frame, self._frame, self.passed, self.waits_ns = self._frame, None, 0, 0
        if frame is not None:
            self.taken += 1
            self.bell.condition.notify_all()
        return frame

    def close_locked(self) -> None:
        """As `close`."""
        self._closed = True
        self.bell.condition.notify_all()

    def close(self) -> None:
        """No more puts; waiting writers return False. What is held stays until taken or drained. Idempotent."""
        with self.bell.condition:
            self.close_locked()

    def drain(self) -> None:
        """Drop what is held, counted (a stopping pipeline)."""
        with self.bell.condition:
            frame, self._frame, self.waits_ns = self._frame, None, 0
            if frame is not None:
                self.dropped += 1
            self.bell.condition.notify_all()
        if frame is not None:
            frame.release()
