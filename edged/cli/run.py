"""Run a configuration until it is told to stop (SIGTERM, Ctrl-C), its input ends or a limit is reached.

The first signal drains and exits within 5 s; a second one ends the process at once. Under systemd it says when it is
ready and alive, and its lines go to the journal with fields.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import msgspec
from rich.console import Console

from edged.cli._service import Service
from edged.cli._steered import Steered
from edged.cli.live import StatusLine, summary
from edged.config.boot import boot
from edged.config.schema import ControlConfig
from edged.control.events import EventLog
from edged.control.sockets import socket_path
from edged.daemon import Daemon, Limits
from edged.errors import EdgedError, ExitCode
from edged.messages import Event, Identity
from edged.metrics import Snapshot
from edged.process import threads_in_libraries
from edged.sensors.thread import Sensors
from edged.service.journal import journal_handler, log_event, logged_to
from edged.service.sockets import listen_fds
from edged.steering import ConfigState

HELP = "run a configuration"

log = logging.getLogger(__name__)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the configuration (TOML)")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--frames", type=positive_int, metavar="N", help="stop after N frames a pipeline")
    limit.add_argument("--seconds", type=positive, metavar="S", help="stop after S seconds of running")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no live status and no summary")


def run(args: argparse.Namespace) -> int:
    journal = journal_handler()
    if journal is None:
        status = StatusLine(sys.stderr, live=sys.stderr.isatty() and not args.quiet)
        with status.above():
            return _run(args, status, status.event)
    with logged_to(journal):
        try:
            return _run(args, StatusLine(sys.stderr, live=False), log_event)
        except EdgedError as e:  # as main does, but with the journal's fields
            log.error("%s", e)
            return e.exit_code


def _run(args: argparse.Namespace, status: StatusLine, on_event: Callable[[Event], None]) -> ExitCode:
    service, events, sensors = Service(), EventLog(), Sensors()
    fds = listen_fds()
    booted = boot(args.file)
    for warning in booted.config.warnings:
        log.warning("%s: warning: %s", args.file, warning)

    def reload() -> Future[ConfigState]:
        return steered.reload(by="SIGHUP")

    def tick(daemon: Daemon) -> None:
        status.tick(daemon)
        steered.tick()
        service.tick(daemon, reload)

    def told(event: Event) -> None:
        on_event(event)
        events.add(event)

    limits = Limits(args.frames, args.seconds)
    daemon = Daemon(booted.config, limits, on_tick=tick, on_event=told, sensors=sensors)
    steered = Steered(daemon, booted)
    with _served(steered, events, booted.config.control, daemon.identity, fds), sensors:
        try:
            code = daemon.run()
            service.tick(daemon, reload)  # an end may be quicker than the next tick
        finally:
            steered.close()
    status.clear()
    _tell(daemon.snapshot(), args)
    if code is not ExitCode.OK or daemon.core.why == "signal":
        log.warning("ended: %s (exit status %d)", daemon.core.why, code)
    if daemon.hanging or threads_in_libraries():
        _leave(code)
    return code


@contextmanager
def _served(
    steered: Steered, events: EventLog, config: ControlConfig, identity: Identity, fds: Sequence[int]
) -> Iterator[None]:
    """The control API, where a socket or a port is asked for."""
    if not fds and config.health_port is None and socket_path(config.socket) is None:
        yield
        return
    from edged.control.server import ControlServer  # half a second of imports

    server = ControlServer(steered, events, config, identity, fds)
    server.start()
    try:
        yield
    finally:
        server.stop()


def _tell(snapshot: Snapshot, args: argparse.Namespace) -> None:
    """The summary: for programs on stdout, for people on stderr."""
    if args.json:
        print(msgspec.json.encode(snapshot).decode(), flush=True)
    elif not args.quiet:
        width = None if sys.stderr.isatty() else 120
        Console(stderr=True, width=width).print(summary(snapshot))


def _leave(code: ExitCode) -> None:
    """End the process beside a thread that hangs in a library.

    The interpreter's own end takes the ground from under such a thread: when the library comes back just then,
    Python before 3.14 ends it inside C++ code, which aborts the process with another exit status.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value
