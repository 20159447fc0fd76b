"""Every frame of a run, in memory that was touched before: quantiles are exact and nothing is allocated."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edged.errors import EdgedError
from edged.messages import Result
from edged.metrics import Quantiles
from edged.pipeline import Job

Rows = npt.NDArray[np.int64]
MAX_FRAMES = 1 << 17
LEAST_FRAMES = 5  # a slow model runs on until it has this many
_COLUMNS = ("captured", "taken", "launched", "done", "handed", "preprocess", "engine")  # ns
_STAGES = {
    "wait": ("captured", "taken"),
    "infer": ("launched", "done"),
    "parse": ("done", "handed"),
    "age": ("captured", "handed"),
}


def make_rows() -> Rows:
    """Memory for one run; every page is touched, so that resident memory does not grow while recording."""
    return np.ones((MAX_FRAMES, len(_COLUMNS)), np.int64)


def quantiles(ns: npt.NDArray[np.int64]) -> Quantiles:
    """Exact: the value at rank ceil(q * n)."""
    n = len(ns)
    if not n:
        return Quantiles()
    ordered = np.sort(ns) / 1e6
    p50, p99, p999 = (round(float(ordered[int(np.ceil(q * n)) - 1]), 3) for q in (0.5, 0.99, 0.999))
    return Quantiles(n, round(float(ordered.mean()), 3), p50, p99, p999, round(float(ordered[-1]), 3))


def _device_ns(job: Job) -> tuple[int, int]:
    """-1: the job was not timed on its device."""
    return (
        (-1, -1) if job.device_ms is None else (round(job.device_ms[0] * 1e6), round(job.device_ms[1] * 1e6))
    )


class Recorder:
    """A pipeline's `on_result`: skips `warm_up_s` from the first result, records `seconds`, then calls `on_full`.

    Called in the runners' threads, one at a time. `on_start` and `on_full` are called there once; they must
    be quick and may not ask the pipeline for its counts. Every result's order is checked, recorded or not.
    """

    def __init__(
        self,
        rows: Rows,
        warm_up_s: float,
        seconds: float,
        on_start: Callable[[], None],
        on_full: Callable[[], None],
    ) -> None:
        self._rows = rows
        self._warm_up_ns, self._span_ns = round(warm_up_s * 1e9), round(seconds * 1e9)
        self._on_start, self._on_full = on_start, on_full
        self._first_ns = 0
        self._last = (-1, -1)
        self._n = 0
        self.full = False
        self.disorder = ""

    def __call__(self, job: Job, result: Result) -> None:
        now = time.monotonic_ns()
        if result.seq != self._last[0] + 1 or result.frame_seq <= self._last[1]:
            self.disorder = self.disorder or (
                f"result {result.seq} of frame {result.frame_seq} came after result {self._last[0]} "
                f"of frame {self._last[1]}"
            )
        self._last = (result.seq, result.frame_seq)
        self._first_ns = self._first_ns or now
        if self.full or now - self._first_ns < self._warm_up_ns:
            return
        if self._n == 0:
            self._on_start()
        self._rows[self._n] = (
            job.frame.captured_mono_ns,
            job.taken_ns,
            job.launched_ns,
            job.done_ns,
            now,
            *_device_ns(job),
        )
        self._n += 1
        long_enough = now - self._rows[0, _COLUMNS.index("handed")] >= self._span_ns
        if (long_enough and self._n >= LEAST_FRAMES) or self._n == len(self._rows):
            self.full = True
            self._on_full()

    def check_order(self) -> None:
        if self.disorder:
            raise EdgedError(
                f"results came out of order: {self.disorder}",
                hint="this is a defect in edged; please report it with the configuration",
            )

    @property
    def frames(self) -> int:
        return self._n

    @property
    def seconds(self) -> float:
        """From the first recorded result to the last."""
        handed = self._column("handed")
        return float(handed[-1] - handed[0]) / 1e9

    @property
    def fps(self) -> float:
        return (self._n - 1) / self.seconds

    def busy(self, runners: int) -> float:
        """Share of the time in which a runner's engine was inferring."""
        return float(self._timed("engine").mean()) * (self._n - 1) / 1e9 / self.seconds / runners

    def stages(self) -> dict[str, Quantiles]:
        out = {name: quantiles(self._column(b) - self._column(a)) for name, (a, b) in _STAGES.items()}
        out.update((name, quantiles(self._timed(name))) for name in ("preprocess", "engine"))
        return out

    def _timed(self, name: str) -> npt.NDArray[np.int64]:
        column = self._column(name)
        return column[column >= 0]

    def _column(self, name: str) -> npt.NDArray[np.int64]:
        return self._rows[: self._n, _COLUMNS.index(name)]
