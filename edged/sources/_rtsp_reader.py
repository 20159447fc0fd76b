"""The thread that owns one network stream: every call that may wait for the network is made here.

FFmpeg keeps its deadlines (open and read; tests/sources/test_rtsp.py), but a lookup of a name or a GStreamer element
may hang without any. So whoever reads waits for this thread with a limit of its own, and leaves it behind when
that is over: the thread then frees what it holds by itself, as soon as the library lets it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Why = tuple[str, str]  # what is wrong, remedy; both without credentials

KEEP_S = 0.02  # how long a picture waits for its reader before the next one is fetched: the newest wins
BACKLOG_S = 1.0  # at most so long are pictures passed over that came while the stream was opened
SPOILT = 10  # so many pictures in a row that cannot be decoded are a fault


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, as given to OpenCV too."""

    open_s: float
    read_s: float


class Reader(threading.Thread):
    """Opens `handle` with one of `ways`, then fetches pictures until it is stopped or fails. Daemon.

    A picture is offered to `take`; until `done` the handle is the taker's, for `retrieve` only. Pictures that
    nobody takes are passed over. `explain` says why the stream could not be opened; it is called in this
    thread, may wait, and gets the seconds that are left.
    """

    def __init__(
        self,
        name: str,
        cv2: Any,
        ways: list[tuple[Any, ...]],
        limits: Limits,
        explain: Callable[[float], Why],
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.handle = cv2.VideoCapture()
        self._media_ms = cv2.CAP_PROP_POS_MSEC
        self._ways, self._limits, self._explain = ways, limits, explain
        self._changed = threading.Condition()
        self._stopping = False
        self._opened = False
        self._fault: Why | None = None
        self._offered_ns = 0  # CLOCK_MONOTONIC of the picture that is offered; 0: none is
        self._keep_s = 0.0
        self._taken = False
        self._passed = 0  # pictures that nobody took since the last one that somebody took

    # The owner's thread.

    def opened(self, timeout_s: float) -> bool:
        """Wait for the first picture; False when it did not come in time, failed (see `fault`) or was stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self._fault or self._stopping, timeout_s)
            return self._opened and not self._stopping

    @property
    def fault(self) -> Why | None:
        with self._changed:
            return self._fault

    def begin(self) -> None:
        """From now on somebody takes pictures; until then they were passed over, as fast as they came."""
        with self._changed:
            self._keep_s = KEEP_S
            self._offered_ns = 0

    def take(self, timeout_s: float) -> tuple[int, int] | None:
        """(when the picture came, pictures passed over before it); None: none in time, or a fault."""
        with self._changed:
            self._changed.wait_for(lambda: self._offered_ns or self._fault or self._stopping, timeout_s)
            if not self._offered_ns or self._stopping:  # once stopped, the handle may be gone at any moment
                return None
            self._taken = True
            passed, self._passed = self._passed, 0
            return self._offered_ns, passed

    def done(self) -> None:
        """The picture that was taken is no longer needed. Idempotent."""
        with self._changed:
            if self._taken:
                self._taken, self._offered_ns = False, 0
                self._changed.notify_all()

    def stop(self) -> None:
        """Any thread. Whoever waits here is let go; the thread ends once the library lets it."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    # Its own thread.

    def run(self) -> None:
        try:
            why = self._open()
            if why is None and not self._stopping:
                why = self._fetch()
        except Exception as e:  # OpenCV's own, of a broken build or a pipeline with faults
            why = f"OpenCV fails: {type(e).__name__}", "try the address with another player"
        with self._changed:
            self._fault = self._fault or why
            self._changed.notify_all()
        self.handle.release()

    def _open(self) -> Why | None:
        end = time.monotonic() + self._limits.open_s
        if not any(self.handle.open(*way) for way in self._ways):
            return None if self._stopping else self._explain(end - time.monotonic())
        if self._stopping:
            return None
        why = self._grab()
        if why is None:
            self._catch_up()
            with self._changed:
                self._opened = True
                self._changed.notify_all()
        return why

    def _catch_up(self) -> None:
        """Pass over the pictures that came while the stream was looked at: they are up to half a second old.

        They are decoded faster than they were made; one that takes half of its time to come is fresh.
        """
        end = time.monotonic() + BACKLOG_S
        media = self.handle.get(self._media_ms)
        while not self._stopping and (now := time.monotonic()) < end and self.handle.grab():
            media, before = self.handle.get(self._media_ms), media
            if (time.monotonic() - now) * 1000 >= (media - before) / 2:
                return

    def _fetch(self) -> Why | None:
        while self._offer():
            why = self._grab()
            if why is not None:
                return why
        return None

    def _offer(self) -> bool:
        """Show the picture to whoever waits for one, until it is done with or old; False when told to stop."""
        with self._changed:
            self._offered_ns = time.monotonic_ns()
            self._changed.notify_all()
            # an offer is over, too, that was taken and done with before this thread came to look
            self._changed.wait_for(
                lambda: self._taken or not self._offered_ns or self._stopping, self._keep_s
            )
            self._changed.wait_for(lambda: not self._taken)  # the handle is released after this
            if self._offered_ns and not self._stopping:
                self._offered_ns = 0
                self._passed += 1
            return not self._stopping

    def _grab(self) -> Why | None:
        """The next picture, decoded. A packet that was damaged on its way costs one picture, not the stream."""
        for _ in range(SPOILT):
            began = time.monotonic()
            came = self.handle.grab()
            if self._stopping:
                return None
            # at its deadline FFmpeg's parser gives out the last picture of H.264, which it had kept: no sign of life
            if time.monotonic() - began >= 0.99 * self._limits.read_s:
                return (
                    f"no picture came for {self._limits.read_s:g} s",
                    "check the camera and its network; a slow stream needs a larger read_timeout_s",
                )
            if came:
                return None
            self._passed += 1
        return "the stream ended", "check the camera: it closed the stream, or was switched off"
