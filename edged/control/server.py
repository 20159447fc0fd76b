"""The control server: aiohttp in a thread and an event loop of its own, so that nothing here disturbs a frame."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from types import TracebackType
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from edged.config.schema import ControlConfig
from edged.control.events import EventLog
from edged.control.guard import IDLE_S, MOST_CLIENTS, Guard
from edged.control.handlers import BY, Handlers
from edged.control.middleware import LARGEST, around, check_size, expected
from edged.control.openapi import describe
from edged.control.problems import HttpError
from edged.control.rights import Peer
from edged.control.routes import ROUTES, Route
from edged.control.sockets import BACKLOG, Listening, inherited, listen, loopback, socket_path
from edged.control.streams import News
from edged.messages import Identity
from edged.steering import Steering

ADMIT_S = 10.0  # that the system may take to say who a client is
LINGER_S = 0.5  # that a body which is refused is still read, so that its sender sees why
STOP_S = 0.5  # that answers, and streams before them, may take to get out at the end

log = logging.getLogger(__name__)


class ControlServer:
    """Listens once it is built; `start` answers, `stop` ends. Any thread.

    listen_fds: Unix sockets that systemd handed over; without them, that of control.socket, or none. Raises
    ControlError.
    """

    def __init__(
        self,
        steering: Steering,
        events: EventLog,
        config: ControlConfig,
        identity: Identity,
        listen_fds: Sequence[int] = (),
        *,
        most_clients: int = MOST_CLIENTS,
        idle_s: float = IDLE_S,
    ) -> None:
        self._steering, self._events, self._config, self._identity = steering, events, config, identity
        self._most_clients, self._idle_s = most_clients, idle_s
        with ExitStack() as opened:
            self._sockets: list[Listening] = []
            self._exposed: list[Listening] = []
            for listening in _open(config, listen_fds):
                opened.callback(listening.close)
                self._sockets.append(listening)
            if config.health_port is not None:
                self._exposed.append(loopback(config.health_port))
                opened.callback(self._exposed[0].close)
            self._closing = opened.pop_all()
        self._failed = ""
        self._stop = asyncio.Event()
        self._serving: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None

    def start(self) -> None:
        """Once."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._main, args=(loop,), name="control", daemon=True)
        self._serving = loop, thread
        thread.start()

    def stop(self) -> None:
        """Streams get their last line; sockets are gone when it returns. Idempotent; legal before `start`."""
        if self._serving is not None:
            loop, thread = self._serving
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(self._stop.set)
            thread.join(2 * STOP_S + 1.0)
        self._closing.close()

    @property
    def failed(self) -> str:
        """Why nobody is answered any more, though it was not stopped; "": all is well."""
        return self._failed

    def __enter__(self) -> ControlServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    # In the server's thread.

    def _main(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_until_complete(self._serve())
        except Exception as e:
            self._failed = f"the control API has ended: {type(e).__name__}: {e}"
            log.exception("the control API has ended: a defect in edged; what runs goes on without it")
        finally:
            loop.close()

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            news = News(self._events)
            handlers = Handlers(
                self._steering, self._events, news, self._identity, msgspec.json.encode(describe(ROUTES))
            )
            stack.callback(handlers.close)
            stack.callback(news.detach)  # whatever happens: the log would call into a loop that is closed
            await self._listen(stack, ROUTES, handlers, self._sockets)
            await self._listen(stack, [r for r in ROUTES if r.exposed], handlers, self._exposed)
            await self._stop.wait()
            await news.close(STOP_S)

    async def _listen(
        self, stack: AsyncExitStack, routes: Sequence[Route], handlers: Handlers, sockets: Sequence[Listening]
    ) -> None:
        guard = Guard(self._most_clients, self._idle_s)
        app = web.Application(client_max_size=LARGEST, middlewares=[around(guard)])
        for route in routes:
            answer = self._answer(route, handlers)
            app.router.add_route(route.method, route.path, answer, expect_handler=expected)
        runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            auto_decompress=False,
            lingering_time=LINGER_S,
            shutdown_timeout=STOP_S,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.callback(guard.close)
        guard.server = runner.server
        _beside(stack, guard.watch())
        for listening in sockets:
            loop = asyncio.get_running_loop()
            serving = await loop.create_server(guard, sock=listening.sock, backlog=BACKLOG)
            stack.callback(serving.close)

    def _answer(self, route: Route, handlers: Handlers) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            check_size(request)
            if route.who == "operators":
                await asyncio.wait_for(self._admit(request, handlers), ADMIT_S)
            return await asyncio.wait_for(route.handler(handlers, request), route.limit_s)

        return answer

    async def _admit(self, request: web.Request, handlers: Handlers) -> None:
        """HttpError 403: whoever asks may not change things. Else request[BY] says who it is."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        peer, group = Peer.of(transport.get_extra_info("socket")), self._config.group
        admitted, by = await handlers.admit(peer, group)
        if not admitted:
            raise HttpError(
                403,
                f"{by} may read, and not change anything",
                hint=f"changes are for root, the user that edged runs as and members of group '{group}' "
                f"(usermod -aG {group} USER)",
            )
        request[BY] = by


def _open(config: ControlConfig, listen_fds: Sequence[int]) -> Iterator[Listening]:
    if listen_fds:
        yield from map(inherited, listen_fds)
        return
    path = socket_path(config.socket)
    if path is None:
        log.info("no control socket: control.socket is not set, and there is no $RUNTIME_DIRECTORY")
    else:
        yield listen(path, config.group)


def _beside(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """A task that is cancelled at the end."""
    task = asyncio.get_running_loop().create_task(work)
    stack.callback(task.cancel)
