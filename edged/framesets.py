"""Frames of several cameras that belong together: a frame-set id from capture times, without waiting for any.

    left   ──▪────────▪────────▪──      the first frame opens a set; one of another camera within the tolerance
    right  ───▪────────▪──────────      of that moment joins it; a camera is in a set once at most
             set 0    set 1    set 2    (a set that lacks a camera stays so)

The camera that opens a set decides by its pipeline's rate whether the set is taken; the others do as it did, so
that `every` and `max_fps` keep sets whole.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Collection, Iterator

import msgspec

from edged.frames import Frame
from edged.metrics import SyncCounts

TAG = "set"  # of a frame: the FrameSet that it is in
RECENT = 128  # sets that a late frame can still join: two seconds of 60 frames a second


class FrameSet:
    """`id` counts the sets of a group that were taken; None: this one is skipped. Guarded by its group's lock."""

    __slots__ = ("given", "id", "members", "opened_ns", "started")

    def __init__(self, set_id: int | None, opened_ns: int) -> None:
        self.id = set_id
        self.opened_ns = opened_ns
        self.members: dict[str, int] = {}  # source -> capture time
        self.given: set[str] = set()  # pipelines whose result is out
        self.started = False  # a runner has taken a frame of it; any thread reads and sets it


class SyncGroup:
    """The sets of one [sync_groups.X]. `pipelines`: names of all whose results make a set complete.

    Thread-safe: sources join in their threads, pipelines hand results on in runners'. Holds the last RECENT sets
    and nothing of a frame. Capture times are CLOCK_MONOTONIC in ns. `before`: the group of this name that it replaces:
    ids and counts go on.
    """

    def __init__(
        self, name: str, tolerance_ms: float, pipelines: Collection[str], before: SyncGroup | None = None
    ) -> None:
        self.name = name
        self._tolerance_ns = round(tolerance_ms * 1e6)
        self._lock = threading.Lock()
        self._recent: deque[FrameSet] = deque(maxlen=RECENT)
        self._open: deque[FrameSet] = deque()  # taken and not counted yet, oldest first
        self._last_id = dict.fromkeys(pipelines, -1)  # pipeline -> set of its last result
        self._taken = self._complete = self._partial = self._unseen = 0
        self._ids: Iterator[int] = itertools.count() if before is None else before._ids
        self._before: SyncGroup | SyncCounts | None = before

    def join(self, source: str, captured_ns: int, wanted: bool) -> FrameSet:
        """The set of a frame, the same however often it is asked for. `wanted`: whether a new set is to be taken."""
        with self._lock:
            found = self._find(source, captured_ns)
            if found is None:
                found = self._begin(captured_ns, wanted)
            found.members[source] = captured_ns
            return found

    def _find(self, source: str, captured_ns: int) -> FrameSet | None:
        nearest, least_ns = None, self._tolerance_ns
        for s in reversed(self._recent):
            member_ns = s.members.get(source)
            if member_ns == captured_ns:  # another pipeline of this source has asked before
                return s
            away_ns = abs(captured_ns - s.opened_ns)
            if member_ns is None and away_ns <= least_ns:
                nearest, least_ns = s, away_ns - 1  # of two as near the newer
        return nearest

    def _begin(self, captured_ns: int, wanted: bool) -> FrameSet:
        made = FrameSet(next(self._ids) if wanted else None, captured_ns)
        self._recent.append(made)
        if wanted:
            self._taken += 1
            self._open.append(made)
            if len(self._open) > RECENT:  # a pipeline gives no results
                self._count(self._open.popleft())
        return made

    def keeps(self, held: Frame, new: Frame) -> bool:
        """Whether the frame that waits in a live mailbox stays, and the newer one is dropped in its place.

        Under overload newest-wins alone would take the left picture of one moment and the right one of the next, and
        no set would ever be complete. So what is missing of a set that a runner has begun is kept until it is
        taken, unless the set of the newer frame has begun, too.
        """
        return _begun(held) and not _begun(new)

    def start(self, frame: Frame) -> None:
        """A runner takes the frame."""
        frame.tags[TAG].started = True

    def give(self, pipeline: str, s: FrameSet) -> None:
        """The pipeline's result for this set is out. Results of a pipeline come in order."""
        assert s.id is not None
        with self._lock:
            s.given.add(pipeline)
            self._last_id[pipeline] = max(self._last_id[pipeline], s.id)
            over = min(self._last_id.values())  # what is older gets no result any more
            while self._open and (self._whole(self._open[0]) or (self._open[0].id or 0) < over):
                self._count(self._open.popleft())

    def _whole(self, s: FrameSet) -> bool:
        return len(s.given) == len(self._last_id)

    def _count(self, s: FrameSet) -> None:
        if self._whole(s):
            self._complete += 1
        elif s.given:
            self._partial += 1
        else:
            self._unseen += 1

    def inherit(self) -> None:
        """The one before has ended: its counts are part of these from now on, and it may go. In the main thread."""
        if isinstance(self._before, SyncGroup):
            before = self._before.counts()
            partial = before.partial + before.open  # nothing more comes of them
            self._before = msgspec.structs.replace(before, partial=partial, open=0)

    def counts(self) -> SyncCounts:
        with self._lock:
            whole, before = sum(map(self._whole, self._open)), self._before
            counts = SyncCounts(
                taken=self._taken,
                complete=self._complete + whole,
                partial=self._partial,
                unseen=self._unseen,
                open=len(self._open) - whole,
            )
        more = before.counts() if isinstance(before, SyncGroup) else before
        if more is None:
            return counts
        return SyncCounts(**{f: getattr(counts, f) + getattr(more, f) for f in counts.__struct_fields__})


def _begun(frame: Frame) -> bool:
    s: FrameSet = frame.tags[TAG]
    return s.started
