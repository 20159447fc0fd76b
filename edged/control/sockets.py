"""The control socket: its path, and a listening socket there in place of what a daemon before left behind."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edged.control.rights import group_id
from edged.errors import EdgedError, ExitCode

NAME = "control.sock"
MODE = 0o660
BACKLOG = 512  # clients that connect at once and have not been seen yet
ANSWER_S = 1.0  # a daemon that listens takes a connection at once
# of struct sockaddr_un, less the NUL at its end
LONGEST = 107

log = logging.getLogger(__name__)


class ControlError(EdgedError):
    """The control API cannot be served where it is asked for."""

    exit_code = ExitCode.CONFIG


def socket_path(configured: str) -> Path | None:
    """`configured`: control.socket, else control.sock in systemd's RuntimeDirectory=; None: there is none."""
    if configured:
        return Path(configured)
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(folder, NAME) if folder else None


@dataclass(frozen=True, slots=True)
class Listening:
    """A socket that listens; `file` is its path and inode where we made it."""

    sock: socket.socket
    file: tuple[Path, int] | None = None

    def close(self) -> None:
        """And take its file away, unless another daemon has put its own there."""
        self.sock.close()
        if self.file is not None:
            path, inode = self.file
            with suppress(FileNotFoundError), _alone_at(path):
                if path.lstat().st_ino == inode:
                    path.unlink()


def listen(path: Path, group: str) -> Listening:
    """A socket that listens at `path`, for the user and the group alone. ControlError says why there is none."""
    _check_length(path)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _alone_at(path):
            _remove_stale(path)
            return _bound(path, group)
    except OSError as e:
        raise ControlError(
            f"cannot listen at {path}: {e.strerror or e}",
            hint="give control.socket a path in a folder that this user may write to",
        ) from e


def inherited(fd: int) -> Listening:
    """The listening Unix socket that systemd opened (edged.socket); its file is systemd's."""
    with suppress(OSError):
        sock = socket.socket(fileno=fd)
        if sock.family == socket.AF_UNIX and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return Listening(sock)
        sock.detach()
    raise ControlError(
        f"file descriptor {fd}, handed over by systemd, is no Unix socket that listens",
        hint="edged.socket takes ListenStream=/PATH alone; control.health_port opens a TCP port",
    )


def loopback(port: int) -> Listening:
    """A TCP port of this machine alone."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(BACKLOG)
    except OSError as e:
        sock.close()
        raise ControlError(
            f"cannot listen on port {port} of 127.0.0.1: {e.strerror or e}",
            hint="give control.health_port a port that is free (ss -ltnp shows who has it)",
        ) from e
    return Listening(sock)


def _check_length(path: Path) -> None:
    if len(os.fsencode(path)) > LONGEST:
        raise ControlError(
            f"the path of the control socket is longer than {LONGEST} bytes: {path}",
            hint="give control.socket a shorter one",
        )


@contextmanager
def _alone_at(path: Path) -> Iterator[None]:
    """Of two daemons that start at once, the second finds the first one's socket.

    The lock is a file for the time being and for this user alone: what others can open (the folder) they can lock.
    """
    lock = path.with_name(f".{path.name}.lock")
    while True:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not _is_at(lock, fd):  # who had it before has taken it away
                continue
            try:
                yield
            finally:
                lock.unlink()
            return
        finally:
            os.close(fd)


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlError(
            f"{path} is there and is no socket", hint="move it away, or give control.socket another path"
        )
    if answers(path):
        raise ControlError(
            f"another daemon listens at {path}",
            hint="stop it first (systemctl stop edged), or give control.socket another path",
        )
    path.unlink()


def answers(path: Path) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ANSWER_S)
        try:
            probe.connect(os.fspath(path))
        except OSError as e:
            # a full backlog (EAGAIN) or one that is not ours to open is somebody's
            return e.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def _bound(path: Path, group: str) -> Listening:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(os.fspath(path))
        _give_to(path, group)
        os.chmod(path, MODE)
        sock.listen(BACKLOG)  # only now: till here nobody gets in
        return Listening(sock, (path, path.lstat().st_ino))
    except BaseException:
        sock.close()
        raise


def _give_to(path: Path, group: str) -> None:
    gid = group_id(group)
    if gid is None:
        log.info("there is no group '%s': %s is for root and this user alone", group, path)
        return
    try:
        os.chown(path, -1, gid)
    except PermissionError:
        log.warning("this user may not give %s to group '%s': join it, or set control.group", path, group)
