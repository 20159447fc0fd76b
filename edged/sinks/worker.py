"""A sink's own thread: it alone touches the sink, so a dead broker or a full disk costs only this stream.

    offer() ──► newest result per topic, or a FIFO ──► thread: open, publish, retry ──► Sink

Any thread calls `offer`; it never waits on the sink. What a sink cannot take now is held here, bounded.
Counts are exact: offered = published + replaced + failed + held (+ 1 while a message is being published).

A sink may have two things beyond interfaces.Sink:
    DELIVER           "latest" or "queue": what `deliver.result` is when the configuration does not say
    ready() -> bool   False: busy, do not publish now (the worker keeps the newest); raises SinkError when
                      the connection is lost. Called before every publish and every POLL_S when idle.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import msgspec

from edged.config.schema import DeliverConfig
from edged.errors import EdgedError, SinkError
from edged.interfaces import Sink
from edged.messages import Message, Result

Report = Callable[[str, str, EdgedError | None], None]

POLL_S = 0.25  # how late a lost connection is noticed when there is nothing to publish
BUSY_S = 0.01  # how late a busy sink is found ready again
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 5.0
STUCK_S: Mapping[str, float] = {"open": 30.0, "publish": 10.0}  # after which a call of a sink is said to hang
TRIES = 3  # a message that fails this often in a row is given up, so that it cannot block those behind it


def backoff_s(attempt: int, random_unit: float) -> float:
    """The wait before retry `attempt` (from 0): doubling to a cap, the upper half random, so that a fleet spreads."""
    whole = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2.0 ** min(attempt, 16))
    return whole * (0.5 + 0.5 * random_unit)


def stamp(m: Message) -> Message:
    """The message with the time of publication and its age, when it is a result."""
    if not isinstance(m.body, Result):
        return m
    age_ms = (time.monotonic_ns() - m.body.captured_mono_ns) / 1e6
    body = msgspec.structs.replace(m.body, published_at=time.time_ns(), age_ms=age_ms)
    return msgspec.structs.replace(m, body=body)


class SinkWorker:
    """Runs one sink. `report(name, state, error)` is called from the worker's thread, on changes only.

    The first report comes after the first attempt to open: "running", or "faulted" with the error; the
    worker goes on trying. After a fault, "running" is said when the sink has held for `settle_s`. One that hangs is
    told by `look`, whose caller's thread reports it.
    `on_published(m)` sees each message as published (with its age), in the worker's thread. `before`: the worker of
    this name that it replaces, whose counts are part of its own.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        deliver: DeliverConfig,
        report: Report,
        on_published: Callable[[Message], None] | None = None,
        *,
        settle_s: float = 1.0,
        before: SinkWorker | None = None,
    ) -> None:
        self.name = name
        self.remote: bool = getattr(sink, "REMOTE", False)  # its other end may be away
        self.offered = 0
        self.published = 0
        self.replaced = 0  # gave way to newer ones
        self.failed = 0  # given up: failed TRIES times, or still held at the end
        self._before = before
        self._sink = sink
        self._deliver = deliver
        self._report = report
        self._on_published = on_published
        self._settle_s = settle_s
        self._condition = threading.Condition(threading.Lock())
        self._newest: dict[str, Message] = {}
        self._results: deque[Message] = deque()
        self._others: deque[Message] = deque()  # events and states
        self._stopping = False
        self._drain_until = 0.0
        self._state: Literal["", "running", "faulted"] = ""
        self._attempt = 0
        self._call: tuple[str, float] | None = None  # that its thread is in, and since when (CLOCK_MONOTONIC)
        self._failing: tuple[tuple[str, str, int] | None, int] = (None, 0)
        self._thread = threading.Thread(target=self._run, name=f"sink-{name}", daemon=True)

    @property
    def held(self) -> int:
        """Messages waiting here."""
        with self._condition:
            return self._held()

    def counts(self) -> dict[str, int]:
        """All counts at one moment, by name; of this one and those that it has replaced."""
        with self._condition:
            before = self._before
            counts = {name: getattr(self, name) for name in ("offered", "published", "replaced", "failed")}
            counts["held"] = self._held()
        more = {} if before is None else before.counts()
        return {name: n + more.get(name, 0) for name, n in counts.items()}

    def inherit(self) -> None:
        """The one before has ended: its counts are part of these from now on, and it may go. In the main thread."""
        before = self._before
        if before is None:
            return
        past = before.counts()
        with self._condition:
            for name in ("offered", "published", "replaced", "failed"):
                setattr(self, name, getattr(self, name) + past[name])
            self._before = None

    def start(self) -> None:
        self._thread.start()

    def offer(self, m: Message) -> None:
        """Hand a message over, from any thread. Never waits for the sink, never raises."""
        with self._condition:
            self.offered += 1
            if self._stopping:
                self.failed += 1
                return
            self._hold(m)
            self._condition.notify()

    def stop(self, timeout_s: float) -> bool:
        """Publish what is held within half of `timeout_s`, close the sink, end. False: the thread still runs."""
        with self._condition:
            if not self._stopping:
                self._stopping = True
                self._drain_until = time.monotonic() + timeout_s / 2  # the other half is for closing
            self._condition.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def look(self, now: float) -> None:
        """Report it as faulted while a call of the sink hangs. `now`: CLOCK_MONOTONIC, in s. In the main thread."""
        with self._condition:
            call = self._call
            if call is not None and now - call[1] > STUCK_S[call[0]]:
                what = f"sink '{self.name}': its {call[0]} has not returned for {STUCK_S[call[0]]:g} s"
                hint = "what it keeps back is dropped when there is too much; edged goes on without it"
                self._say("faulted", SinkError(what, hint=hint))

    def join(self) -> None:
        """Wait until its thread has ended, however long that takes."""
        if self._thread.ident is not None:
            self._thread.join()

    # What is held. Call with the condition held.

    def _held(self) -> int:
        return len(self._newest) + len(self._results) + len(self._others)

    def _hold(self, m: Message) -> None:
        if m.cls == "result" and self._deliver.result == "latest":
            self.replaced += m.topic in self._newest
            self._newest[m.topic] = m  # keeps its place, so a fast pipeline cannot starve a slow one
            return
        queue = self._results if m.cls == "result" else self._others
        if len(queue) >= self._deliver.queue_size:
            queue.popleft()
            self.replaced += 1
        queue.append(m)

    def _take(self) -> Message | None:
        if self._others and not (self._stopping and (self._newest or self._results)):  # "offline" comes last
            return self._others.popleft()
        if self._newest:
            return self._newest.pop(next(iter(self._newest)))
        return self._results.popleft() if self._results else None

    def _put_back(self, m: Message) -> None:
        """Hold a message again that was taken and not published, before all that came after it."""
        if m.cls == "result" and self._deliver.result == "latest":
            if m.topic in self._newest:
                self.replaced += 1
            else:
                self._newest = {m.topic: m, **self._newest}
            return
        queue = self._results if m.cls == "result" else self._others
        if len(queue) >= self._deliver.queue_size:
            self.replaced += 1
        else:
            queue.appendleft(m)

    # The thread.

    def _run(self) -> None:
        try:
            while True:
                try:
                    with self._calling("open"):
                        self._sink.open()
                    self._serve()
                    return
                except Exception as e:
                    self._close()
                    self._say("faulted", _as_edged(self.name, e))
                delay = backoff_s(self._attempt, random.random())
                self._attempt += 1
                with self._condition:
                    if self._condition.wait_for(lambda: self._stopping, delay):
                        return
        finally:
            self._close()
            with self._condition:
                self._stopping = True
                self.failed += self._held()
                for held in (self._newest, self._results, self._others):
                    held.clear()

    def _serve(self) -> None:
        """Publish until told to stop; raises what the sink raises."""
        opened = time.monotonic()
        ready: Callable[[], bool] | None = getattr(self._sink, "ready", None)
        while True:
            free = ready is None or ready()
            now = time.monotonic()
            if self._state == "" or (self._state == "faulted" and now - opened >= self._settle_s):
                self._attempt = 0
                self._say("running", None)
            with self._condition:
                if self._stopping and (not self._held() or now >= self._drain_until):
                    return
                m = self._take() if free else None
                if m is None:
                    self._condition.wait(BUSY_S if self._held() else POLL_S)
                    continue
            self._publish(m)

    def _publish(self, m: Message) -> None:
        stamped = stamp(m)
        try:
            with self._calling("publish"):
                self._sink.publish(stamped)
        except Exception:
            last, times = self._failing
            times = times + 1 if last == m.key else 1
            self._failing = (m.key, times)
            with self._condition:
                if times >= TRIES:
                    self.failed += 1
                else:
                    self._put_back(m)
            raise
        with self._condition:
            self.published += 1
        if self._on_published is not None:
            self._on_published(stamped)

    @contextmanager
    def _calling(self, what: str) -> Iterator[None]:
        self._call = (what, time.monotonic())
        try:
            yield
        finally:
            with self._condition:  # `look` reports nothing once it has returned
                self._call = None

    def _close(self) -> None:
        try:
            self._sink.close()
        except Exception as e:
            self._say("faulted", _as_edged(self.name, e))

    def _say(self, state: Literal["running", "faulted"], error: EdgedError | None) -> None:
        if state != self._state:
            self._state = state
            self._report(self.name, state, error)


def _as_edged(name: str, e: Exception) -> EdgedError:
    if isinstance(e, EdgedError):
        return e
    error = SinkError(
        f"sink '{name}': unexpected {type(e).__name__}: {e}",
        hint="this is a defect of the sink: report it with the journal's lines",
    )
    error.__cause__ = e
    return error
