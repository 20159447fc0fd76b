"""A look at a pipeline from outside: its next frame with what came of it. Costs the pipeline nothing but a lease.

who asks                     the runner's thread
Pipeline.look() ─► Look ◄── see: the frame, when it is taken from the mailbox
                        ◄── tell: the result, when it is handed on
"""

from __future__ import annotations

import threading

from edged.errors import EdgedError
from edged.frames import Frame
from edged.messages import Result
from edged.views import View


class Look:
    """Thread-safe; nothing holds its lock for long. `view`: what the pipeline's model sees of the frame.

    Whoever asked closes it, whatever came of it: only so is the lease of a frame that nobody took released.
    """

    def __init__(self, view: View) -> None:
        self.view = view  # of the pipeline that takes the frame; set before it does
        self._news = threading.Condition()
        self._frame: Frame | None = None
        self._result: Result | EdgedError | None = None
        self.closed = False

    # Who asks.

    def frame(self, timeout_s: float) -> Frame | None:
        """The frame, once; its lease goes with it. None: none came in time, or the look was closed.

        Raises why none will come.
        """
        with self._news:
            self._news.wait_for(
                lambda: self._frame is not None or self._result is not None or self.closed, timeout_s
            )
            frame, self._frame = self._frame, None
        if frame is None and isinstance(self._result, EdgedError):
            raise self._result
        return frame

    def result(self, timeout_s: float) -> Result | None:
        """What came of it; None as of `frame`. Raises why nothing came of it."""
        with self._news:
            self._news.wait_for(lambda: self._result is not None or self.closed, timeout_s)
            result = self._result
        if isinstance(result, EdgedError):
            raise result
        return result

    def close(self) -> None:
        """Nothing is wanted any more; who waits gets None. Idempotent."""
        with self._news:
            self.closed = True
            frame, self._frame = self._frame, None
            self._news.notify_all()
        if frame is not None:
            frame.release()

    # The runner's thread.

    def see(self, frame: Frame) -> bool:
        """Keeps a lease of its own. False: it was closed."""
        with self._news:
            if self.closed:
                return False
            self._frame = frame.retain()
            self._news.notify_all()
            return True

    def tell(self, result: Result | EdgedError) -> None:
        with self._news:
            self._result = result
            self._news.notify_all()
