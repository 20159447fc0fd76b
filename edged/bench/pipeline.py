"""The pipeline under measurement: the real daemon in this process, publishing to a subscriber in it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from edged.assembly import REGISTERED, Makers
from edged.bench.prepare import model_entry, publishing_to
from edged.bench.recorder import Recorder, Rows
from edged.bench.replay import Clip, ReplaySource
from edged.bench.results import Counts, Growth, Run
from edged.bench.usage import Usage, others, regions, usage
from edged.config.schema import Config
from edged.daemon import Daemon, Limits
from edged.errors import EdgedError, ExitCode, MissingPackage

WARM_UP_S = 0.5
PATIENCE_S = 60.0  # beyond the seconds asked for: a model that gives too few frames even so is too slow


class Listener:
    """A subscriber of everything on a Unix socket; used by one thread, which drains it now and then."""

    def __init__(self, socket: Any, endpoint: str) -> None:
        self._socket, self.endpoint = socket, endpoint
        self.received = 0

    def drain(self, timeout_s: float = 0.0) -> None:
        """Count the results that have come; wait for the first at most `timeout_s`."""
        wait_ms = round(timeout_s * 1e3)
        while self._socket.poll(wait_ms):
            topic, _ = self._socket.recv_multipart()
            self.received += topic.endswith(b"/result")
            wait_ms = 0


@contextmanager
def listener() -> Iterator[Listener]:
    try:
        import zmq
    except ImportError as e:
        raise MissingPackage("pyzmq", needed_by="edged bench", extra="ort") from e
    with (
        tempfile.TemporaryDirectory(prefix="edged-bench-") as folder,
        zmq.Context() as context,
        context.socket(zmq.SUB) as socket,
    ):
        socket.linger, socket.rcvhwm, socket.reconnect_ivl = 0, 100_000, 10
        socket.subscribe(b"")
        endpoint = f"ipc://{folder}/results"
        socket.connect(endpoint)
        yield Listener(socket, endpoint)


def _makers(clip: Clip | None, rate: float | None) -> Makers:
    """The registry's, but for the source when a clip takes its place."""
    if clip is None:
        return REGISTERED
    return replace(REGISTERED, source=lambda name, entry: ReplaySource(name, clip, rate))


class Bench:
    """Runs pipelines one after the other in the memory of one. Used by one thread."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.regions: dict[str, int] = {}  # of the last run

    def run(self, config: Config, seconds: float, clip: Clip | None = None, rate: float | None = None) -> Run:
        """Record `seconds` of a (narrowed) configuration, its source or `clip` at `rate` (None: unpaced).

        Raises what made the daemon end early, and EdgedError when results lack order or frames are lost count of.
        """
        with listener() as ears:
            warm_up_s = min(WARM_UP_S, seconds)
            limits = Limits(seconds=warm_up_s + seconds + PATIENCE_S)
            daemon = Daemon(
                publishing_to(config, ears.endpoint),
                limits,
                on_tick=lambda _: ears.drain(),
                makers=_makers(clip, rate),
            )
            marks: list[Usage] = []

            def mark() -> None:
                marks.append(usage(daemon))

            def full() -> None:
                mark()
                self.regions = {name: r.nbytes for name, r in regions(daemon).items()}
                daemon.stop("measured")

            recorder = Recorder(self._rows, warm_up_s, seconds, mark, full)
            (pipeline,) = daemon.pipelines.values()
            pipeline.on_result = recorder
            code = daemon.run(signals=threading.current_thread() is threading.main_thread())
            ears.drain(0.1)
        _check_end(daemon, code, recorder)
        counts = _counts(daemon, ears.received)
        first, last = marks
        growth = Growth(
            seconds=round(last.clock.at_s - first.clock.at_s, 3),
            rss_bytes=last.rss_bytes - first.rss_bytes,
            region_bytes=last.region_bytes - first.region_bytes,
        )
        return Run(
            fps=round(recorder.fps, 2),
            frames=recorder.frames,
            cpu_ms=round((last.clock.cpu_s - first.clock.cpu_s) / (recorder.frames - 1) * 1e3, 3),
            others=others(first.clock, last.clock),
            busy=round(recorder.busy(model_entry(config).instances), 4),
            stages=recorder.stages(),
            counts=counts,
            growth=growth,
        )


def _check_end(daemon: Daemon, code: ExitCode, recorder: Recorder) -> None:
    if daemon.core.why == "signal":
        raise KeyboardInterrupt
    if code is not ExitCode.OK and daemon.errors:
        raise daemon.errors[0]
    if not recorder.full:
        raise EdgedError(
            f"the pipeline gave {recorder.frames} frames within {PATIENCE_S:g} s ({daemon.core.why})",
            hint="see what it does: edged run FILE",
        )
    recorder.check_order()


def _counts(daemon: Daemon, received: int) -> Counts:
    """Of the drained daemon; EdgedError unless offered = inferred + dropped + failed."""
    (p,) = daemon.snapshot().pipelines.values()
    if p.offered != p.inferred + p.dropped + p.failed:
        raise EdgedError(
            f"frames are lost count of: {p.offered} offered, {p.inferred} inferred + {p.dropped} dropped "
            f"+ {p.failed} failed",
            hint="this is a defect in edged; please report it with the configuration",
        )
    return Counts(p.offered, p.inferred, p.dropped, p.failed, p.lost, received)
