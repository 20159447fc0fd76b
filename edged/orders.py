"""What others ask of the main loop: calls that it makes between two happenings, and Futures of what came of them."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edged.errors import ExitCode
from edged.steering import Busy

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Order(Generic[T]):
    """`do(now, future)` is called by the main loop, and sees to it that the future is done some time.

    It may come to the end of everything, with the exit code.
    """

    do: Callable[[float, Future[T]], ExitCode | None]
    future: Future[T]


class Orders:
    """Puts orders into the main loop's inbox, from any thread; once it has ended, all are refused."""

    def __init__(self, inbox: queue.Queue[Any]) -> None:
        self._inbox = inbox
        self._over = False

    def give(self, do: Callable[[float, Future[T]], ExitCode | None]) -> Future[T]:
        order = Order(do, Future())
        try:
            self._inbox.put_nowait(order)
        except queue.Full:
            log.error("the main loop does not read its inbox: an order is not carried out")
            order.future.set_exception(
                Busy("the main loop does not read its inbox", hint="look at the journal")
            )
        if self._over:
            self.refuse()
        return order.future

    def refuse(self) -> None:
        """The main loop has ended: what waits, and what comes, is not done."""
        self._over = True
        while True:
            try:
                waiting = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(waiting, Order) and waiting.future.set_running_or_notify_cancel():
                waiting.future.set_exception(Busy("edged has ended", hint="start it again"))
