"""The bounded hand-over between a source's thread and a runner's: one frame, newest wins or blocking.

All mailboxes that a model's runners serve share one `Bell`, so a runner sleeps on all of them at once.
Counts are exact: offered = taken + dropped + (0 or 1 held).
"""

from __future__ import annotations

import threading
import time

from edged.frames import Frame


class Bell:
    """A condition shared by the mailboxes of one model's pipelines and the runners that empty them."""

    def __init__(self) -> None:
        self.condition = threading.Condition(threading.Lock())

    def ring(self) -> None:
        with self.condition:
            self.condition.notify_all()


class Mailbox:
    """Holds at most one frame, and owns the lease of the one it holds. Thread-safe.

    `live` (newest wins): `put` never waits; it replaces and releases the older frame and counts it as
    dropped. Not live: `put` waits until the frame before was taken (back-pressure).
    """

    def __init__(self, bell: Bell, *, live: bool) -> None:
        self.live = live
        self._bell = bell
        self._frame: Frame | None = None
        self._closed = False
        self.offered = 0
        self.dropped = 0
        self.taken = 0

    def put(self, frame: Frame, timeout_s: float | None = None) -> bool:
        """Hand a frame over; its lease becomes the mailbox's. False: closed or timed out, lease kept by the caller."""
        old: Frame | None = None
        end = None if timeout_s is None else time.monotonic() + timeout_s
        with self._bell.condition:
            while not self.live and self._frame is not None and not self._closed:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._bell.condition.wait(left)
            if self._closed:
                return False
            self.offered += 1
            old, self._frame = self._frame, frame
            if old is not None:
                self.dropped += 1
            self._bell.condition.notify_all()
        if old is not None:
            old.release()
        return True

    @property
    def closed(self) -> bool:
        return self._closed

    def peek_locked(self) -> Frame | None:
        """The frame held, for a runner that chooses among mailboxes. Call with the bell's condition held."""
        return self._frame

    def take_locked(self) -> Frame | None:
        """Take the frame; its lease becomes the caller's. Call with the bell's condition held."""
        frame, self._frame = self._frame, None
        if frame is not None:
            self.taken += 1
            self._bell.condition.notify_all()
        return frame

    def take(self, timeout_s: float = 0.0) -> Frame | None:
        """Take the frame, waiting up to `timeout_s` for one; None if there is none."""
        with self._bell.condition:
            if self._frame is None and timeout_s > 0:
                self._bell.condition.wait_for(lambda: self._frame is not None or self._closed, timeout_s)
            return self.take_locked()

    def drain(self) -> None:
        """Drop what is held, counted (a paused or stopping pipeline)."""
        with self._bell.condition:
            frame, self._frame = self._frame, None
            if frame is not None:
                self.dropped += 1
            self._bell.condition.notify_all()
        if frame is not None:
            frame.release()

    def close(self) -> None:
        """No more puts; waiting writers return False. What is held stays until taken or drained. Idempotent."""
        with self._bell.condition:
            self._closed = True
            self._bell.condition.notify_all()
