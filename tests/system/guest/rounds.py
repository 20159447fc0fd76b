"""Rounds of every fault that vivid can play, on cameras that something else keeps open: what came, and how soon again.

A `Watch` is fed with pictures and faults by whoever reads the camera; `play` provokes one fault on several cameras
at once, waits until it shows, ends it, and waits for good pictures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edged.sources.v4l2 import V4l2Source
from tests.system.guest import vivid

PROMISED_S = 3.0  # from a fault's end to the next good picture
SHOWS_S = 10.0  # how long a fault may take to show
LOST_S = 20.0  # after which a camera is given up
SETTLED = 3  # good pictures in a row before the next round
DROPPING_S = 0.6


class Watch:
    """What came from one camera. Thread-safe; `source` is the one that is open now or is tried again."""

    def __init__(self, device: str, memory: str) -> None:
        self.device, self.memory = device, memory
        self.source: V4l2Source | None = None
        self.came = threading.Condition()
        self.good_s: list[
            tuple[float, float]
        ] = []  # time.monotonic() of capture and arrival of each good picture
        self.bad_s: list[float] = []
        self.faults: list[tuple[float, str]] = []
        self.missing = 0  # pictures by the driver's own numbers
        self.defects: list[str] = []  # what may never be

    def picture(self, good: bool, captured_ns: int, missing: int = 0) -> None:
        """Has two times: what was captured before a fault may arrive after it, and is no recovery."""
        if not good:
            self.bad()
        with self.came:
            self.missing += missing
            if good:
                self.good_s.append((captured_ns / 1e9, time.monotonic()))
            self.came.notify_all()

    def bad(self) -> None:
        with self.came:
            self.bad_s.append(time.monotonic())
            self.came.notify_all()

    def fault(self, text: str) -> None:
        with self.came:
            self.faults.append((time.monotonic(), text))
            self.came.notify_all()

    def defect(self, text: str) -> None:
        with self.came:
            self.defects.append(text)

    def wait(self, true: Callable[[], bool], timeout_s: float) -> bool:
        """Until something came that makes it true; facts that come without a picture are seen within 0.1 s."""
        end = time.monotonic() + timeout_s
        with self.came:
            while not true():
                if time.monotonic() >= end:
                    return False
                self.came.wait(0.1)
        return True

    def said(self, since: float, text: str) -> bool:
        return any(at >= since and text in words for at, words in self.faults)

    def refused(self) -> int:
        """Buffers that the driver refused since it was opened."""
        queue = None if self.source is None else self.source._queue
        return 0 if queue is None else queue.refused

    def first_good(self, since: float) -> float:
        """When the first good picture that was captured after `since` arrived."""
        with self.came:
            return next(arrived for captured, arrived in self.good_s if captured > since)


@dataclass(frozen=True, slots=True)
class Fault:
    """`begin` and `end` act on one camera; `shows(watch, since)` is whether it has been noticed.

    `later`: it waits for the next opening, and has ended when it has struck. `all`: vivid has this fault only for all
    cameras at once; then it acts on the first.
    """

    begin: Callable[[Watch], None]
    shows: Callable[[Watch, float], bool]
    end: Callable[[Watch], None] | None = None
    holds_s: float = 0.0
    memories: tuple[str, ...] = ("userptr", "mmap")
    later: bool = False
    all: bool = False


def _press(*names: str) -> Callable[[Watch], None]:
    def begin(watch: Watch) -> None:
        for name in names:
            vivid.set_control(watch.device, name)

    return begin


def _drop(percent: int) -> Callable[[Watch], None]:
    return lambda watch: vivid.set_control(watch.device, "percentage_of_dropped_buffers", percent)


def _says(text: str) -> Callable[[Watch, float], bool]:
    return lambda watch, since: watch.said(since, text)


def _refuse_userptr(watch: Watch) -> None:
    """The buffer that is refused is the first after opening, which is how a driver without USERPTR may say so."""
    since = time.monotonic()
    vivid.set_control(watch.device, "inject_fatal_streaming_error")
    assert watch.wait(lambda: watch.said(since, "EIO"), SHOWS_S), "no EIO"
    vivid.set_control(watch.device, "inject_vidioc_qbuf_error")


FAULTS: dict[str, Fault] = {
    "error flag": Fault(
        _press("inject_v4l2_buf_flag_error"), lambda w, since: bool(w.bad_s) and w.bad_s[-1] >= since
    ),
    "QBUF error": Fault(_press("inject_vidioc_qbuf_error"), lambda w, since: w.refused() > 0),
    "fatal streaming error": Fault(_press("inject_fatal_streaming_error"), _says("EIO")),
    "disconnect": Fault(_press("disconnect"), _says("ENODEV")),
    "dropped buffers 50%": Fault(_drop(50), lambda w, since: True, _drop(0), DROPPING_S),
    "REQBUFS error": Fault(
        _press("inject_vidioc_reqbufs_error", "inject_fatal_streaming_error"),
        _says("REQBUFS: EINVAL"),
        later=True,
    ),
    "STREAMON error": Fault(
        _press("inject_vidioc_streamon_error", "inject_fatal_streaming_error"),
        _says("STREAMON: EINVAL"),
        later=True,
    ),
    "USERPTR refused": Fault(
        _refuse_userptr, _says("which cannot be with"), memories=("userptr",), later=True
    ),
    "unbind and bind": Fault(
        lambda watch: vivid.unbind(), _says("ENODEV"), lambda watch: vivid.bind(), 0.5, all=True
    ),
}
ROUNDS, DISCONNECTS = 20, 100


def rounds_of(fault: str, share: float = 1.0) -> int:
    return max(1, round((DISCONNECTS if fault == "disconnect" else ROUNDS) * share))


@dataclass(slots=True)
class Times:
    """Of one fault and memory: seconds from its end to a good picture, one a round; and pictures missing by the
    driver's numbers.
    """

    recovery_s: list[float] = field(default_factory=list)
    missing: int = 0
    failures: list[str] = field(default_factory=list)


def play(fault: Fault, watches: Sequence[Watch], times: dict[str, Times]) -> None:
    """One round. `times`: by memory."""
    missing = {w.memory: w.missing for w in watches}
    begun = dict.fromkeys(missing, time.monotonic())
    for w in watches[:1] if fault.all else watches:
        if not fault.all:
            begun[w.memory] = time.monotonic()
        fault.begin(w)
    for w in watches:
        since = begun[w.memory]
        if not w.wait(lambda w=w, since=since: fault.shows(w, since), SHOWS_S):  # type: ignore[misc]
            times[w.memory].failures.append(f"did not show in {SHOWS_S:g} s; {_story(w, since)}")
    if fault.holds_s:
        time.sleep(fault.holds_s)
    ended = begun  # a fault that happens once has ended when it began
    if fault.end is not None:
        for w in watches[:1] if fault.all else watches:
            fault.end(w)
        ended = dict.fromkeys(begun, time.monotonic())
    for w in watches:
        _await_good(fault, w, begun[w.memory], ended[w.memory], times[w.memory])
        times[w.memory].missing += w.missing - missing[w.memory]


def _await_good(fault: Fault, w: Watch, begun: float, ended: float, times: Times) -> None:
    """The first good picture after the last sign of the fault; then a few more."""

    def last_sign() -> float:
        signs = [at for at, _ in w.faults[-5:]] + w.bad_s[-1:]
        return max([ended, *(at for at in signs if at >= begun)])

    if not w.wait(lambda: sum(c > last_sign() for c, _ in w.good_s[-SETTLED:]) >= SETTLED, LOST_S):
        times.failures.append(f"no good pictures in {LOST_S:g} s; {_story(w, begun)}")
        return
    if fault.later:
        ended = last_sign()
    first = w.first_good(last_sign())
    times.recovery_s.append(first - ended)
    if first - ended > PROMISED_S:
        times.failures.append(f"took {first - ended:.2f} s; {_story(w, begun)}")


def _story(w: Watch, since: float) -> str:
    told = [f"{at - since:+.2f} s {text}" for at, text in w.faults if at >= since]
    return f"{len(w.good_s)} good and {len(w.bad_s)} bad pictures so far; faults: {told}"
