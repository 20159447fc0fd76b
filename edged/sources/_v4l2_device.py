"""A thin layer on the kernel's calls: every ioctl is checked, and an error names device, ioctl, errno and remedy.

`Kernel` is all that edged asks of the system; v4l2_fake.FakeKernel answers the same calls.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import mmap
import os
import select
import time
from ctypes import Structure, c_int32
from typing import Protocol

from edged.errors import SourceError
from edged.sources import _videodev2 as v

Argument = Structure | c_int32

log = logging.getLogger(__name__)


class Kernel(Protocol):
    """The system calls on a video device; faults are OSError."""

    def open(self, path: str) -> int: ...
    def close(self, fd: int) -> None: ...
    def ioctl(self, fd: int, request: int, argument: Argument) -> None:
        """Reads and writes `argument` in place."""
        ...

    def poll(self, fd: int, timeout_s: float) -> bool:
        """Whether something is there to dequeue, be it a fault; False: not in time."""
        ...

    def mmap(self, fd: int, length: int, offset: int) -> mmap.mmap: ...


class SystemKernel:
    """The real one."""

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def ioctl(self, fd: int, request: int, argument: Argument) -> None:
        while True:
            try:
                fcntl.ioctl(fd, request, argument)
                return
            except InterruptedError:  # Python does not repeat an ioctl that a signal broke off
                continue

    def poll(self, fd: int, timeout_s: float) -> bool:
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        return bool(waiting.poll(timeout_s * 1000))

    def mmap(self, fd: int, length: int, offset: int) -> mmap.mmap:
        return mmap.mmap(fd, length, offset=offset)


_LIST = "edged cameras lists what is there"
_BUSY = "another program has the camera; see which: fuser -v {path}"
_GONE = f"the camera is gone: check its cable and power; {_LIST}"
# (call or "", errno) -> what to do; the call's own first
_HINTS: dict[tuple[str, int], str] = {
    ("open", errno.ENOENT): f"check the name and the cable; {_LIST}",
    ("open", errno.EACCES): "add the user to the group 'video': usermod -aG video USER",
    ("open", errno.ENODEV): "it was unplugged while a program held it; end that program: fuser -v {path}",
    ("QUERYCAP", errno.ENOTTY): f"it is no V4L2 device; {_LIST}",
    ("QUERYCAP", errno.EINVAL): f"it is no V4L2 device; {_LIST}",
    ("S_SELECTION", errno.EINVAL): "remove crop: this camera cannot, or not so",
    ("S_SELECTION", errno.ENOTTY): "remove crop: this camera cannot",
    ("S_SELECTION", errno.ENODATA): "remove crop: this camera cannot at this input",
    ("S_EXT_CTRLS", errno.EINVAL): "see what it takes: edged cameras",
    ("S_EXT_CTRLS", errno.ERANGE): "see what it takes: edged cameras",
    (
        "S_EXT_CTRLS",
        errno.EACCES,
    ): "it is read-only, or another control must change before: put that one first",
    ("STREAMON", errno.ENOSPC): "the USB bus is full: use another port, a lower rate or size, or format MJPG",
    ("STREAMON", errno.EINVAL): "try again; if it stays, try another size or format, or plug it in again",
    ("STREAMON", errno.EPIPE): "the media pipeline is not set up: see media-ctl -p, and the vendor's notes",
    ("REQBUFS", errno.EINVAL): "try again; if it stays, set memory = 'mmap'",
    ("REQBUFS", errno.ENOMEM): "the driver has no memory for buffers: use a smaller size",
    (
        "DQBUF",
        errno.EIO,
    ): "the driver gave up: the camera must be opened again; if it returns, check the cable",
    ("DQBUF", errno.EPIPE): "the signal at the input changed: the camera must be opened again",
    ("", errno.EBUSY): _BUSY,
    ("", errno.ENODEV): _GONE,
    ("", errno.ENXIO): _GONE,
    ("", errno.ENOENT): _GONE,
    ("", errno.EACCES): _BUSY,
    ("", errno.EPERM): "the user may not: add it to the group 'video': usermod -aG video USER",
    ("", errno.EIO): "the camera or its bus fails: check the cable, plug it in again",
    ("", errno.EPROTO): "the USB connection fails: check the cable, use another port",
    ("", errno.ETIMEDOUT): "the camera does not answer: plug it in again",
    ("", errno.ENOSPC): "the bus is full: use another port, a lower rate or size, or format MJPG",
    ("", errno.ENOTTY): "the driver cannot do this; see what it can: edged cameras",
    ("", errno.EMFILE): "too many open files: raise LimitNOFILE",
}
_OTHER = "see the kernel's messages: dmesg"


class CallError(SourceError):
    """A system call on a camera failed. `call` is its name ("open", "QBUF"), `errno` the number."""

    def __init__(self, who: str, path: str, call: str, e: OSError) -> None:
        self.call, self.errno = call, e.errno or 0
        hint = _HINTS.get((call, self.errno)) or _HINTS.get(("", self.errno), _OTHER)
        super().__init__(f"{who} fails at {path}: {self.reason}", hint=hint.format(path=path))

    @property
    def reason(self) -> str:
        """VIDIOC_QBUF: EINVAL (Invalid argument)."""
        call = self.call if self.call.islower() else f"VIDIOC_{self.call}"
        return f"{call}: {errno.errorcode.get(self.errno, self.errno)} ({os.strerror(self.errno)})"


class Device:
    """One open camera. `who` begins its errors ("source 'front'"). Used by one thread; `close` is idempotent.

    `path` may be a link (by-id, by-path); it is resolved at `open`, `real` is where it led.
    """

    def __init__(self, path: str, who: str, kernel: Kernel) -> None:
        self.path, self.who = path, who
        self.real = path
        self._kernel = kernel
        self._fd = -1

    def open(self) -> None:
        self.real = os.path.realpath(self.path)
        try:
            self._fd = self._kernel.open(self.real)
        except OSError as e:
            raise self._error("open", e) from e

    def close(self) -> None:
        """Lets the driver go of everything, mappings excepted."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            self._kernel.close(fd)
        except OSError as e:  # the descriptor is gone all the same
            log.warning("%s", self._error("close", e).message)

    def ioctl(self, request: v.Ioctl, argument: Argument) -> None:
        """Raises CallError."""
        try:
            self._kernel.ioctl(self._fd, request, argument)
        except OSError as e:
            raise self._error(request.name, e) from e

    def ask(self, request: v.Ioctl, argument: Argument) -> bool:
        """False where the driver says that there is no such thing (EINVAL, ENOTTY, ENODATA): lists end so."""
        try:
            self._kernel.ioctl(self._fd, request, argument)
        except OSError as e:
            if e.errno in (errno.EINVAL, errno.ENOTTY, errno.ENODATA):
                return False
            raise self._error(request.name, e) from e
        return True

    def dequeue(self, buffer: v.Buffer, deadline: float) -> bool:
        """Wait for a filled buffer until `deadline` (time.monotonic()); False: none came. Raises CallError."""
        while True:
            left = max(0.0, deadline - time.monotonic())
            if not self._kernel.poll(self._fd, left):
                return False
            try:
                self._kernel.ioctl(self._fd, v.Ioctl.DQBUF, buffer)
                return True
            except (
                BlockingIOError
            ):  # poll was wrong; a driver that is so for ever must not be asked in a busy loop
                if left == 0:
                    return False
                time.sleep(min(left, 0.001))
            except OSError as e:
                raise self._error("DQBUF", e) from e

    def mmap(self, length: int, offset: int) -> mmap.mmap:
        try:
            return self._kernel.mmap(self._fd, length, offset)
        except OSError as e:
            raise self._error("mmap", e) from e

    def fail(self, message: str, hint: str) -> SourceError:
        """An error about this device: "source 'front' <message>"."""
        return SourceError(f"{self.who} {message}", hint=hint)

    def _error(self, call: str, e: OSError) -> CallError:
        return CallError(self.who, self._shown(), call, e)

    def _shown(self) -> str:
        return self.path if self.real == self.path else f"{self.path} ({self.real})"


SYSTEM = SystemKernel()
