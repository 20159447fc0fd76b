"""What every test gets: a check that it leaves no thread, file descriptor or lease behind."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before anything imports onnxruntime

from edged.memory import Slots
from tests.searching import PROFILE

# No test here is about how long one example takes; 200 ms pass by themselves on a busy machine. The default run is
# the same every time; HYPOTHESIS_PROFILE=search looks for what it has not met, ten times as long.
settings.register_profile("edged", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(PROFILE)

# the GPU machine has it elsewhere
SHARED = Path(os.environ.get("EDGED_SHARED", Path(__file__).resolve().parents[2] / "shared"))
# what NVIDIA's driver opens on a real GPU, and keeps
DRIVERS = ("/dev/nvidia", "anon_inode:", "pipe:", "socket:", "/memfd", "/dev/zero")
VTEST = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")


def _descriptors() -> dict[str, str]:
    out = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            to = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
        if not (os.environ.get("EDGED_TEST_GPU") == "1" and to.startswith(DRIVERS)):
            out[fd] = to
    return out


@pytest.fixture(autouse=True)
def no_leaks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that leaves a thread, a file descriptor or a lease behind."""
    slots: weakref.WeakSet[Slots] = weakref.WeakSet()
    made = Slots.__init__

    def remember(self: Slots, *args: object, **kwargs: object) -> None:
        made(self, *args, **kwargs)  # type: ignore[arg-type]
        slots.add(self)

    monkeypatch.setattr(Slots, "__init__", remember)
    threads, files = set(threading.enumerate()), _descriptors()
    yield
    held = {s.owner: s.in_use for s in slots if s.in_use}
    assert not held, f"leases not released: {held}"
    end = time.monotonic() + 2  # a thread that was told to stop may still be on its way out
    while time.monotonic() < end:
        late = [t for t in set(threading.enumerate()) - threads if t.is_alive()]
        opened = {fd: to for fd, to in _descriptors().items() if files.get(fd) != to}
        if not late and not opened:
            return
        for t in late:
            t.join(0.05)
    assert not late, f"threads left behind: {late}"
    assert not opened, f"file descriptors left open: {opened}"


@pytest.fixture(autouse=True)
def no_full_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon freezes its garbage as ever, and looks for none before: of all that pytest holds that takes 0.1 s."""
    monkeypatch.setattr("edged.daemon.freeze_garbage", gc.freeze)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The team's models and pictures, beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: it holds the detector and the labelled pictures")
    return SHARED


@pytest.fixture(scope="session")
def yolox(shared: Path) -> Path:
    """YOLOX-nano's ONNX file."""
    return shared / "models" / "yolox-nano" / "model.onnx"


@pytest.fixture(scope="session")
def vtest() -> Path:
    """A clip of pedestrians, 768x576, 795 frames."""
    if not VTEST.is_file():
        pytest.skip(f"{VTEST} is absent: apt-get install opencv-doc")
    return VTEST


@pytest.fixture
def hangs_up() -> Iterator[None]:
    """SIGHUP does what it usually does, in children too: who runs the tests under nohup has it ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
