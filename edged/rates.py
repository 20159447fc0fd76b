"""Which of a source's frames a pipeline takes: each n-th, and at most so many a second. Pure, on any clock."""

from __future__ import annotations

_SECOND_NS = 1_000_000_000


class Rate:
    """`every` n: of n frames one. `max_fps`: at most so many a second of capture time. Both: as both say.

    `wants` judges, `took` notes; a frame may be taken that was not wanted (with its frame set). The first frame
    is always wanted. Used by one thread, the source's.

    max_fps keeps a phase: frames are due a period apart, and a frame up to a quarter of a period early is in
    time, so that 15 of 30 frames a second are every second one although none comes exactly when it is due. What
    is late does not delay what is due next, so 25 of 30 are 25 and not 15. Never a burst: two taken are at least
    half a period apart, and n + 1 of them at least n - 1 periods; after a pause the phase begins anew.

    `thin` n: of the frames that these two would take only each n-th; any thread may set it at any time.
    """

    def __init__(self, every: int = 1, max_fps: float | None = None) -> None:
        self._every = every
        self._period_ns = 0 if max_fps is None else round(_SECOND_NS / max_fps)
        self.thin = 1
        self._frame_ns = 0.0  # between two frames of the source, as seen since the last that was taken
        self.reset()

    @property
    def gap_s(self) -> float:
        """How far apart frames are taken at least, as far as is known; 0: as they come."""
        every = self._every * self.thin
        return max(self._period_ns * self.thin, self._frame_ns * every if every > 1 else 0.0) / _SECOND_NS

    def reset(self) -> None:
        """The source counts anew: the next frame is the first."""
        self._last: tuple[int, int] | None = None  # seq and capture time of the frame taken last
        self._due_ns = 0  # from when on the next one is in time

    def wants(self, seq: int, captured_ns: int) -> bool:
        if self._last is None:
            return True
        last_seq, last_ns = self._last
        if seq > last_seq and captured_ns > last_ns:
            self._frame_ns = (captured_ns - last_ns) / (seq - last_seq)
        thin = self.thin
        period_ns = self._period_ns * thin
        if seq - last_seq < self._every * thin:
            return False
        if captured_ns < last_ns - period_ns:  # the camera's clock was set back
            return True
        return captured_ns >= max(self._due_ns, last_ns + period_ns // 2)

    def took(self, seq: int, captured_ns: int) -> None:
        period_ns, late_ns = self._period_ns * self.thin, captured_ns - self._due_ns
        if self._last is None or abs(late_ns) >= period_ns:
            self._due_ns = captured_ns + period_ns - period_ns // 4
        else:
            self._due_ns += period_ns
        self._last = (seq, captured_ns)
