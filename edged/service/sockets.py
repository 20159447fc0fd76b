"""Sockets that systemd listens on and hands over (edged.socket), so that a first request starts the service."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from edged.errors import EdgedError, ExitCode, MissingPackage


class WrongSocket(EdgedError):
    exit_code = ExitCode.CONFIG


def listen_fds(environment: Mapping[str, str] = os.environ) -> tuple[int, ...]:
    """File descriptors of listening Unix stream sockets, for the caller to close; () where none were handed over.

    To be called once: it takes LISTEN_FDS out of the environment, so that no child thinks that they are its own.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return ()
    try:
        from systemd import daemon
    except ImportError as e:
        raise MissingPackage(
            "systemd-python", needed_by="a socket unit (LISTEN_FDS is set)", extra="systemd"
        ) from e
    fds = tuple(int(fd) for fd in daemon.listen_fds(True))
    for fd in fds:
        if not daemon.is_socket(fd, socket.AF_UNIX, socket.SOCK_STREAM, 1):
            raise WrongSocket(
                f"systemd hands over file descriptor {fd}, which is no listening Unix stream socket",
                hint="a socket unit of edged has ListenStream=/a/path only",
            )
    return fds
