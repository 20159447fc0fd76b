"""A look at a pipeline from outside: its next frame with what came of it. Costs the pipeline nothing but a lease.

who asks                     the runner's thread
Pipeline.look() ─► Look ◄── frame: when it is taken from the mailbox
                        ◄── result: when it is handed on
"""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from edged.errors import EdgedError
from edged.frames import Frame
from edged.messages import Result
from edged.views import View


class Look:
    """`frame`: with a lease that is whoever's asked: released as soon as the pixels are copied, or by `give_up`.

    view: what the pipeline's model sees of it. Both futures may be waited for in any thread.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.frame: Future[Frame] = Future()
        self.result: Future[Result] = Future()

    # Who asks.

    def give_up(self) -> None:
        """No frame is wanted any more: one that came unseen is released. Legal at any time before it is taken."""
        if not self.frame.cancel():
            self.frame.result().release()

    # The runner's thread; never waits, never raises.

    def see(self, frame: Frame) -> bool:
        """False: it was given up."""
        if not self.frame.set_running_or_notify_cancel():
            return False
        self.frame.set_result(frame.retain())
        return True

    def tell(self, result: Result | EdgedError) -> None:
        with suppress(InvalidStateError):
            if isinstance(result, Result):
                self.result.set_result(result)
            else:
                self.result.set_exception(result)
