"""JSON lines, one message a line, to a file (appended) or to stdout.

Each line is handed to the system at once. A reader that stops reading a pipe makes the sink busy, not stuck.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from typing import ClassVar

from edged.config.schema import Seconds, Table
from edged.errors import SinkError
from edged.messages import Identity, Message, encode

_HINTS = {
    errno.ENOSPC: "free space on that disk, or set another path",
    errno.EDQUOT: "free space in that quota, or set another path",
    errno.EACCES: "give the user who runs edged write access, or set another path",
    errno.EPERM: "give the user who runs edged write access, or set another path",
    errno.EROFS: "set a path on a file system that can be written",
    errno.ENOENT: "create the directory first",
    errno.ENOTDIR: "a part of the path is a file: set another path",
    errno.EISDIR: "set the path of a file, not of a directory",
    errno.ENXIO: "start the program that reads this pipe",
    errno.EPIPE: "the program that read the lines has ended: start it again",
}


class JsonLinesOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`path`: a file to append to; "-": stdout. `stall_s`: how long a reader may pause within a line."""

    PATHS: ClassVar[tuple[str, ...]] = ("path",)

    path: str = "-"
    stall_s: Seconds = 2.0


class JsonLinesSink:
    """Used by one thread, its worker's. Owns its descriptor (a duplicate of stdout's)."""

    Options: ClassVar[type[JsonLinesOptions]] = JsonLinesOptions
    DELIVER: ClassVar[str] = "queue"  # a file keeps every result

    def __init__(self, name: str, options: JsonLinesOptions, identity: Identity) -> None:
        self.name = name
        self._options = options
        self._target = "stdout" if options.path == "-" else options.path
        self._fd: int | None = None
        self._pipe = False  # a pipe or terminal: its reader may pause
        self._torn = False  # the last line was cut off by a fault

    def open(self) -> None:
        """Raises SinkError. A named pipe without a reader is a fault (retried), not a wait."""
        try:
            if self._options.path == "-":
                self._fd = os.dup(1)
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
                self._fd = os.open(self._options.path, flags, 0o644)
            self._pipe = not stat.S_ISREG(os.fstat(self._fd).st_mode)
        except OSError as e:
            raise self._error(e) from e

    def ready(self) -> bool:
        """False while a pipe is full."""
        return self._fd is None or not self._pipe or self._writable(self._fd, 0.0)

    def publish(self, m: Message) -> None:
        """Write one line. Raises SinkError; waits at most `stall_s` on a pipe that fills up within the line."""
        if self._fd is None:
            raise SinkError(f"sink '{self.name}' is not open", hint="call open() first")
        left = memoryview(b"\n" * self._torn + encode(m.body, "json") + b"\n")
        end = time.monotonic() + self._options.stall_s
        while left:
            if self._pipe and not self._writable(self._fd, end - time.monotonic()):
                raise SinkError(
                    f"sink '{self.name}': the reader of {self._target} has not read for {self._options.stall_s:g} s",
                    hint="let it read faster, or write to a file",
                )
            try:
                # a writable pipe takes PIPE_BUF bytes without waiting (POSIX), stdout may be in blocking mode
                left = left[os.write(self._fd, left[: select.PIPE_BUF] if self._pipe else left) :]
            except OSError as e:
                raise self._error(e) from e
            self._torn = len(left) > 0

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    @staticmethod
    def _writable(fd: int, timeout_s: float) -> bool:
        """True also when the reader has gone: the write then says so."""
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        return bool(poll.poll(max(0.0, timeout_s) * 1e3))

    def _error(self, e: OSError) -> SinkError:
        hint = _HINTS.get(e.errno or 0, "see the message of the system")
        return SinkError(f"sink '{self.name}': cannot write {self._target}: {e.strerror}", hint=hint)
