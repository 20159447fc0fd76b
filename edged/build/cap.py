"""A cap on what the builder's process may use of the host's memory. What is for the GPU, TensorRT's own limits bound.

In this order: a scope of systemd's, a cgroup (v2) of our own, a look at the process every quarter of a second.
RLIMIT_AS is no way: CUDA reserves more addresses than any machine has memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edged.errors import EdgedError

CGROUPS = Path("/sys/fs/cgroup")
SYSTEMD = Path("/run/systemd/system")
_TRIAL_S = 10.0


class Cap(Protocol):
    """How the cap is kept. `how` is for people. Used by the thread that started the process."""

    how: str

    def command(self, argv: Sequence[str]) -> list[str]:
        """What to run so that `argv` runs under the cap, as the same process."""

    def enter(self, pid: int) -> None:
        """The process was started."""

    def exceeded(self, pid: int) -> bool:
        """Whether it uses more than it may and is still alive: then the caller kills it."""

    def killed(self) -> bool:
        """Whether the kernel killed for want of memory since `enter`."""

    def close(self) -> None:
        """The process has ended. Idempotent."""


def make_cap(memory: int | None, *, cgroups: Path = CGROUPS, systemd: Path = SYSTEMD) -> Cap:
    """The best cap that this machine allows, of `memory` bytes; None: no cap."""
    if memory is None:
        return Watched(None)
    if systemd.is_dir() and Scope.works():
        return Scope(memory)
    try:
        return Group(memory, cgroups)
    except OSError:  # not root, or not version 2
        return Watched(memory)


class _Counting:
    """What the kernel killed for want of memory, anywhere on the machine, since `enter`."""

    def __init__(self) -> None:
        self._before = 0

    def enter(self, pid: int) -> None:
        self._before = _oom_kills()

    def killed(self) -> bool:
        return _oom_kills() > self._before

    def close(self) -> None:
        """Nothing is held."""


class Watched(_Counting):
    """No cgroup: the process is looked at, and killed by the caller when it has grown too far."""

    def __init__(self, memory: int | None) -> None:
        super().__init__()
        self._memory = memory
        self.how = "watched" if memory is not None else "none"

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def exceeded(self, pid: int) -> bool:
        return self._memory is not None and resident(pid) > self._memory


class Scope(_Counting):
    """A transient scope: systemd makes it and removes it with its last process."""

    how = "systemd scope"

    def __init__(self, memory: int) -> None:
        super().__init__()
        self._memory = memory

    @staticmethod
    def _prefix(memory: int) -> list[str]:
        who = [] if os.geteuid() == 0 else ["--user"]
        limits = [f"MemoryMax={memory}", "MemorySwapMax=0", "IOWeight=1", "CPUWeight=1"]
        return ["systemd-run", "--scope", "--quiet", "--collect", *who, *(f"-p{p}" for p in limits), "--"]

    @classmethod
    def works(cls) -> bool:
        """Whether this user may have one: an ordinary one needs a session's manager with the memory controller."""
        if shutil.which("systemd-run") is None:
            return False
        try:
            done = subprocess.run(
                [*cls._prefix(1 << 30), "true"], capture_output=True, timeout=_TRIAL_S, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def command(self, argv: Sequence[str]) -> list[str]:
        return [*self._prefix(self._memory), *argv]

    def exceeded(self, pid: int) -> bool:
        return False


class Group:
    """A cgroup of our own below the root: where root has version 2 without systemd, as in a container of its own.

    OSError where it cannot be made.
    """

    how = "cgroup"

    def __init__(self, memory: int, cgroups: Path) -> None:
        if "memory" not in (cgroups / "cgroup.subtree_control").read_text().split():
            raise OSError(f"{cgroups} gives out no memory controller")
        self._folder = cgroups / f"edged-build-{os.getpid()}"
        self._folder.mkdir()
        try:
            (self._folder / "memory.max").write_text(str(memory))
            swap = self._folder / "memory.swap.max"
            if swap.exists():  # kernels without swap accounting lack it
                swap.write_text("0")
        except OSError:
            self.close()
            raise

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def enter(self, pid: int) -> None:
        try:
            (self._folder / "cgroup.procs").write_text(str(pid))
        except OSError as e:
            raise EdgedError(
                f"{self._folder}: the builder cannot be put under its memory cap: {e.strerror or e}",
                hint="run it without a cap: --memory 0",
            ) from e

    def exceeded(self, pid: int) -> bool:
        return False

    def killed(self) -> bool:
        lines = (line.split() for line in (self._folder / "memory.events").read_text().splitlines())
        return any(len(p) == 2 and p[0] == "oom_kill" and int(p[1]) > 0 for p in lines)

    def close(self) -> None:
        try:
            self._folder.rmdir()
        except OSError:  # gone, or a process is not quite dead: an empty group costs nothing
            return


def resident(pid: int) -> int:
    """Bytes of the machine's memory that a process has; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def available_memory() -> int:
    """Bytes that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _oom_kills() -> int:
    for line in Path("/proc/vmstat").read_text().splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0
