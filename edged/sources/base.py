"""What all sources share: the order of calls, slots with views made once, pace, and lost pictures.

A source fills in `_open`, `_advance` and `_fill`; `SlotSource.read` is the only loop:

    advance to the next picture → wait until it is due → acquire a slot → fill it → Frame
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from edged.backoff import Backoff
from edged.config.schema import Size
from edged.errors import SourceError
from edged.frames import U8, Frame, FrameSpec, TimestampSource
from edged.memory import Lease, Slots

BACKOFF = Backoff(first_s=0.2, cap_s=1.6)  # of a camera: back within seconds of its cable
# A reader this late does not catch up: playback goes on from now, as a camera goes on after a pause.
RESYNC_S = 0.25


class Checked(Protocol):
    """Options that know which of their keys contradict: (key, "what is wrong; remedy")."""

    def problems(self) -> Iterable[tuple[str, str]]: ...


class Pacer:
    """Releases pictures at their media times. Anchored at the first wait; used by one thread."""

    def __init__(self) -> None:
        self._origin_ns: int | None = None

    def wait(self, media_s: float, deadline: float) -> int | None:
        """Wait until `media_s` is due, at most until `deadline` (time.monotonic()).

        Returns the moment it was due (CLOCK_MONOTONIC, ns); None when that is after the deadline. More
        than RESYNC_S late: the clock is set back, so that the moment is now.
        """
        now, media = time.monotonic_ns(), round(media_s * 1e9)
        if self._origin_ns is None:
            self._origin_ns = now - media
        due = self._origin_ns + media
        if now - due > RESYNC_S * 1e9:
            self._origin_ns, due = now - media, now
        if now < due:
            end = round(deadline * 1e9)
            time.sleep(max(0, min(due, end) - now) / 1e9)
            if end < due:
                return None
        return due


class SlotSource(ABC):
    """Base of the sources that write pictures into host slots. Used by one thread.

    Owns no memory: slots are given at `start`, and frames are the caller's leases. A picture that cannot be
    read costs its `seq`; the next `read` goes on behind it.
    """

    def __init__(self, name: str, options: Checked) -> None:
        self.name = name
        self._checked = options
        self._spec: FrameSpec | None = None
        self._reset()

    def _reset(self) -> None:
        self._slots: Slots | None = None
        self._views: tuple[tuple[U8, ...], ...] = ()
        self._pacer: Pacer | None = None
        self._due_s: float | None = None  # media time of the picture that is next, once known
        # CLOCK_MONOTONIC of that picture, of a source that knows better than now
        self._taken_ns: int | None = None
        self._seq = 0
        self.copied = 0  # bytes that `_fill` moved of what lay elsewhere already; not what decodes or draws
        self.lost = 0  # pictures since open for which no slot was free, or that came spoilt

    @property
    @abstractmethod
    def live(self) -> bool: ...

    @property
    def backoff(self) -> Backoff | None:
        """See interfaces.Source. A file that failed stays as it is."""
        return None

    @property
    def max_size(self) -> Size | None:
        """See interfaces.Source."""
        return None

    @property
    def exclusive(self) -> bool:
        """See interfaces.Source. Files may be read as often as one likes."""
        return False

    @property
    def paced(self) -> bool:
        """Whether pictures wait for their media times."""
        return self.live

    @property
    @abstractmethod
    def timestamps(self) -> TimestampSource:
        """Where the times of its frames come from."""

    @abstractmethod
    def _open(self) -> FrameSpec: ...

    @abstractmethod
    def _start(self) -> None:
        """Prepare what frames need; nothing of that is allocated later."""

    @abstractmethod
    def _advance(self, timeout_s: float) -> float | None:
        """Go to the next picture and return its media time in seconds (never falls); None: not there yet.

        Raises EndOfStream or SourceError, again at each call.
        """

    def _acquire(self, slots: Slots, timeout_s: float) -> Lease | None:
        """The slot for the picture that `_advance` went to; None: none is free in time."""
        return slots.acquire(timeout_s)

    @abstractmethod
    def _fill(self, slot: int, planes: tuple[U8, ...]) -> dict[str, Any] | None:
        """Write the picture that `_advance` went to, and return the frame's tags; None: it is spoilt, and lost.

        Called at most once a picture.
        """

    @abstractmethod
    def _close(self) -> None:
        """Let go of files and devices. Legal at any time, also after a failed `_open`."""

    def open(self) -> FrameSpec:
        """Negotiate. Raises SourceError naming the file or device, or when already open."""
        if self._spec is not None:
            raise self.error("is open already", "call close() first")
        for key, text in self._checked.problems():
            message, _, hint = text.partition("; ")
            raise self.error(f"{key} {message}", hint)
        try:
            self._spec = self._open()
        except BaseException:
            self.close()
            raise
        return self._spec

    def start(self, slots: Slots) -> None:
        """Deliver into `slots` from now on. SourceError when a slot is smaller than a picture."""
        spec = self._may_start()
        self._check_slots(slots)
        self._views = tuple(spec.views(b) for b in slots.buffers)
        self._pacer = Pacer() if self.paced else None
        self._start()
        self._slots = slots

    def read(self, timeout_s: float) -> Frame | None:
        """See interfaces.Source. A live source that loses pictures for want of a slot goes on until `timeout_s`."""
        spec, slots = self._opened(), self._slots
        if slots is None:
            raise self.error("is not started", "call start() first")
        deadline = time.monotonic() + timeout_s
        while True:
            if self._due_s is None:
                self._due_s = self._advance(max(0.0, deadline - time.monotonic()))
                if self._due_s is None:
                    return None
            moment = self._pacer.wait(self._due_s, deadline) if self._pacer else self._taken_ns
            if self._pacer and moment is None:
                return None
            lease = self._acquire(slots, 0.0 if self.live else max(0.0, deadline - time.monotonic()))
            if lease is None and not self.live:
                return None
            self._due_s = None
            self._seq += 1
            frame = None if lease is None else self._frame(spec, lease, moment)
            if frame is not None:
                return frame
            self.lost += 1
            if time.monotonic() >= deadline:
                return None

    def _frame(self, spec: FrameSpec, lease: Lease, moment: int | None) -> Frame | None:
        """The picture in its slot; the lease is the frame's, or released when there is none."""
        now = time.monotonic_ns()
        mono = now if moment is None else moment
        utc = time.time_ns() - (now - mono)
        planes, tags = self._views[lease.index], None
        try:
            tags = self._fill(lease.index, planes)
        finally:
            if tags is None:
                lease.release()
        if tags is None:
            return None
        slots = self._slots
        assert slots is not None
        return Frame(
            spec,
            planes,
            lease,
            self._seq - 1,
            mono,
            utc,
            self.timestamps,
            slots.memory,
            slots.addresses[lease.index],
            self.copied,
            tags,
        )

    def close(self) -> None:
        """Stop and let go. Idempotent, legal from every state; frames that were handed out stay valid."""
        self._spec = None
        self._reset()
        self._close()

    def _may_start(self) -> FrameSpec:
        spec = self._opened()
        if self._slots is not None:
            raise self.error("is started already", "call close() first")
        return spec

    def _check_slots(self, slots: Slots) -> None:
        spec = self._opened()
        small = min((b.nbytes for b in slots.buffers), default=0)
        if small < spec.nbytes:
            raise self.error(
                f"has slots of {small} bytes, a picture of {spec.width}x{spec.height} takes {spec.nbytes}",
                "give it slots of FrameSpec.nbytes",
            )

    def _opened(self) -> FrameSpec:
        if self._spec is None:
            raise self.error("is not open", "call open() first")
        return self._spec

    def error(self, message: str, hint: str = "") -> SourceError:
        return SourceError(f"source '{self.name}' {message}", hint=hint)

    def os_error(self, path: str | Path, e: OSError) -> SourceError:
        """What the system says about a path, with a remedy where one is known."""
        hints = {
            FileNotFoundError: "check the path; relative paths start at the configuration file",
            PermissionError: "let the user that runs edged read it (chmod, chown or group)",
            NotADirectoryError: "check the path: a part of it is a file",
        }
        hint = next((h for kind, h in hints.items() if isinstance(e, kind)), "check the file system")
        return self.error(f"cannot read {path}: {e.strerror}", hint)
