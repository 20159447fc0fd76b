"""Settings of the whole process while a daemon runs; each is put back at the end."""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from edged.sources._rtsp_reader import Reader

SWITCH_S = 0.0005  # how long another thread's Python may delay a frame


@contextmanager
def tuned_interpreter() -> Iterator[None]:
    """Threads give way soon; what `freeze_garbage` froze is freed again at the end."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)


def freeze_garbage() -> None:
    """What lives now is never scanned again: it stays until the end, and a full scan would delay a frame."""
    gc.collect()
    gc.freeze()


def collect_garbage() -> None:
    """Free what a change has replaced: its parts know each other, and their regions would stay until Python looks.

    A few milliseconds, as what lived at the start is frozen.
    """
    gc.collect()


def give_back_memory() -> None:
    """What was freed goes back to the kernel; glibc keeps it, in each thread's arena.

    1 to 30 ms: for when a model or a source was closed.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def threads_in_libraries() -> bool:
    """Whether a closed source left a thread behind that waits for a library, which waits for a camera."""
    return any(isinstance(t, Reader) for t in threading.enumerate())


@contextmanager
def ask_on_signals(asked: threading.Event, reload: threading.Event | None = None) -> Iterator[None]:
    """SIGTERM and SIGINT ask once; a second of either ends the process at once, by the signal's own default.

    SIGHUP sets `reload`, where that is given, as often as it comes.
    """
    numbers = (signal.SIGTERM, signal.SIGINT)

    def handler(_: int, __: FrameType | None) -> None:
        asked.set()
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, handler) for number in numbers}
    if reload is not None:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda _, __: reload.set())
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def has_terminal() -> bool:
    """Whether SIGHUP means that our terminal is gone, not that the configuration is to be read again."""
    return sys.stdin is not None and sys.stdin.isatty()
