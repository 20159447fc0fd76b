"""A video driver for tests: it answers system calls as vivid does, so that all of v4l2.py runs without a camera.

`FakeKernel` has cameras by path and stands in for SystemKernel. A camera's faults are attributes, to be set at any
time from the test's thread; each acts as vivid's control of the same purpose does. Descriptors are real (memfd),
so that one left open is seen, and MMAP buffers are real shared memory.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time

from edged.sources import _videodev2 as v
from edged.sources._v4l2_device import Argument
from edged.sources._v4l2_fake_camera import FakeCamera, FakeControl, level
from edged.sources._v4l2_fake_ioctls import ANSWERS, fault, free, produce

__all__ = ["FakeCamera", "FakeControl", "FakeKernel", "level"]


class FakeKernel:
    """Cameras by path. Thread-safe: as in the kernel, calls on one camera exclude each other."""

    def __init__(self, cameras: dict[str, FakeCamera]) -> None:
        self.cameras = cameras
        self._open: dict[int, FakeCamera] = {}
        self._lock = threading.Lock()

    def open(self, path: str) -> int:
        camera = self.cameras.get(path)
        if camera is None or not camera.present:
            raise fault(errno.ENOENT)
        if camera.gone:
            raise fault(errno.ENODEV)
        fd = os.memfd_create("fake-camera", os.MFD_CLOEXEC)
        with self._lock:
            camera.fds.add(fd)
            camera.opens += 1
            self._open[fd] = camera
        return fd

    def close(self, fd: int) -> None:
        with self._lock:
            camera = self._open.pop(fd)
            camera.fds.remove(fd)
            if camera.owner == fd:
                free(camera)
            if not camera.fds:
                camera.gone = not camera.present
        os.close(fd)

    def ioctl(self, fd: int, request: int, argument: Argument) -> None:
        name = v.Ioctl(request).name
        with self._lock:
            camera = self._open[fd]
            camera.calls.append(name)
            if camera.gone:
                raise fault(errno.ENODEV)
            answer = ANSWERS.get(name)
            if answer is None:
                raise fault(errno.ENOTTY)
            answer(camera, fd, argument)

    def poll(self, fd: int, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while True:
            with self._lock:
                camera = self._open[fd]
                if camera.gone or camera.fatal or not camera.streaming or camera.spurious:
                    return True
                produce(camera)
                if camera.done:
                    return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, 0.001))

    def mmap(self, fd: int, length: int, offset: int) -> mmap.mmap:
        camera = self._open[fd]
        if camera.gone:
            raise fault(errno.ENODEV)
        return mmap.mmap(camera.pages[offset], length)
