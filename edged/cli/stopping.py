"""SIGTERM and SIGHUP for commands that tidy up: a service manager, a closed terminal or a lost SSH connection."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def unwinding() -> Iterator[None]:
    """They end what is inside as Ctrl-C does, through every `finally`, with the status that a shell knows (128 + n).

    One that is ignored stays so (nohup). In the main thread.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        for s in before:
            signal.signal(s, signal.SIG_IGN)  # once is enough: a second would stop the tidying up
        raise SystemExit(128 + number)

    before = {s: signal.getsignal(s) for s in _STOPPING if signal.getsignal(s) is not signal.SIG_IGN}
    for s in before:
        signal.signal(s, stop)
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
